// What every view needs. All parts become one ES module, so that these names are there in topology.js, capture.js
// and trace.js; no part imports or exports anything. A view is a function of anywidget's context:
//
//   function captureView(context) {
//     const view = frame(context, "Capture");            // its place in the page; see below
//     const draw = () => swap(place, view.model.get("state").svg);
//     view.on("change:state", draw);                     // model.on, undone when the view ends
//     view.root.append(...);                             // view.root: <div class="labkit-view" role="group">
//     return view.end;                                   // what anywidget calls when the view goes
//   }
//
//   h(name, attributes, ...children)     an element; "onclick" and the like are listeners; false and undefined are left out
//   swap(place, svg)                     the SVG that Python drew, in `place`, in the colours of the page's theme
//   frame(context, label)                {root, model, say, on, atEnd, end}: follows the theme (class labkit-dark on root),
//                                        tells Python "shown" and "hidden", and has a status line at its bottom
//     view.say(text)                     the status line, read out politely by screen readers
//     view.atEnd(function)               called once, when the view goes: stop timers here
//   ask(model, question, more)           Promise of Python's answer to {ask: question, ...more} (View's `answers`)
//   button(label, title, press, more)    <button class="labkit-button">; `more` are attributes
//   pressed(button, on)                  a toggle's state: aria-pressed
//   roving(place, selector, open, start) one Tab stop for all that match: arrow keys, Home and End move, Enter, Space and
//                                        clicks call open(element); call the function it returns after each swap
//   keepKeys(view)                       JupyterLab leaves the keys to the view, except the one that saves
//   still()                              true where the reader asked for reduced motion
//   isDark()                             the page's theme: JupyterLab's, VS Code's, else the browser's
//
// Styles: common.css and one file a view, NAME.css, beside these. Colours are variables of .labkit-view in common.css.

function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

function swap(place, svg) {
  const parsed = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  place.replaceChildren(document.importNode(parsed, true));
  recolour(place);
  return place.firstChild;
}

function isDark() {
  const { jpThemeLight, vscodeThemeKind } = document.body.dataset;
  if (jpThemeLight !== undefined) return jpThemeLight === "false";
  if (vscodeThemeKind !== undefined) return !vscodeThemeKind.endsWith("light");
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// The SVG brings both sets of colours, the dark one in a media query: let the page's theme answer it.
function recolour(place) {
  const answer = `@media ${isDark() ? "all" : "not all"}{`;
  for (const style of place.querySelectorAll("svg style")) {
    style.textContent = style.textContent.replace(/@media ?(\(prefers-color-scheme: ?dark\)|all|not all) ?\{/g, answer);
  }
}

function still() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

let views_made = 0;
const page = Math.random().toString(36).slice(2);

function frame({ model, el }, label) {
  const id = `${page}-${views_made++}`;
  const status = h("div", { class: "labkit-status", role: "status", "aria-live": "polite" });
  const root = h("div", { class: "labkit-view", role: "group", "aria-label": label });
  const endings = [];
  const view = {
    root,
    model,
    say: (text) => { status.textContent = text; },
    atEnd: (ending) => endings.push(ending),
    on: (event, listener) => {
      model.on(event, listener);
      endings.push(() => model.off(event, listener));
    },
    end: () => {
      for (const ending of endings.splice(0)) ending();
      root.remove();
      status.remove();
    },
  };
  const colour = () => {
    root.classList.toggle("labkit-dark", isDark());
    status.classList.toggle("labkit-dark", isDark());
    recolour(root);
  };
  const theme = new MutationObserver(colour);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind"] });
  view.atEnd(() => theme.disconnect());
  colour();

  // Python keeps a view going while it is shown somewhere; "who" asks every page to say so again.
  const tell = (what) => model.send({ ask: what, id });
  view.on("msg:custom", (message) => { if (message.ask === "who") tell("here"); });
  const leave = () => tell("hidden");
  addEventListener("pagehide", leave);
  view.atEnd(() => { removeEventListener("pagehide", leave); leave(); });
  tell("shown");

  el.append(root, status);
  return view;
}

function keepKeys(view) {
  const leave = (event) => {
    const saves = event?.key === "s" && (event.ctrlKey || event.metaKey);
    view.root.setAttribute("data-lm-suppress-shortcuts", "true");
    if (saves) view.root.removeAttribute("data-lm-suppress-shortcuts");
  };
  leave();
  addEventListener("keydown", leave, true); // at the window, before JupyterLab hears of it at the document
  view.atEnd(() => removeEventListener("keydown", leave, true));
}

let questions = 0;

function ask(model, question, more = {}) {
  const number = `${page}-${questions++}`;
  return new Promise((resolve) => {
    const hear = (message) => {
      if (message.number !== number) return;
      model.off("msg:custom", hear);
      resolve(message);
    };
    model.on("msg:custom", hear);
    model.send({ ask: question, number, ...more });
  });
}

function button(label, title, press, more = {}) {
  return h("button", { type: "button", class: "labkit-button", title, onclick: press, ...more }, label);
}

function pressed(toggle, on) {
  toggle.setAttribute("aria-pressed", String(on));
}

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

function roving(place, selector, open, start = 0) {
  let current = start;
  const items = () => [...place.querySelectorAll(selector)];
  const within = (event) => items().findLast((item) => item.contains(event.target));
  const choose = (index) => {
    const all = items();
    current = Math.max(0, Math.min(index, all.length - 1));
    all.forEach((item, number) => item.setAttribute("tabindex", number === current ? "0" : "-1"));
    return all[current];
  };
  place.addEventListener("click", (event) => {
    const item = within(event);
    if (!item) return;
    choose(items().indexOf(item));
    open(item, event);
  });
  place.addEventListener("keydown", (event) => {
    const item = within(event);
    if (!item || event.altKey || event.ctrlKey || event.metaKey) return;
    const at = items().indexOf(item);
    if (event.key === "Enter" || event.key === " ") open(item, event);
    else if (event.key in STEPS) choose(at + STEPS[event.key]).focus();
    else if (event.key === "Home") choose(0).focus();
    else if (event.key === "End") choose(items().length - 1).focus();
    else return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab would take the keys for its own
  });
  choose(current);
  return () => choose(current);
}
