// The trace view, with a fake model in a fake page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { Model, atWindow, fire, page, press, settled, views, watching } from "./dom.mjs";

const read = (name) => readFileSync(new URL(`../golden/${name}`, import.meta.url), "utf8");
const stateOf = (name) => ({ ...JSON.parse(read(`trace-${name}.json`)), svg: read(`trace-${name}.svg`), text: "" });

async function shown(name = "natted", options = { still: true }, more = {}) {
  const el = page(options);
  Element.prototype.getTotalLength = () => 100;
  Element.prototype.getPointAtLength = (x) => ({ x, y: 0 });
  const model = new Model("trace", { ...stateOf(name), ...more });
  const before = watching();
  const end = (await views()).render({ model, el });
  const one = (selector) => el.querySelector(selector);
  const all = (selector) => el.querySelectorAll(selector);
  const control = (label) => all("button").find((each) => each.textContent === label);
  return {
    el, model, end, one, all, control, before, root: one(".labkit-view"), status: () => one(".labkit-status").textContent,
    count: () => one(".labkit-count").textContent, ring: () => [one(".labkit-packet").getAttribute("cx"), one(".labkit-packet").getAttribute("cy")],
  };
}

// Time passes when the test says so.
function clock() {
  const { setInterval, clearInterval } = globalThis;
  const ticking = new Set();
  globalThis.setInterval = (call) => { const one = { call }; ticking.add(one); return one; };
  globalThis.clearInterval = (one) => ticking.delete(one);
  return {
    tick: (times = 1) => { for (let n = 0; n < times; n++) for (const { call } of [...ticking]) call(); },
    stop: () => Object.assign(globalThis, { setInterval, clearInterval }),
  };
}

const bead = (view, number) => view.one(`g[data-hop="${number}"] .bead`);

test("it opens at the first hop, and says so", async () => {
  const view = await shown();
  assert.equal(view.count(), "hop 1 of 8");
  assert.equal(view.status(), "Hop 1 of 8: request, out at red/eth0. 10.0.1.2 > 203.0.113.9:80 TCP SYN.");
  assert.equal(view.one(".labkit-status").getAttribute("aria-live"), "polite");
});

test("of the static picture the network stays, the table below it goes", async () => {
  const view = await shown();
  assert.equal(view.all("g.hops").length, 0);
  const [width, height] = /class="hops" data-size="(\d+) (\d+)"/.exec(stateOf("natted").svg).slice(1);
  assert.equal(view.one("svg").getAttribute("viewBox"), `0 0 ${width} ${height}`);
  assert.equal(view.all("[data-hop]").length, 8);
});

test("arrow keys, Home and End step, and no key goes on to JupyterLab", async () => {
  const view = await shown();
  for (const [key, count] of [["ArrowRight", 2], ["ArrowRight", 3], ["ArrowLeft", 2], ["End", 8], ["ArrowRight", 8], ["Home", 1], ["ArrowLeft", 1]]) {
    const event = press(key, view.root);
    assert.equal(view.count(), `hop ${count} of 8`);
    assert.ok(event.stopped && event.defaultPrevented);
  }
  assert.ok(!press("Tab", view.root).stopped);
  assert.ok(!press("ArrowRight", view.root, { ctrlKey: true }).stopped);
  assert.equal(view.root.tabIndex, 0);
});

test("JupyterLab hears of no key but the one that saves", async () => {
  const view = await shown();
  const suppressed = () => view.root.hasAttribute("data-lm-suppress-shortcuts");
  assert.ok(suppressed());
  for (const [key, more, leaves] of [["s", { ctrlKey: true }, false], ["s", {}, true], ["s", { metaKey: true }, false], ["a", { ctrlKey: true }, true]]) {
    atWindow("keydown", { key, ...more });
    assert.equal(suppressed(), leaves);
  }
  view.end();
});

test("the buttons step, and rest at the ends", async () => {
  const view = await shown();
  assert.ok(view.control("Back").disabled && view.control("First").disabled);
  view.control("Next").click();
  assert.equal(view.count(), "hop 2 of 8");
  view.control("Last").click();
  assert.equal(view.count(), "hop 8 of 8");
  assert.ok(view.control("Next").disabled && !view.control("Back").disabled);
  view.control("First").click();
  assert.equal(view.count(), "hop 1 of 8");
});

test("the slider goes anywhere, and tells where it is in words", async () => {
  const view = await shown();
  const slider = view.one("input");
  slider.value = "4";
  fire(slider, "input");
  assert.equal(view.count(), "hop 5 of 8");
  assert.equal(slider.getAttribute("aria-valuetext"), "5 of 8: answer, out at web/eth0");
  press("ArrowRight", slider);
  assert.equal(view.count(), "hop 6 of 8", "once, not twice");
});

test("a row is a way to its hop, by pointer and by key", async () => {
  const view = await shown();
  const rows = view.all(".labkit-hops tbody tr");
  assert.equal(rows.length, 8);
  rows[2].click();
  assert.equal(view.count(), "hop 3 of 8");
  assert.deepEqual(rows.filter((row) => row.getAttribute("aria-current") === "step"), [rows[2]]);
  press("ArrowDown", rows[2]);
  press("Enter", rows[3]);
  assert.equal(view.count(), "hop 4 of 8");
});

