// The capture view: a table to filter, one frame's layers beside its bytes, the sequence of packets. Python holds the
// frames; the page asks for the rows that it shows. While a capture runs, Python sends them unasked.
const ROW = 22; // pixels
const BYTES_SHOWN = 2048;
const ENDS = { Home: -Infinity, End: Infinity };
const within = (at, count) => Math.max(0, Math.min(at, count - 1));
const hear = (place, event, act) => place.addEventListener(event, act);

function captureView(context) {
  const view = frame(context, "Capture");
  const { model, root } = view;
  const me = `${page}-capture-${questions++}`;
  root.classList.add("labkit-capture");
  keepKeys(view);
  let now = { rows: [], first: 0, matched: 0 };
  let current = -1; // which of the rows is chosen
  let opened = 0; // the number of its frame
  let loading = null;
  let stale = false;

  const input = h("input", {
    type: "search", class: "labkit-filter", spellcheck: "false",
    "aria-label": "Filter", placeholder: "words, or tcpdump's: icmp and host 10.0.0.2",
  });
  const count = h("span", { class: "labkit-matches", role: "status" });
  const problem = h("p", { class: "labkit-problem", role: "alert", hidden: true });
  const notes = h("ul", { class: "labkit-notes" });
  const saver = (name, title, filter) =>
    button("", title, () => model.send({ ask: "pcap", page: me, filter: filter() }), { class: `labkit-button labkit-save-${name}` });
  const saveShown = saver("shown", "Save what the filter shows", () => input.value);
  const saveAll = saver("all", "Save all frames", () => "");

  const body = h("div", { class: "labkit-rows", role: "rowgroup" });
  const head = h("div", { class: "labkit-row labkit-head", role: "row", "aria-rowindex": 1 });
  head.append(...["frame", "ms", "seen at", "way", "summary"].map((name) => h("span", { role: "columnheader" }, name)));
  const grid = h("div", { class: "labkit-grid", role: "grid", tabindex: 0, "aria-label": "Frames" }, head, body);
  const details = h("div", { class: "labkit-opened" });
  const sequence = h("div", { class: "labkit-sequence", tabindex: 0 });
  const panels = [["Frames", grid, details], ["Sequence", sequence]].map(([name, ...parts], index) =>
    h("div", { role: "tabpanel", id: `${me}-${index}`, "aria-label": name, hidden: index > 0 }, ...parts));
  const tabs = h("span", { role: "tablist", class: "labkit-tabs" }, ...panels.map((panel) =>
    h("button", { class: "labkit-button", role: "tab", "aria-controls": panel.id }, panel.getAttribute("aria-label"))));
  const turn = (wanted) => {
    [...tabs.children].forEach((tab, index) => {
      tab.setAttribute("aria-selected", tab === wanted);
      panels[index].hidden = tab !== wanted;
    });
    draw();
  };
  root.append(h("div", { class: "labkit-bar" }, input, count),
    h("div", { class: "labkit-bar" }, tabs, saveShown, saveAll), problem, ...panels, notes);
  roving(tabs, "[role=tab]", turn);

  async function draw() {
    if (panels[1].hidden) return;
    swap(sequence, (await ask(model, "picture", { filter: input.value })).svg);
  }

  // One question at a time; what changed meanwhile is asked next.
  function load() {
    stale = true;
    return loading ??= (async () => {
      while (stale) {
        stale = false;
        const first = Math.max(0, Math.floor(grid.scrollTop / ROW) - 20);
        show(await ask(model, "rows", { page: me, filter: input.value, first, count: 80 }), true);
      }
      loading = null;
    })();
  }

  function show(answer, asked) {
    const grown = answer.total !== now.total;
    now = answer;
    const all = `${now.total} ${now.total === 1 ? "frame" : "frames"}`;
    const told = now.read_as ? `${now.matched} of ${all} match${now.matched === 1 ? "es" : ""}, read as ${now.read_as}` : all;
    count.setAttribute("aria-live", asked ? "polite" : "off"); // what arrives is not read out
    count.textContent = told + (now.running ? ", running" : "");
    problem.hidden = !now.problem;
    problem.textContent = now.problem;
    saveShown.textContent = `Download shown (${now.matched})`;
    saveAll.textContent = `Download all (${now.total})`;
    saveShown.hidden = !now.read_as;
    notes.replaceChildren(...now.notes.map((note) => h("li", {}, note)));
    if (now.dropped && !now.notes.length) notes.append(h("li", { class: "labkit-dropped" }, `${now.dropped} frames are missing`));
    grid.setAttribute("aria-rowcount", now.matched + 1);
    body.style.height = `${now.matched * ROW}px`;
    body.replaceChildren(...now.rows.map((cells, index) => rowOf(cells, now.first + index)));
    mark();
    if (grown) draw();
  }

  function rowOf(cells, at) {
    return h("div", {
      class: "labkit-row", role: "row", id: `${me}-row-${at}`, style: `top:${at * ROW}px`,
      "aria-rowindex": at + 2, "data-at": at,
    }, ...cells.map((cell) => h("span", { role: "gridcell" }, cell)));
  }

  function mark() {
    grid.removeAttribute("aria-activedescendant");
    [...body.children].forEach((row, index) => {
      const chosen = now.rows[index][0] === opened;
      row.setAttribute("aria-selected", chosen);
      if (!chosen) return;
      current = now.first + index;
      grid.setAttribute("aria-activedescendant", row.id);
    });
  }

  async function choose(at) {
    current = within(at, now.matched);
    const top = current * ROW;
    grid.scrollTop = Math.max(top + 2 * ROW - grid.clientHeight, Math.min(grid.scrollTop, top));
    if (!now.rows[current - now.first]) await load();
    const chosen = now.rows[current - now.first];
    if (!chosen) return;
    opened = chosen[0];
    mark();
    const answer = await ask(model, "frame", { frame: opened });
    if (answer.frame === opened) details.replaceChildren(...openedFrame(answer, view));
  }

  onKeys(grid, { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, ...ENDS }, (step) => choose(current + step));
  onKeys(grid, { Enter: 0, " ": 0 }, () => choose(current).then(() => details.querySelector("[role=treeitem]")?.focus()));
  hear(body, "click", ({ target }) => choose(Number(target.closest(".labkit-row").dataset.at)));
  hear(grid, "scroll", () => {
    const top = Math.floor(grid.scrollTop / ROW);
    if (top < now.first || Math.min(top + 20, now.matched) > now.first + now.rows.length) load();
  });
  let typing = 0;
  hear(input, "input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      grid.scrollTop = 0;
      current = -1;
      load();
      draw();
    }, 150);
  });
  view.atEnd(() => clearTimeout(typing));
  view.on("msg:custom", (message, buffers) => {
    if (message.page !== me) return;
    if (message.ask === "rows") show(message);
    if (message.ask === "pcap") saveFile(message, buffers[0], view);
  });
  turn(tabs.children[0]);
  load();
  return view.end;
}

