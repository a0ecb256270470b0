// The capture view, with a fake model in a fake page.
import assert from "node:assert/strict";
import test from "node:test";
import { Model, fire, page, press, settled, views } from "./dom.mjs";

const SVG = '<svg xmlns="http://www.w3.org/2000/svg"><g/></svg>';
const TOTAL = 5000;
const row = (at) => [at + 1, `${at}.000`, "red/eth0", "out", `frame number ${at + 1}`];
const about = (at, matched) => ({
  rows: Array.from({ length: Math.min(80, Math.max(0, matched - at)) }, (_, index) => row(at + index)),
  first: at, matched, total: TOTAL, read_as: "", problem: "", running: false, dropped: 0, notes: [],
});
const field = (name, value, bytes, where, remark = "") => ({ name, value, bytes, where, remark });
const FRAME = {
  title: "a frame", length: 60, hex: `${"00".repeat(14)}45${"61".repeat(17)}`,
  layers: [
    { name: "Ethernet", place: [0, 14], where: "bytes 0 to 13", fields: [field("dst", "02:00", [0, 6], "bytes 0 to 5")] },
    { name: "IP", place: [14, 18], where: "bytes 14 to 31", fields: [
      field("version", "4", [14, 1], "bits 0 to 3 of byte 14"), field("ihl", "5", [14, 1], "bits 4 to 7 of byte 14"),
      field("chksum", "0x1", [24, 2], "bytes 24 to 25", "Unfinished: the sender leaves it to the card."),
      field("secret", "?", null, "its bytes are not known")] },
  ],
};
const ANSWERS = {
  rows: ({ filter, first }) => {
    if (filter === "icmp foo") return { ...about(0, 0), read_as: "words", problem: "No frame has all of these words." };
    return filter ? { ...about(first, 3), read_as: "a tcpdump filter" } : about(first, TOTAL);
  },
  frame: ({ frame }) => ({ ...FRAME, frame }),
  picture: () => ({ svg: SVG, text: "" }),
};

async function shown(answers = ANSWERS) {
  const el = page();
  const model = new Model("capture", { svg: SVG, text: "" }, answers);
  const end = (await views()).render({ model, el });
  await settled();
  const one = (selector) => el.querySelector(selector);
  const all = (selector) => el.querySelectorAll(selector);
  const grid = one(".labkit-grid");
  grid.clientHeight = 242;
  const press_in = async (key) => { press(key, grid); await settled(); };
  const type = async (text) => {
    one(".labkit-filter").value = text;
    fire(one(".labkit-filter"), "input");
    await new Promise((resolve) => setTimeout(resolve, 200));
  };
  const chosen = () => all(".labkit-rows .labkit-row").filter((row) => row.getAttribute("aria-selected") === "true");
  return { el, model, end, one, all, grid, press_in, type, chosen, marked: () => all(".labkit-marked").map((one) => one.textContent) };
}

const item = (view, name) => view.all("[role=treeitem]").find((one) => one.textContent.startsWith(name));

test("of 5,000 frames only those near the ones in sight are asked for and drawn", async () => {
  const view = await shown();
  assert.equal(view.all(".labkit-rows .labkit-row").length, 80);
  assert.equal(view.grid.getAttribute("aria-rowcount"), "5001");
  view.grid.scrollTop = 22 * 3000;
  fire(view.grid, "scroll");
  await settled();
  assert.deepEqual(view.model.asked("rows").map(({ first }) => first), [0, 2980]);
  assert.equal(view.one(".labkit-rows .labkit-row").getAttribute("aria-rowindex"), "2982");
});

test("what matches is counted in words, and read out", async () => {
  const view = await shown();
  assert.equal(view.one(".labkit-matches").textContent, "5000 frames");
  await view.type("icmp");
  assert.equal(view.one(".labkit-matches").textContent, "3 of 5000 frames match, read as a tcpdump filter");
  assert.equal(view.one(".labkit-matches").getAttribute("aria-live"), "polite");
  assert.equal(view.one(".labkit-problem").hidden, true);
});

test("an empty table comes with a sentence", async () => {
  const view = await shown();
  await view.type("icmp foo");
  assert.equal(view.one(".labkit-problem").textContent, "No frame has all of these words.");
  assert.equal(view.one(".labkit-problem").hidden, false);
  assert.equal(view.one(".labkit-problem").getAttribute("role"), "alert");
});

test("while it is typed, one question is open at a time", async () => {
  const view = await shown({ ...ANSWERS, rows: () => undefined });
  await view.type("a");
  await view.type("ab");
  assert.equal(view.model.asked("rows").length, 1);
  const [{ number }] = view.model.asked("rows");
  view.model.tell({ ask: "rows", number, ...about(0, TOTAL) });
  await settled();
  assert.deepEqual(view.model.asked("rows").map(({ filter }) => filter), ["", "ab"]);
});

test("arrow keys choose a frame, Enter goes to its layers", async () => {
  const view = await shown();
  await view.press_in("ArrowDown");
  await view.press_in("ArrowDown");
  assert.deepEqual(view.chosen().map((row) => row.children[0].textContent), ["2"]);
  assert.equal(view.grid.getAttribute("aria-activedescendant"), view.chosen()[0].id);
  assert.deepEqual(view.model.asked("frame").map(({ frame }) => frame), [1, 2]);
  assert.ok(press("ArrowUp", view.grid).stopped);
  assert.ok(!press("Tab", view.grid).stopped);
  await view.press_in("Enter");
  assert.equal(document.activeElement.textContent, "Ethernet");
});

