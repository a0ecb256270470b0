"""What is wrong with a network configuration is said in one sentence, and what our plugin cannot serve too."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from labkit.errors import LabkitError, NotInLabMachine, WrongUse
from labkit.kube.cni import Runtime, load, parse
from labkit.kube.cni.conformance import CASES
from labkit.kube.cni.plugin import OPERATIONS, _usable
from labkit.kube.cni.protocol import serve
from labkit.kube.cni.runtime import Attachment
from labkit.kube.cni.versions import SUPPORTED, as_version, at_least

GOOD: dict[str, Any] = {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge"}]}
WHAT = "failed to read network configuration: "
BAD = {
    '{"name"': "not JSON: Expecting ':' delimiter",
    "[]": "not a JSON object",
    json.dumps({**GOOD, "name": "a/b"}): "'a/b' is not a network's name",
    json.dumps({"cniVersion": "1.0.0", "plugins": GOOD["plugins"]}): "it has no name",
    json.dumps({**GOOD, "cniVersion": "7.0.0"}): "no CNI version that labkit speaks: '7.0.0'",
    json.dumps({**GOOD, "plugin": []}): "unknown key 'plugin'",
    json.dumps({**GOOD, "plugins": []}): "'plugins' is not a list of at least one plugin",
    json.dumps({**GOOD, "plugins": ["bridge"]}): "plugin 1 is not a JSON object",
    json.dumps({**GOOD, "plugins": [{"bridge": "cni0"}]}): "plugin 1: it has no type",
    json.dumps(
        {**GOOD, "plugins": [{"type": "bin/bridge"}]}
    ): "plugin 1: type 'bin/bridge' is not an executable's name",
    json.dumps({**GOOD, "plugins": [{"type": "bridge", "ipam": {"type": ""}}]}): (
        "plugin 1: ipam.type '' is not an executable's name"
    ),
    json.dumps({**GOOD, "plugins": [{"type": "bridge", "ipam": []}]}): "plugin 1: 'ipam' is not a JSON object",
    json.dumps({**GOOD, "plugins": [{"type": "a"}, {"type": "b", "prevResult": {}}]}): (
        "plugin 2: 'prevResult' is not for a configuration"
    ),
    json.dumps({**GOOD, "plugins": [{"type": "a", "cni.dev/valid-attachments": []}]}): (
        "plugin 1: 'cni.dev/valid-attachments' is not for a configuration"
    ),
    json.dumps({**GOOD, "plugins": [{"type": "a", "capabilities": {"portMapping": True}}]}): (
        "plugin 1: unknown capability 'portMapping'"
    ),
    json.dumps({**GOOD, "plugins": [{"type": "a", "capabilities": ["mac"]}]}): (
        "plugin 1: 'capabilities' is not names with true or false"
    ),
    json.dumps({**GOOD, "disableCheck": "perhaps"}): "'disableCheck' is 'perhaps'",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_with_a_configuration_is_said(text: str) -> None:
    with pytest.raises(WrongUse) as refused:
        parse(text)
    said = refused.value.message.removeprefix(WHAT).removeprefix("failed to read network configuration: ")
    assert said == BAD[text]
    assert refused.value.hint


def test_a_near_miss_is_named() -> None:
    with pytest.raises(WrongUse, match="did you mean 'portMappings'"):
        parse({**GOOD, "plugins": [{"type": "a", "capabilities": {"portMapping": True}}]})


def test_a_file_that_is_not_there_and_one_that_is_wrong_are_named(tmp_path: Any) -> None:
    with pytest.raises(LabkitError, match=r"nowhere.conflist': no such file"):
        load(f"{tmp_path}/nowhere.conflist")
    (tmp_path / "bad.conflist").write_text("{")
    with pytest.raises(WrongUse, match=r"bad.conflist': not JSON"):
        load(f"{tmp_path}/bad.conflist")


def test_a_single_plugin_becomes_a_list_of_one() -> None:
    network = parse({"cniVersion": "0.4.0", "name": "pods", "type": "bridge", "bridge": "cni0"})
    assert network.plugins == ({"type": "bridge", "bridge": "cni0"},)
    assert (network.name, network.version, network.types) == ("pods", "0.4.0", ("bridge",))


def test_of_several_versions_the_latest_that_is_spoken_is_used() -> None:
    assert parse({**GOOD, "cniVersions": ["1.1.0", "0.4.0", "9.0.0"]}).version == "1.1.0"


def test_versions_are_numbers_not_text() -> None:
    assert at_least("1.10.0", "1.9.0")
    assert not at_least("0.3.1", "0.4.0")


def test_an_address_says_its_version_before_1_0_0_only() -> None:
    result = {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/24"}, {"address": "fd00::2/64"}]}
    old = as_version(result, "0.4.0")
    assert [one["version"] for one in old["ips"]] == ["4", "6"]
    assert as_version(old, "1.0.0") == result


def test_a_plugin_reads_its_own_configuration_with_what_the_runtime_adds() -> None:
    network = parse({**GOOD, "plugins": [{"type": "portmap", "snat": True, "capabilities": {"portMappings": True}}]})
    one = Attachment("web", "web", capability_args={"portMappings": [{"hostPort": 80}], "mac": "unasked"})
    assert Runtime().configuration(network, network.plugins[0], one, {"ips": []}) == {
        "cniVersion": "1.0.0",
        "name": "pods",
        "type": "portmap",
        "snat": True,
        "runtimeConfig": {"portMappings": [{"hostPort": 80}]},
        "prevResult": {"cniVersion": "1.0.0", "ips": []},
    }


def test_host_local_keeps_its_addresses_in_the_lab_machine() -> None:
    network = parse({**GOOD, "plugins": [{"type": "bridge", "ipam": {"type": "host-local"}}]})
    given = Runtime("node-1").configuration(network, network.plugins[0], Attachment("web"))
    assert given["ipam"]["dataDir"] == "/run/labkit/cni/node-1/networks"


def test_nothing_is_called_on_the_computer_itself() -> None:
    with pytest.raises(NotInLabMachine):
        Runtime().versions("bridge")
    config = json.dumps({"cniVersion": "1.1.0", "name": "pods", "type": "x", "ipam": {"subnet": "10.0.0.0/24"}})
    status, said = serve(OPERATIONS, {"CNI_COMMAND": "STATUS"}, config, _usable)
    assert status == 1
    assert "not a lab machine" in json.loads(said)["msg"]


ASKED = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "web", "CNI_NETNS": "/run/netns/web", "CNI_IFNAME": "eth0"}
CONFIG: dict[str, Any] = {"cniVersion": "1.1.0", "name": "pods", "ipam": {"subnet": "10.0.0.0/24"}}
FAULTS = [
    ({}, CONFIG, 4, "CNI_COMMAND is ''"),
    ({"CNI_COMMAND": "DEL"}, CONFIG, 4, "missing: CNI_CONTAINERID, CNI_IFNAME"),
    (ASKED, [], 6, "the configuration is not a JSON object"),
    (ASKED, {**CONFIG, "cniVersion": "0.2.0"}, 1, "CNI 0.2.0 is not spoken here"),
    (ASKED, {**CONFIG, "name": ""}, 7, "the configuration has no name"),
    (ASKED, {**CONFIG, "ipMasq": True}, 2, "unsupported field ipMasq: true"),
    (ASKED, {**CONFIG, "ipam": {}}, 7, "ipam has neither a type nor a subnet such as 10.244.1.0/24"),
    ({**ASKED, "CNI_COMMAND": "GC"}, {**CONFIG, "cniVersion": "1.0.0"}, 1, "CNI 1.0.0 has no GC"),
    ({**ASKED, "CNI_COMMAND": "CHECK"}, {**CONFIG, "cniVersion": "0.3.1"}, 1, "CNI 0.3.1 has no CHECK"),
]


@pytest.mark.parametrize(("environment", "config", "code", "message"), FAULTS)
def test_our_plugin_says_what_it_cannot_serve(
    environment: dict[str, str], config: object, code: int, message: str
) -> None:
    status, said = serve(OPERATIONS, environment, json.dumps(config), _usable)
    answer = json.loads(said)
    assert (status, answer["code"], answer["msg"]) == (1, code, message)


def test_our_plugin_tells_its_versions_in_the_one_it_is_asked_in() -> None:
    status, said = serve(OPERATIONS, {"CNI_COMMAND": "VERSION"}, '{"cniVersion": "0.4.0"}')
    assert (status, json.loads(said)) == (0, {"cniVersion": "0.4.0", "supportedVersions": list(SUPPORTED)})


def test_each_case_has_a_name_of_its_own_and_a_section() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 25
    assert all(case.section for case in CASES)


def test_the_executable_of_our_plugin_is_one() -> None:
    import labkit.kube.cni

    folder = os.path.dirname(labkit.kube.cni.__file__)
    assert os.access(os.path.join(folder, "bin", "labkit-bridge"), os.X_OK)
