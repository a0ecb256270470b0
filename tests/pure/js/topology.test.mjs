// The topology view, and what all views share, with a fake model in a fake page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { Model, fire, page, press, setTheme, settled, views, watching } from "./dom.mjs";

const SVG = readFileSync(new URL("../golden/before.svg", import.meta.url), "utf8");
const AFTER = readFileSync(new URL("../golden/after.svg", import.meta.url), "utf8");
const LIVE = { svg: SVG, text: "", live: true, following: true, comparing: false, said: "", fresh: [] };
const TABS = [
  { name: "links", command: "ip -n red address", text: "lo: loopback\neth0: veth, up" },
  { name: "routes", command: "ip -n red route", text: "default via 10.0.0.1 dev eth0" },
  { name: "FDB", command: "bridge -n red fdb", text: "" },
];

async function shown(state = {}, options = {}, answers = { details: () => ({ tabs: TABS }) }) {
  const el = page(options);
  const model = new Model("topology", { ...LIVE, ...state }, answers);
  const end = (await views()).render({ model, el });
  const one = (selector) => el.querySelector(selector);
  return { el, model, end, one, all: (selector) => el.querySelectorAll(selector), status: () => one(".labkit-status").textContent };
}

const box = (view, name) => view.one(`g[data-namespace="${name}"]`);
const control = (view, name) => view.one(`[data-control=${name}]`);

test("the picture is the one that Python drew, and follows the state", async () => {
  const view = await shown();
  assert.ok(box(view, "red"));
  view.model.set("state", { ...LIVE, svg: AFTER, said: "red: eth0 went down" });
  assert.equal(view.all("svg").length, 1);
  assert.equal(view.status(), "red: eth0 went down");
});

test("the status line is polite, and no part of what is drawn again", async () => {
  const view = await shown();
  const line = view.one(".labkit-status");
  assert.equal(line.getAttribute("aria-live"), "polite");
  view.model.set("state", { ...LIVE, said: "once more" });
  assert.equal(view.one(".labkit-status"), line);
});

test("Python hears when the view is shown, and when no longer", async () => {
  const view = await shown();
  const [{ id }] = view.model.asked("shown");
  view.model.tell({ ask: "who" });
  assert.deepEqual(view.model.asked("here"), [{ ask: "here", id }]);
  view.end();
  assert.deepEqual(view.model.asked("hidden"), [{ ask: "hidden", id }]);
});

test("a view that ends leaves nothing behind", async () => {
  const before = watching().window;
  const view = await shown();
  view.model.set("state", { ...LIVE, fresh: [["red", "eth0"]] });
  assert.deepEqual(watching(), { observers: 1, window: before + 1 });
  view.end();
  assert.deepEqual(view.model.listeners, []);
  assert.deepEqual(watching(), { observers: 0, window: before });
  assert.equal(view.el.children.length, 0);
});