test("End goes to the last frame, which is asked for first", async () => {
  const view = await shown();
  await view.press_in("End");
  assert.deepEqual(view.model.asked("frame").map(({ frame }) => frame), [TOTAL]);
  assert.equal(view.chosen().length, 1);
});

test("a click on a row opens its frame", async () => {
  const view = await shown();
  view.all(".labkit-rows .labkit-row")[4].children[2].click();
  await settled();
  assert.deepEqual(view.model.asked("frame").map(({ frame }) => frame), [5]);
});

test("the field that is pointed at is marked in the bytes, in hex and in characters", async () => {
  const view = await shown();
  await view.press_in("ArrowDown");
  fire(item(view, "chksum"), "mouseover");
  assert.deepEqual(view.marked().slice(-4), ["61", "61", "a", "a"]);
  assert.match(view.one(".labkit-status").textContent, /IP chksum 0x1: bytes 24 to 25/);
  item(view, "ihl").focus();
  assert.ok(item(view, "ihl").classList.contains("labkit-marked"));
  assert.deepEqual(view.marked().slice(-2), ["45", "E"]);
});

test("the byte that is pointed at marks every field in it", async () => {
  const view = await shown();
  await view.press_in("ArrowDown");
  fire(view.one(".labkit-codes [data-at=14]"), "mouseover");
  assert.deepEqual(view.marked(), ["version 4", "ihl 5", "45", "E"]);
  assert.match(view.one(".labkit-status").textContent, /^byte 14 is 45: IP version 4: bits 0 to 3 of byte 14; IP ihl/);
});

test("keys move through the bytes", async () => {
  const view = await shown();
  await view.press_in("ArrowDown");
  const hex = view.one(".labkit-hex");
  hex.focus();
  press("ArrowDown", hex);
  press("ArrowLeft", hex);
  press("ArrowLeft", hex);
  assert.equal(view.one(".labkit-codes [aria-selected=true]").dataset.at, "14");
  assert.match(hex.getAttribute("aria-activedescendant"), /-14$/);
  press("Home", hex);
  assert.deepEqual(view.marked(), ["dst 02:00", "00", "."]);
});

test("a field whose bytes are not known marks none, and says so", async () => {
  const view = await shown();
  await view.press_in("ArrowDown");
  fire(item(view, "secret"), "mouseover");
  assert.deepEqual(view.marked(), ["secret ?"]);
  assert.match(view.one(".labkit-status").textContent, /its bytes are not known/);
});

test("layers fold with the left arrow; a byte then marks the layer", async () => {
  const view = await shown();
  await view.press_in("ArrowDown");
  const layer = item(view, "IP");
  layer.focus();
  press("ArrowLeft");
  assert.equal(layer.getAttribute("aria-expanded"), "false");
  assert.equal(layer.nextElementSibling.hidden, true);
  fire(view.one(".labkit-codes [data-at=14]"), "mouseover");
  assert.deepEqual(view.marked(), ["IP", "45", "E"]);
  press("ArrowRight");
  assert.equal(layer.getAttribute("aria-expanded"), "true");
});

test("what is unusual about a field stands beside it", async () => {
  const view = await shown();
  await view.press_in("ArrowDown");
  assert.equal(item(view, "chksum").querySelector(".labkit-remark").textContent, "Unfinished: the sender leaves it to the card.");
});

test("the sequence follows the filter", async () => {
  const view = await shown();
  view.all("[role=tab]")[1].click();
  await view.type("arp");
  assert.deepEqual(view.model.asked("picture").map(({ filter }) => filter), ["", "arp"]);
  assert.ok(view.one(".labkit-sequence svg"));
  assert.deepEqual(view.all("[role=tabpanel]").map((panel) => panel.hidden), [true, false]);
  assert.equal(view.all("[role=tab]")[1].getAttribute("aria-selected"), "true");
});

test("rows that Python sends unasked are shown, and not read out; another page's are not", async () => {
  const view = await shown();
  const [{ page: me }] = view.model.asked("rows");
  view.model.tell({ ask: "rows", page: "another", ...about(0, 9) });
  assert.equal(view.one(".labkit-matches").textContent, "5000 frames");
  view.model.tell({ ask: "rows", page: me, ...about(0, 9), total: 9, running: true, dropped: 2, notes: ["2 frames came late"] });
  assert.equal(view.one(".labkit-matches").textContent, "9 frames, running");
  assert.equal(view.one(".labkit-matches").getAttribute("aria-live"), "off");
  assert.deepEqual(view.all(".labkit-notes li").map((note) => note.textContent), ["2 frames came late"]);
  view.model.tell({ ask: "rows", page: me, ...about(0, 9), dropped: 2 });
  assert.deepEqual(view.all(".labkit-notes li").map((note) => note.textContent), ["2 frames are missing"]);
});

test("the buttons say how many frames they save: what is shown, or all", async () => {
  const view = await shown();
  assert.equal(view.one(".labkit-save-shown").hidden, true);
  await view.type("arp");
  assert.equal(view.one(".labkit-save-shown").textContent, "Download shown (3)");
  view.one(".labkit-save-shown").click();
  view.one(".labkit-save-all").click();
  assert.deepEqual(view.model.asked("pcap").map(({ filter }) => filter), ["arp", ""]);
  const [{ page: me }] = view.model.asked("pcap");
  for (const hear of view.model.heard("msg:custom")) hear({ ask: "pcap", page: me, name: "capture.pcapng", frames: 3 }, [new Uint8Array(3)]);
  assert.match(view.one(".labkit-status").textContent, /^capture\.pcapng: 3 frames/);
});

test("a view that ends hears no more", async () => {
  const view = await shown();
  view.end();
  assert.deepEqual(view.model.listeners, []);
});