// Some keys act on `place`, and on nothing else of the page.
function onKeys(place, meanings, act) {
  hear(place, "keydown", (event) => {
    if (!(event.key in meanings) || event.altKey || event.ctrlKey || event.metaKey) return;
    act(meanings[event.key]);
    event.preventDefault();
    event.stopPropagation();
  });
}

function saveFile({ name, frames }, data, view) {
  const address = URL.createObjectURL(new Blob([data], { type: "application/octet-stream" }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
  view.say(`${name}: ${frames} frames, for wireshark or tcpdump -r`);
}

// One frame: its layers and its bytes. What is pointed at in one is marked in both.
function openedFrame(answer, view) {
  const bytes = answer.hex.match(/../g) ?? [];
  const items = [];
  const item = (level, place, told, ...content) => {
    const element = h("div", { role: "treeitem", "aria-level": level }, ...content);
    items.push({ element, first: place?.[0] ?? 0, size: place?.[1] ?? 0, told, level });
    return element;
  };
  const tree = h("div", { class: "labkit-tree", role: "tree", "aria-label": `Layers of frame ${answer.title}` });
  for (const { name, place, where, fields } of answer.layers) {
    tree.append(item(1, place, `${name}: ${where}`, name), h("div", { role: "group" }, ...fields.map((field) =>
      item(2, field.bytes, `${name} ${field.name} ${field.value}: ${field.where}`, h("span", { class: "labkit-name" }, field.name),
        " ", field.value, ...(field.remark ? [h("div", { class: "labkit-remark" }, field.remark)] : [])))));
  }
  const hex = h("div", { class: "labkit-hex", role: "listbox", tabindex: 0, "aria-label": "Bytes" });
  const id = `${page}-byte-${questions++}`;
  const cells = bytes.slice(0, BYTES_SHOWN).map((byte, at) => {
    const code = parseInt(byte, 16);
    return [h("span", { role: "option", id: `${id}-${at}`, "data-at": at }, byte),
      h("span", { "data-at": at }, code > 31 && code < 127 ? String.fromCharCode(code) : ".")];
  });
  for (let at = 0; at < cells.length; at += 16) {
    const [codes, letters] = [0, 1].map((side) => cells.slice(at, at + 16).map((cell) => cell[side]));
    const part = (name, role, ...content) => h("span", { class: `labkit-${name}`, role, "aria-hidden": !role && "true" }, ...content);
    hex.append(part("dump", "none", part("offset", undefined, at), part("codes", "none", ...codes), part("letters", undefined, ...letters)));
  }
  if (bytes.length > cells.length) hex.append(h("div", {}, `and ${bytes.length - cells.length} more bytes`));
  if (answer.length > bytes.length) hex.append(h("div", {}, `${answer.length - bytes.length} bytes were not kept`));

  let marked = [];
  const light = (found, at, told) => {
    for (const element of marked) element.classList.remove("labkit-marked");
    marked = [...found.map(({ element }) => element), ...at];
    for (const element of marked) element.classList.add("labkit-marked");
    view.say(told);
  };
  const pointItem = ({ target }) => {
    const found = items.find(({ element }) => element === target.closest("[role=treeitem]"));
    if (!found) return;
    light([found], cells.slice(found.first, found.first + found.size).flat(), found.told);
    reveal(hex, cells[found.size ? found.first : -1]?.[0].closest(".labkit-dump"));
  };
  const pointByte = (at) => {
    const here = items.filter(({ first, size, element }) => first <= at && at < first + size && !element.parentElement.hidden);
    const fields = here.filter(({ level }) => level === 2);
    const found = fields.length ? fields : here;
    light(found, cells[at] ?? [], `byte ${at} is ${bytes[at]}: ${found.map(({ told }) => told).join("; ") || "no field"}`);
    reveal(tree, found[0]?.element);
  };
  let cursor = 0;
  const move = (step) => {
    cursor = within(cursor + step, cells.length);
    hex.setAttribute("aria-activedescendant", `${id}-${cursor}`);
    cells.forEach(([code], at) => code.setAttribute("aria-selected", at === cursor));
    reveal(hex, cells[cursor]?.[0]);
    pointByte(cursor);
  };
  hear(tree, "mouseover", pointItem);
  hear(tree, "focusin", pointItem);
  hear(hex, "mouseover", ({ target }) => target.dataset.at && pointByte(Number(target.dataset.at)));
  hear(hex, "focus", () => move(0));
  onKeys(hex, { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 16, ArrowUp: -16, ...ENDS }, move);

  const fold = (layer, open) => {
    layer.setAttribute("aria-expanded", open);
    layer.nextElementSibling.hidden = !open;
  };
  for (const { element, level } of items) {
    if (level > 1) continue;
    fold(element, true);
    onKeys(element, { ArrowRight: true, ArrowLeft: false }, (open) => fold(element, open));
  }
  roving(tree, "[role=tree]>[role=treeitem],[role=group]:not([hidden])>[role=treeitem]", (element) => {
    if (element.hasAttribute("aria-expanded")) fold(element, element.nextElementSibling.hidden);
  });
  return [h("div", { class: "labkit-frame-title" }, `Frame ${answer.title}`), h("div", { class: "labkit-beside" }, tree, hex)];
}

// Scroll `element` into sight within `place`, and nothing else of the page.
function reveal(place, element) {
  if (!element) return;
  const [seen, wanted] = [place.getBoundingClientRect(), element.getBoundingClientRect()];
  place.scrollTop += Math.min(0, wanted.top - seen.top - 4) || Math.max(0, wanted.bottom - seen.bottom + 4);
}
