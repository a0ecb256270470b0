"""The live views in a real JupyterLab: what a learner clicks, types and presses, and what a terminal changes.

One notebook, run once; each test leaves the views as others can use them, and the last ones end its kernel."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser.chromium import Notebook, new_page
from browser.jupyter import LABKIT, jupyter, wait_for
from playwright.sync_api import Locator, Page, Response, expect

NAME = "views.ipynb"
CELLS = """
import labkit
from labkit import Bridge, Container, Topology, build

red = Container("red", "10.0.0.2/24", link="br0")
blue = Container("blue", "10.0.0.3/24", link="br0")
topology = Topology(Bridge("br0", "10.0.0.1/24"), red, blue)
topology
---
lab = build(topology)
labkit.view(lab)
---
with lab.capture("red/eth0", "blue/eth0") as capture:
    lab.ping("red", "blue")
labkit.view(capture)
---
labkit.view(lab.trace("blue", from_="red"))
""".strip().split("\n---\n")
CABLE = '.cable[data-ends~="red/eth0"]'
WIDGET = "application/vnd.jupyter.widget-view+json"
RECORD = """(status) => {
  window.said = [];
  new MutationObserver(() => window.said.push(status.textContent)).observe(status, { childList: true });
}"""
RING_AFTER_NEXT = """(view) => {
  const at = (form) => form && [Number(form.getAttribute("cx")), Number(form.getAttribute("cy"))];
  [...view.querySelectorAll("button")].find((one) => one.textContent === "Next").click();
  return { ring: at(view.querySelector(".labkit-packet")), bead: at(view.querySelector("[data-hop='2'] .bead")) };
}"""

expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """A notebook with the three views, open, and run."""
    course = tmp_path_factory.mktemp("views") / "course"
    course.mkdir()
    kernel = {"kernelspec": {"name": "labkit", "display_name": "labkit", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), course / NAME)
    with new_page(height=2600) as page, jupyter(course) as server:  # the whole notebook is in sight
        opened = Notebook(page, server, NAME)
        opened.open()
        opened.run_all()
        yield opened


@pytest.fixture(autouse=True)
def nothing_goes_wrong(notebook: Notebook) -> Iterator[None]:
    """No JavaScript error or warning, none allowed; and nobody but the server is asked for anything."""
    yield
    assert notebook.wrong == []
    assert notebook.asked
    assert notebook.outside() == []


@pytest.fixture
def page(notebook: Notebook) -> Page:
    return notebook.page


@pytest.fixture
def network(page: Page) -> Locator:
    """The view of the lab."""
    return page.get_by_role("group", name="Network topology").first


@pytest.fixture
def frames(page: Page) -> Locator:
    """The view of the capture."""
    return page.locator(".labkit-capture")


@pytest.fixture
def stepper(page: Page) -> Iterator[Locator]:
    """The view of the trace, at its first hop."""
    view = page.get_by_role("group", name=re.compile("hop by hop"))
    yield view
    view.get_by_role("button", name="First").click(force=True)


def status_of(view: Locator) -> Locator:
    """The line under a view."""
    return view.locator("xpath=following-sibling::*[@role='status']")


def shell(command: str) -> None:
    """Run a command in the notebook's lab machine, as a learner does in a terminal."""
    words = [LABKIT, "shell", "--notebook", "views", "--", *command.split()]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def screenshot(page: Page, name: str) -> None:
    """Keep a picture of the page where LABKIT_SCREENSHOTS says."""
    if folder := os.environ.get("LABKIT_SCREENSHOTS"):
        page.screenshot(path=os.path.join(folder, f"{name}.png"))


def test_all_three_views_come_alive(page: Page, network: Locator, frames: Locator, stepper: Locator) -> None:
    expect(page.locator(".labkit-view")).to_have_count(3)
    expect(network.locator(".labkit-lamp")).to_have_text("● live")
    expect(frames.locator(".labkit-matches")).to_have_text("8 frames")
    expect(stepper.locator(".labkit-count")).to_have_text("hop 1 of 8")
    screenshot(page, "views")


def test_a_click_on_a_namespace_shows_its_routes(page: Page, network: Locator) -> None:
    red = network.get_by_role("treeitem", name="namespace red")
    red.locator("text", has_text="red").first.click()
    details = network.locator(".labkit-details")
    details.get_by_role("tab", name="routes").click()
    expect(details.locator(".labkit-command")).to_have_text("$ ip -n red route")
    expect(details.locator("pre")).to_contain_text("default via 10.0.0.1 dev eth0")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    expect(red).to_be_focused()


