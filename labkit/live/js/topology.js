// The topology view: the picture, kept up to date; a panel with the tables of a namespace; pause, mark, compare, close.

const BOXES = "g[data-namespace], g[data-interface]";

function topologyView(context) {
  const view = frame(context, "Network topology");
  const { model, root } = view;
  const place = h("div", { class: "labkit-picture" });
  const find = (name) => boxOf(place, name);
  const panel = detailsPanel(view, find);
  const mark = freshMarks(view, find);
  const controls = topologyControls(view);
  root.append(controls.bar, place, panel.element);

  let refresh = () => {};
  const draw = (news) => {
    const state = model.get("state");
    const focused = place.contains(document.activeElement) ? nameOf(document.activeElement) : null;
    const svg = swap(place, state.svg);
    svg.setAttribute("role", "tree"); // as an img, what is in it could not be reached
    svg.setAttribute("aria-labelledby", svg.getAttribute("aria-labelledby").split(" ")[0]); // the title, not all in words
    place.querySelectorAll(BOXES).forEach(speak);
    refresh();
    if (focused) find(focused)?.focus();
    mark((news && !state.closed && state.fresh) || []);
    panel.refresh();
    controls.draw(state);
    const said = state.closed ? "closed: the picture stays as it was" : state.said;
    if (said) view.say(said);
  };
  draw(false); // what happened before is no news
  refresh = roving(place, BOXES, (box) => panel.open(nameOf(box)));
  view.on("change:state", () => draw(true));
  return view.end;
}

// "red" or "red/eth0"
function nameOf(box) {
  const namespace = box.closest("[data-namespace]").dataset.namespace;
  return box.dataset.interface ? `${namespace}/${box.dataset.interface}` : namespace;
}

function boxOf(place, name) {
  return [...place.querySelectorAll(BOXES)].find((box) => nameOf(box) === name);
}

// A box says in words what it shows; of many interfaces only how many: each says the rest itself.
function speak(box) {
  const inside = box.querySelectorAll("g[data-interface]");
  const lines = [...box.querySelectorAll("text")].filter((line) => inside.length <= 3 || line.parentNode === box);
  const words = lines.map((line) => line.children.length ? [...line.children].map((part) => part.textContent).join(" ") : line.textContent);
  if (inside.length > 3) words.push(`${inside.length} interfaces`);
  const what = box.dataset.interface ? "interface" : "namespace";
  let level = 1;
  for (let above = box.parentNode.closest(BOXES); above; above = above.parentNode.closest(BOXES)) level++;
  box.setAttribute("role", "treeitem");
  box.setAttribute("aria-level", level);
  box.setAttribute("aria-label", `${what} ${words.join(", ")}`);
}

// What has just changed is outlined for a moment. One timer: what it marked before is no longer there.
function freshMarks(view, find) {
  let timer = 0;
  view.atEnd(() => clearTimeout(timer));
  return (fresh) => {
    clearTimeout(timer);
    const marked = fresh.map(([namespace, name]) => find(`${namespace}/${name}`) ?? find(namespace)).filter(Boolean);
    for (const box of marked) box.classList.add("labkit-fresh");
    timer = setTimeout(() => { for (const box of marked) box.classList.remove("labkit-fresh"); }, 2500);
  };
}

function topologyControls(view) {
  const { model } = view;
  const send = (question, on) => model.send({ ask: question, on });
  const state = () => model.get("state");
  const follow = button("Pause", "", () => send("follow", !state().following), { "data-control": "follow" });
  const compare = button("Show what changed", "Show what is different from the mark: + added, - removed, ~ changed",
    () => send("compare", !state().comparing), { "data-control": "compare", "aria-pressed": "false" });
  const mark = button("Mark", "From now on, compare with the network as it is at this moment",
    () => send("mark"), { "data-control": "mark" });
  const close = button("Close", "Follow the network no more; the picture stays", () => send("close"), { "data-control": "close" });
  const lamp = h("span", { class: "labkit-lamp" });
  const bar = h("div", { class: "labkit-bar", role: "group", "aria-label": "Topology view" },
    lamp, follow, mark, compare, h("span", { class: "labkit-space" }), close);
  const draw = ({ live, following, comparing, closed }) => {
    bar.hidden = !live || closed === true;
    follow.textContent = following ? "Pause" : "Follow";
    follow.title = following ? "Leave the picture as it is" : "Follow the network again";
    lamp.textContent = following ? "● live" : "‖ paused";
    lamp.classList.toggle("labkit-live", following === true);
    pressed(compare, comparing === true);
  };
  return { bar, draw };
}