test("what changed is said in words, with what it was", async () => {
  const view = await shown();
  view.all(".labkit-hops tbody tr")[2].click();
  const was = view.all(".labkit-headers tr.labkit-was").map((row) => row.children.map((cell) => cell.textContent).join(" "));
  assert.ok(was.includes("ttl 63 was 64"));
  assert.ok(was.includes("src 203.0.113.1 was 10.0.1.2"));
  assert.match(view.status(), /Changed: .*ttl 64 → 63/);
});

test("what decided it comes with the command to look at it", async () => {
  const view = await shown();
  const [first] = view.all(".labkit-columns li");
  assert.equal(first.textContent, "route default via 10.0.1.1 dev eth0ip -n red route get 203.0.113.9");
  assert.equal(first.querySelector("code").textContent, "ip -n red route get 203.0.113.9");
});

test("request and answer are told apart by words", async () => {
  const view = await shown();
  assert.equal(view.one(".labkit-leg").textContent, "request");
  press("End", view.root);
  assert.equal(view.one(".labkit-leg").textContent, "answer");
});

test("a flooded copy is called one", async () => {
  const view = await shown("flooded");
  view.all(".labkit-hops tbody tr")[3].click();
  assert.match(view.one(".labkit-hop h4").textContent, /a flooded copy/);
  assert.match(view.status(), /request, a flooded copy, out at host\/veth-green/);
});

test("the cause stands at the end, and is read out", async () => {
  const view = await shown("filtered");
  assert.equal(view.one(".labkit-down"), null);
  press("End", view.root);
  assert.match(view.one(".labkit-down").textContent, /^lost on the way there: router dropped the packet/);
  assert.match(view.status(), /rp_filter is 1/);
});

test("the ring is around the bead of the hop, and what is ahead is pale", async () => {
  const view = await shown();
  press("ArrowRight", view.root);
  assert.deepEqual(view.ring(), [bead(view, 2).getAttribute("cx"), bead(view, 2).getAttribute("cy")]);
  assert.ok(!view.one('g[data-hop="2"]').classList.contains("labkit-ahead"));
  assert.ok(view.one('g[data-hop="3"]').classList.contains("labkit-ahead"));
  press("End", view.root);
  assert.equal(view.all(".labkit-ahead").length, 0);
  assert.deepEqual(view.ring(), ["x", "y"].map((axis) => String(Number(bead(view, 8).getAttribute(axis)) + 9)));
});

test("the packet moves along the cable, unless the reader asked for stillness", async () => {
  const moved = async (still) => {
    const view = await shown("natted", { still });
    const frames = [];
    globalThis.requestAnimationFrame = (call) => { frames.push(call); return frames.length; };
    globalThis.cancelAnimationFrame = () => {};
    press("ArrowRight", view.root);
    if (!frames.length) return [view.ring()];
    frames.shift()(1000);
    frames.shift()(1250);
    const half = view.ring();
    frames.shift()(1500);
    return [half, view.ring(), frames.length];
  };
  const [half, rest, left] = await moved(false);
  assert.deepEqual(half, ["50", "0"]);
  assert.equal(left, 0);
  assert.deepEqual(await moved(true), [rest]);
});

test("it plays to the end and stops, pauses, and starts over", async (t) => {
  const time = clock();
  t.after(time.stop);
  const view = await shown();
  press(" ", view.root);
  assert.ok(view.control("Pause"));
  time.tick();
  assert.equal(view.count(), "hop 2 of 8");
  press(" ", view.root);
  time.tick(10);
  assert.equal(view.count(), "hop 2 of 8");
  view.control("Play").click();
  time.tick(20);
  assert.equal(view.count(), "hop 8 of 8");
  view.control("Play").click();
  assert.equal(view.count(), "hop 1 of 8");
  press("ArrowRight", view.root);
  assert.ok(view.control("Play"), "a step by hand pauses");
});

test("the space bar on a button is the button's own", async () => {
  const view = await shown();
  assert.ok(!press(" ", view.control("Next")).stopped);
  assert.ok(view.control("Play"));
});

test("nothing goes on when the view ends", async (t) => {
  const time = clock();
  t.after(time.stop);
  const view = await shown();
  press(" ", view.root);
  view.end();
  time.tick(3);
  assert.equal(view.el.children.length, 0);
  assert.deepEqual(watching(), view.before);
  assert.equal(view.model.listeners.length, 0);
});

test("a trace without a hop is told in words", async () => {
  const ending = { at: 0, sentences: [["down", "lost on the way there: red has no route to 10.9.9.9"]], unseen: "nobody saw it" };
  const view = await shown("natted", {}, { hops: [], ending, headline: "ping 10.9.9.9 from red: lost" });
  await settled();
  assert.match(view.one(".labkit-hop").textContent, /nobody saw it.*red has no route/);
  assert.ok(view.one(".labkit-bar").hidden);
});