def test_boxes_are_reached_and_opened_with_the_keyboard(page: Page, network: Locator) -> None:
    network.locator("[data-control=close]").focus()
    page.keyboard.press("Tab")
    expect(network.locator("g[role=treeitem]:focus")).to_have_count(1)
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(network.locator(".labkit-details h3")).to_have_text("blue ▸ eth0")
    page.keyboard.press("Escape")
    expect(network.get_by_role("treeitem", name="interface eth0 10.0.0.3")).to_be_focused()


def test_a_trace_is_stepped_with_buttons(stepper: Locator) -> None:
    stepper.get_by_role("button", name="Next").click()
    expect(stepper.locator(".labkit-count")).to_have_text("hop 2 of 8")
    expect(stepper.locator("h4")).to_have_text("request in at host/veth-red")
    expect(stepper.locator("tr[aria-current]")).to_contain_text("host/veth-red")
    expect(status_of(stepper)).to_contain_text("Hop 2 of 8: request, in at host/veth-red")
    stepper.get_by_role("button", name="Last").click()
    expect(stepper.locator("h4")).to_have_text("answer in at red/eth0")
    expect(stepper.get_by_role("button", name="Next")).to_be_disabled()


def test_a_trace_is_stepped_with_keys_and_plays(page: Page, notebook: Notebook, stepper: Locator) -> None:
    stepper.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(stepper.locator("h4")).to_have_text("request out at host/veth-blue")
    expect(stepper.locator(".labkit-columns")).to_contain_text("bridge fdb show br br0")
    page.keyboard.press("ArrowLeft")
    expect(status_of(stepper)).to_contain_text("Hop 2 of 8")
    page.keyboard.press("End")
    expect(stepper.locator(".labkit-count")).to_have_text("hop 8 of 8")
    page.keyboard.press("Space")  # at the end, it plays from the beginning
    expect(stepper.locator(".labkit-count")).to_have_text("hop 3 of 8")
    page.keyboard.press("Space")
    expect(stepper.get_by_role("button", name="Play")).to_be_visible()
    assert len(notebook.cells()) == len(CELLS), "the keys went to JupyterLab"


def test_a_capture_is_filtered_by_typing(frames: Locator) -> None:
    frames.get_by_role("searchbox", name="Filter").press_sequentially("icmp and src 10.0.0.3")
    expect(frames.locator(".labkit-matches")).to_contain_text("2 of 8 frames match")
    expect(frames.locator(".labkit-rows .labkit-row")).to_have_count(2)
    expect(frames.locator(".labkit-rows")).not_to_contain_text("ARP")
    frames.get_by_role("searchbox").fill("icmp and (")
    expect(frames.locator(".labkit-problem")).to_be_visible()
    frames.get_by_role("searchbox").fill("")
    expect(frames.locator(".labkit-rows .labkit-row")).to_have_count(8)
    expect(frames.locator(".labkit-problem")).to_be_hidden()


def test_a_field_is_marked_in_its_frames_bytes(page: Page, frames: Locator) -> None:
    frames.locator(".labkit-row", has_text="echo-request").first.click()
    fields = frames.get_by_role("tree")
    field = fields.get_by_role("treeitem", name=re.compile(r"^ttl"))
    field.hover()
    expect(field).to_have_class(re.compile("labkit-marked"))
    expect(frames.locator(".labkit-codes .labkit-marked")).to_have_text(["40"])  # 64
    expect(status_of(frames)).to_contain_text("ttl 64: byte 22")
    frames.locator(".labkit-codes span[data-at='23']").hover()  # and from the byte to its field
    expect(fields.locator(".labkit-marked")).to_contain_text("proto icmp")
    screenshot(page, "frame")


@pytest.mark.parametrize("place", ["frames", "stepper"])
def test_the_notebook_is_saved_from_inside_a_view(page: Page, place: str, request: pytest.FixtureRequest) -> None:
    view = request.getfixturevalue(place)
    (view.get_by_role("searchbox") if place == "frames" else view).focus()

    def is_checkpoint(response: Response) -> bool:
        return response.request.method == "POST" and f"{NAME}/checkpoints" in response.url

    with page.expect_response(is_checkpoint):  # the last thing that JupyterLab does when it saves
        page.keyboard.press("Control+s")


def test_a_capture_is_saved_as_pcap(page: Page, frames: Locator, tmp_path: Path) -> None:
    with page.expect_download() as download:
        frames.locator(".labkit-save-all").click()
    download.value.save_as(tmp_path / "saved.pcapng")
    told = subprocess.run(["tcpdump", "-nr", tmp_path / "saved.pcapng"], capture_output=True, text=True, check=True)
    assert told.stdout.count("ICMP echo reply") == 2