// The tables of one namespace, asked for when it opens and whenever the picture changes.
function detailsPanel(view, find) {
  const element = h("section", { class: "labkit-details", hidden: true });
  let opened = null; // "red" or "red/eth0"
  let chosen = "links"; // the tab
  let latest = 0;

  const close = () => {
    if (!opened) return;
    const box = find(opened);
    opened = null;
    element.hidden = true;
    box?.focus();
  };
  const fill = async () => {
    const asked = ++latest;
    const [namespace, name] = opened.split("/");
    const answer = await ask(view.model, "details", { namespace });
    if (asked !== latest || !opened) return;
    const hadFocus = element.contains(document.activeElement);
    const focused = document.activeElement?.dataset?.tab;
    const head = h("header", { class: "labkit-details-head" }, h("h3", {}, opened.replace("/", " ▸ ")),
      button("Hide", "Hide these tables (Escape)", close, { class: "labkit-button labkit-details-close" }));
    if (answer.problem) element.replaceChildren(head, h("p", {}, answer.problem));
    else element.replaceChildren(head, ...tabs(answer.tabs, name));
    element.setAttribute("aria-label", `Namespace ${namespace}`);
    element.hidden = false;
    if (!hadFocus) return;
    (element.querySelector(focused ? `[data-tab="${focused}"]` : "button") ?? head.lastChild).focus();
  };
  const tabs = (all, name) => {
    const list = h("div", { class: "labkit-details-tabs", role: "tablist" });
    const body = h("div", { class: "labkit-details-body", role: "tabpanel", tabindex: "0" });
    const choose = (tab, button) => {
      chosen = tab.name;
      for (const other of list.children) other.setAttribute("aria-selected", String(other === button));
      body.setAttribute("aria-label", tab.name);
      body.replaceChildren(h("code", { class: "labkit-command" }, `$ ${tab.command}`), table(tab.text, name));
    };
    for (const tab of all) {
      const title = h("button", { type: "button", class: "labkit-details-tab", role: "tab", "data-tab": tab.name }, tab.name);
      list.append(title);
      if (tab.name === chosen) choose(tab, title);
    }
    if (!body.firstChild) choose(all[0], list.firstChild);
    const at = [...list.children].findIndex((title) => title.getAttribute("aria-selected") === "true");
    roving(list, ".labkit-details-tab", (title) => choose(all.find((tab) => tab.name === title.dataset.tab), title), at);
    return [list, body];
  };
  const table = (text, name) => {
    if (!text) return h("p", { class: "labkit-nothing" }, "nothing there");
    const lines = text.split("\n").map((line) =>
      h("span", { class: name && mentions(line, name) ? "labkit-mentioned" : "labkit-line" }, `${line}\n`));
    return h("pre", {}, ...lines);
  };
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.stopPropagation(); close(); }
  });
  view.root.addEventListener("keydown", (event) => { if (event.key === "Escape" && opened) { event.stopPropagation(); close(); } });
  return {
    element,
    open: async (name) => {
      opened = name;
      await fill();
      if (opened !== name) return;
      element.scrollIntoView({ block: "nearest", behavior: still() ? "auto" : "smooth" });
      (element.querySelector('[aria-selected="true"]') ?? element.querySelector("button"))?.focus({ preventScroll: true });
    },
    refresh: () => { if (opened) fill(); },
  };
}

function mentions(line, name) {
  return line.split(/[\s:,]+/).includes(name);
}