test("JupyterLab's theme decides on the colours, before what the browser prefers", async () => {
  const colours = (view) => view.one("svg style").textContent.match(/@media ?([^{]*)\{/)[1].trim();
  const dark = await shown({}, { theme: "dark" });
  assert.equal(colours(dark), "all");
  assert.ok(dark.one(".labkit-view").classList.contains("labkit-dark"));
  setTheme("light");
  assert.equal(colours(dark), "not all");
  assert.ok(!dark.one(".labkit-view").classList.contains("labkit-dark"));
  assert.equal(colours(await shown({}, { theme: "light", dark: true })), "not all");
  assert.equal(colours(await shown({}, { dark: true })), "all");
});

test("every box and interface has a role and says in words what it shows", async () => {
  const view = await shown();
  const boxes = view.all("g[data-namespace], g[data-interface]");
  assert.ok(boxes.length > 8);
  for (const one of boxes) assert.equal(one.getAttribute("role"), "treeitem");
  assert.match(box(view, "red").getAttribute("aria-label"), /^namespace red, eth0 10\.0\.0\.2\/24, 02:/);
  const level = (selector) => view.one(selector).getAttribute("aria-level");
  assert.deepEqual(["g[data-namespace=host]", "g[data-interface=br0]", "g[data-interface=veth-red]"].map(level), ["1", "2", "3"]);
  assert.match(box(view, "host").getAttribute("aria-label"), /^namespace host, (forwards IPv4, )?4 interfaces$/);
  const tree = view.one("svg");
  assert.equal(tree.getAttribute("role"), "tree");
  assert.equal(tree.querySelector(`#${tree.getAttribute("aria-labelledby")}`).localName, "title");
});

test("one Tab stop leads into the picture, and arrow keys to every box", async () => {
  const view = await shown();
  const boxes = view.all("g[data-namespace], g[data-interface]");
  assert.equal(boxes.filter((one) => one.getAttribute("tabindex") === "0").length, 1);
  boxes[0].focus();
  const met = new Set([document.activeElement]);
  for (let step = 1; step < boxes.length; step++) { press("ArrowDown"); met.add(document.activeElement); }
  assert.equal(met.size, boxes.length);
  press("ArrowRight");
  assert.equal(document.activeElement, boxes.at(-1), "no further than the last");
  press("Home");
  assert.equal(document.activeElement, boxes[0]);
  press("End");
  press("ArrowUp");
  assert.equal(document.activeElement, boxes.at(-2));
});

test("keys that the picture uses do not reach JupyterLab, others do", async () => {
  const view = await shown();
  box(view, "red").focus();
  assert.ok(press("ArrowDown").stopped);
  assert.ok(!press("Tab").stopped);
  assert.ok(!press("ArrowDown", document.activeElement, { ctrlKey: true }).stopped);
});

test("Enter on a box opens its tables, each with its command", async () => {
  const view = await shown();
  box(view, "red").focus();
  press("Enter");
  await settled();
  assert.deepEqual(view.model.asked("details").map(({ namespace }) => namespace), ["red"]);
  assert.equal(view.one(".labkit-details").hidden, false);
  assert.deepEqual(view.all("[role=tab]").map((tab) => tab.textContent), ["links", "routes", "FDB"]);
  assert.equal(view.one(".labkit-command").textContent, "$ ip -n red address");
  assert.equal(document.activeElement.dataset.tab, "links");
});

test("tabs are chosen by click, or with arrow keys and Enter; an empty table says so", async () => {
  const view = await shown();
  fire(box(view, "red"), "click");
  await settled();
  view.one("[data-tab=FDB]").click();
  assert.match(view.one("[role=tabpanel]").textContent, /nothing there/);
  view.one("[data-tab=FDB]").focus();
  press("ArrowLeft");
  press("Enter");
  assert.equal(view.one(".labkit-command").textContent, "$ ip -n red route");
  assert.equal(view.one("[data-tab=routes]").getAttribute("aria-selected"), "true");
});

test("a click on an interface opens its namespace, and marks the lines about it", async () => {
  const view = await shown();
  fire(box(view, "red").querySelector("g[data-interface=eth0]"), "click");
  await settled();
  assert.equal(view.one("h3").textContent, "red ▸ eth0");
  assert.deepEqual(view.all(".labkit-mentioned").map((line) => line.textContent.trim()), ["eth0: veth, up"]);
});

test("Escape closes the tables, and the focus returns to the box", async () => {
  const view = await shown();
  box(view, "blue").focus();
  press("Enter");
  await settled();
  press("Escape");
  assert.equal(view.one(".labkit-details").hidden, true);
  assert.equal(document.activeElement, box(view, "blue"));
});

test("when the picture is drawn again, the focus stays, and open tables are asked for again", async () => {
  const view = await shown();
  box(view, "red").focus();
  press("Enter");
  await settled();
  view.one("[data-tab=routes]").focus();
  press("Enter");
  view.model.set("state", { ...LIVE, svg: AFTER });
  await settled();
  assert.equal(view.model.asked("details").length, 2);
  assert.equal(document.activeElement, view.one("[data-tab=routes]"));
  press("Escape");
  assert.equal(document.activeElement, box(view, "red"));
  view.model.set("state", { ...LIVE, svg: SVG });
  assert.equal(document.activeElement, box(view, "red"));
});

test("an answer that comes after the tables were closed opens nothing", async () => {
  const view = await shown();
  box(view, "red").focus();
  press("Enter");
  press("Escape");
  await settled();
  assert.equal(view.one(".labkit-details").hidden, true);
});

test("a namespace that is gone says so", async () => {
  const view = await shown({}, {}, { details: () => ({ tabs: [], problem: "red is gone" }) });
  fire(box(view, "red"), "click");
  await settled();
  assert.match(view.one(".labkit-details").textContent, /red is gone/);
});

test("the controls ask Python, and show what it made of it", async () => {
  const view = await shown();
  control(view, "follow").click();
  control(view, "mark").click();
  control(view, "compare").click();
  control(view, "close").click();
  const asked = view.model.sent.filter(({ ask }) => ask !== "shown");
  assert.deepEqual(asked.map(({ ask, on }) => [ask, on]), [["follow", false], ["mark", undefined], ["compare", true], ["close", undefined]]);
  view.model.set("state", { ...LIVE, following: false, comparing: true });
  assert.equal(control(view, "follow").textContent, "Follow");
  assert.match(view.one(".labkit-lamp").textContent, /paused/);
  assert.equal(control(view, "compare").getAttribute("aria-pressed"), "true");
});

test("closed, and of what does not follow, there are no controls", async () => {
  const view = await shown();
  assert.equal(view.one(".labkit-bar").hidden, false);
  view.model.set("state", { ...LIVE, closed: true, said: "red: eth0 went down" });
  assert.equal(view.one(".labkit-bar").hidden, true);
  assert.match(view.status(), /closed/);
  assert.equal((await shown({ live: false })).one(".labkit-bar").hidden, true);
});

test("what has just changed is outlined", async () => {
  const view = await shown();
  view.model.set("state", { ...LIVE, fresh: [["red", "eth0"], ["blue", ""], ["nobody", "x"]] });
  assert.deepEqual(view.all(".labkit-fresh").map((one) => one.dataset.interface ?? one.dataset.namespace), ["eth0", "blue"]);
  view.model.set("state", { ...LIVE, fresh: [["red", "eth0"]], closed: true });
  assert.deepEqual(view.all(".labkit-fresh"), []);
  view.end();
});

test("what changed before a view was shown is not outlined", async () => {
  const view = await shown({ fresh: [["red", "eth0"]] });
  assert.deepEqual(view.all(".labkit-fresh"), []);
  view.end();
});