def test_a_link_taken_down_in_a_terminal_is_seen_and_said(page: Page, network: Locator) -> None:
    expect(network.locator(CABLE)).not_to_have_class(re.compile("off"))
    status_of(network).evaluate(RECORD)
    shell("ip -n red link set eth0 down")
    expect(network.locator(CABLE)).to_have_class(re.compile("off"))
    expect(network.locator("[data-namespace=red] [data-interface=eth0]")).to_contain_text("down")
    said = wait_for("it is said", lambda: [text for text in page.evaluate("said") if "red: eth0 went down" in text])
    assert "host: veth-red lost its carrier" in said[0]
    screenshot(page, "link-down")
    shell("ip -n red link set eth0 up")
    expect(network.locator(CABLE)).not_to_have_class(re.compile("off"))


def test_what_changed_since_the_mark_is_shown(network: Locator) -> None:
    shell("ip -n blue link set eth0 mtu 1400")
    expect(network.locator("[data-namespace=blue] [data-interface=eth0]")).to_contain_text("1400")
    network.locator("[data-control=compare]").click()
    expect(network.get_by_role("treeitem", name="namespace blue")).to_contain_text("1500 → 1400")
    network.locator("[data-control=mark]").click()
    expect(network.locator("svg")).not_to_contain_text("→")
    network.locator("[data-control=compare]").click()
    shell("ip -n blue link set eth0 mtu 1500")
    expect(network.get_by_role("treeitem", name="namespace blue")).not_to_contain_text("1400")


def test_where_the_reader_asked_for_less_motion_the_packet_jumps(page: Page, stepper: Locator) -> None:
    page.emulate_media(reduced_motion="reduce")
    at_once = stepper.evaluate(RING_AFTER_NEXT)
    assert at_once["ring"] == at_once["bead"]
    page.emulate_media(reduced_motion="no-preference")
    stepper.get_by_role("button", name="First").click()
    moving = stepper.evaluate(RING_AFTER_NEXT)
    assert moving["ring"] != moving["bead"] == at_once["bead"]


def test_views_take_jupyterlabs_dark_theme(notebook: Notebook, page: Page, network: Locator, stepper: Locator) -> None:
    ground = network.locator("svg rect.bg")
    expect(ground).to_have_css("fill", "rgb(255, 255, 255)")
    notebook.menu("Settings", "Theme", "JupyterLab Dark")
    expect(ground).to_have_css("fill", "rgb(13, 17, 23)")
    expect(stepper.locator("h4")).to_have_css("color", "rgb(230, 237, 243)")
    screenshot(page, "dark")
    notebook.menu("Settings", "Theme", "JupyterLab Light")
    expect(ground).to_have_css("fill", "rgb(255, 255, 255)")


def test_no_picture_is_cut_off_in_a_narrow_window(page: Page) -> None:
    picture, room = page.locator(".jp-RenderedSVG img").first, page.locator(".jp-RenderedSVG").first
    wide = width_of(picture)
    page.set_viewport_size({"width": 800, "height": 2600})
    try:
        wait_for("the picture fits", lambda: width_of(picture) <= width_of(room) < wide, 20)
    finally:
        page.set_viewport_size({"width": 1280, "height": 2600})


def width_of(element: Locator) -> float:
    box = element.bounding_box()
    assert box
    return box["width"]


@pytest.fixture(scope="module")
def reopened(notebook: Notebook) -> Notebook:
    """The notebook, saved, its kernel ended, and loaded anew."""
    notebook.menu("Kernel", "Shut Down Kernel")
    wait_for("the kernel is gone", lambda: notebook.server.ask("kernels") == [])
    ended = notebook.page.get_by_role("group", name="Network topology").first
    expect(status_of(ended)).to_contain_text("closed")
    expect(ended.locator(".labkit-bar")).to_be_hidden()
    notebook.menu("File", "Save Notebook")
    wait_for("it is saved", lambda: notebook.page.locator(".jp-mod-dirty").count() == 0)
    notebook.page.reload()
    notebook.wait_for_kernel()
    return notebook


def test_a_saved_notebook_shows_the_static_forms(reopened: Notebook) -> None:
    page = reopened.page
    expect(page.locator(".jp-RenderedSVG img")).to_have_count(len(CELLS))
    assert page.locator(".jp-RenderedSVG img").evaluate_all("(all) => all.every((one) => one.naturalWidth > 300)")
    assert page.locator(".labkit-view").count() == 0
    shown = page.locator(".jp-OutputArea-output").all_inner_texts()
    assert [text for text in shown if text.strip()] == []  # no error, and no text in place of a picture
    screenshot(page, "saved")


def test_a_saved_notebook_has_no_widget_in_it(reopened: Notebook) -> None:
    saved: Any = nbformat.read(reopened.path, as_version=4)
    outputs = [output for cell in saved.cells for output in cell.outputs]
    assert [sorted(output.data) for output in outputs] == [["image/svg+xml", "text/plain"]] * len(CELLS)
    assert "widgets" not in saved.metadata
    assert WIDGET not in reopened.path.read_text()
