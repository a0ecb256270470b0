// The smallest page that the views need: elements, selectors, events, focus, an XML parser; and a fake model.
// Selectors: tag, .class, [name], [name=value], :not() of these, descendants, child (>), lists.

class Node {
  parentNode = null;
  remove() {
    const siblings = this.parentNode?.childNodes;
    if (siblings) siblings.splice(siblings.indexOf(this), 1);
    this.parentNode = null;
  }
  get parentElement() { return this.parentNode; }
  get ownerDocument() { return document; }
}

class Text extends Node {
  constructor(text) { super(); this.textContent = String(text); }
  cloneNode() { return new Text(this.textContent); }
}

const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
const dashed = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

class Element extends Node {
  attributes_ = new Map();
  childNodes = [];
  listeners = new Map();
  style = { setProperty(name, value) { this[name] = value; }, removeProperty(name) { delete this[name]; } };
  scrollTop = 0;

  constructor(name) { super(); this.localName = name; this.value = ""; }
  get tagName() { return this.localName.toUpperCase(); }

  getAttribute(name) { return this.attributes_.get(name) ?? null; }
  setAttribute(name, value) { this.attributes_.set(name, String(value)); }
  removeAttribute(name) { this.attributes_.delete(name); }
  hasAttribute(name) { return this.attributes_.has(name); }
  toggleAttribute(name, on = !this.hasAttribute(name)) { on ? this.setAttribute(name, "") : this.removeAttribute(name); }

  get id() { return this.getAttribute("id") ?? ""; }
  set id(value) { this.setAttribute("id", value); }
  get className() { return this.getAttribute("class") ?? ""; }
  set className(value) { this.setAttribute("class", value); }
  get hidden() { return this.hasAttribute("hidden"); }
  set hidden(on) { this.toggleAttribute("hidden", Boolean(on)); }
  get disabled() { return this.hasAttribute("disabled"); }
  set disabled(on) { this.toggleAttribute("disabled", Boolean(on)); }
  get title() { return this.getAttribute("title") ?? ""; }
  set title(value) { this.setAttribute("title", value); }
  get tabIndex() { return Number(this.getAttribute("tabindex") ?? -1); }
  set tabIndex(value) { this.setAttribute("tabindex", value); }

  get classList() {
    const words = () => this.className.split(/\s+/).filter(Boolean);
    const write = (all) => { this.className = all.join(" "); };
    const list = {
      contains: (name) => words().includes(name),
      add: (...names) => write([...new Set([...words(), ...names])]),
      remove: (...names) => write(words().filter((word) => !names.includes(word))),
      toggle: (name, on = !list.contains(name)) => { on ? list.add(name) : list.remove(name); return on; },
    };
    return list;
  }

  get dataset() {
    return new Proxy({}, {
      get: (_, name) => this.attributes_.get(`data-${dashed(String(name))}`),
      set: (_, name, value) => { this.setAttribute(`data-${dashed(name)}`, value); return true; },
      deleteProperty: (_, name) => { this.removeAttribute(`data-${dashed(name)}`); return true; },
      has: (_, name) => this.hasAttribute(`data-${dashed(name)}`),
      ownKeys: () => [...this.attributes_.keys()].filter((key) => key.startsWith("data-")).map((key) => camel(key.slice(5))),
    });
  }

  get children() { return this.childNodes.filter((node) => node instanceof Element); }
  get firstChild() { return this.childNodes[0] ?? null; }
  get lastChild() { return this.childNodes.at(-1) ?? null; }
  get firstElementChild() { return this.children[0] ?? null; }
  get lastElementChild() { return this.children.at(-1) ?? null; }
  get nextElementSibling() { return this.sibling(1); }
  get previousElementSibling() { return this.sibling(-1); }
  sibling(step) { const all = this.parentNode?.children ?? []; return all[all.indexOf(this) + step] ?? null; }
  get isConnected() { return document.documentElement.contains(this); }

  append(...nodes) {
    for (const node of nodes) {
      const child = node instanceof Node ? node : new Text(node);
      child.remove();
      child.parentNode = this;
      this.childNodes.push(child);
    }
  }
  appendChild(node) { this.append(node); return node; }
  prepend(...nodes) { const old = [...this.childNodes]; this.append(...nodes, ...old); }
  replaceChildren(...nodes) { for (const node of [...this.childNodes]) node.remove(); this.append(...nodes); }
  replaceWith(node) {
    const all = this.parentNode.childNodes;
    node.remove();
    all[all.indexOf(this)] = node;
    node.parentNode = this.parentNode;
    this.parentNode = null;
  }
  get textContent() { return this.childNodes.map((node) => node.textContent).join(""); }
  set textContent(text) { this.replaceChildren(...(text === "" ? [] : [new Text(text)])); }
  cloneNode(deep) {
    const copy = new Element(this.localName);
    for (const [name, value] of this.attributes_) copy.setAttribute(name, value);
    if (deep) copy.append(...this.childNodes.map((node) => node.cloneNode(true)));
    return copy;
  }

  contains(node) { for (let at = node; at; at = at.parentNode) if (at === this) return true; return false; }
  matches(selector) { return split(selector, ",").some((one) => matches(this, one)); }
  closest(selector) { for (let at = this; at; at = at.parentNode) if (at.matches(selector)) return at; return null; }
  *descendants() { for (const child of this.children) { yield child; yield* child.descendants(); } }
  querySelectorAll(selector) { return [...this.descendants()].filter((node) => node.matches(selector)); }
  querySelector(selector) { return this.querySelectorAll(selector)[0] ?? null; }

  addEventListener(type, listener) { (this.listeners.get(type) ?? this.listeners.set(type, []).get(type)).push(listener); }
  removeEventListener(type, listener) { this.listeners.set(type, (this.listeners.get(type) ?? []).filter((one) => one !== listener)); }
  dispatchEvent(event) {
    event.target ??= this;
    for (let at = this; at && !event.stopped; at = event.bubbles === false ? null : at.parentNode) {
      event.currentTarget = at;
      for (const listener of [...(at.listeners.get(event.type) ?? [])]) listener(event);
    }
    return !event.defaultPrevented;
  }
  click() { return fire(this, "click"); }
  focus() {
    if (document.activeElement === this) return;
    document.activeElement = this;
    fire(this, "focusin");
    fire(this, "focus", { bubbles: false });
  }
  blur() { document.activeElement = document.body; }
  select() {}
  scrollIntoView() {}
  getBoundingClientRect() { return { x: 0, y: 0, left: 0, top: 0, right: 100, bottom: 100, width: 100, height: 100 }; }
  getBBox() { return { x: 0, y: 0, width: 100, height: 20 }; }
}

function split(text, separator) { return text.split(separator).map((part) => part.trim()).filter(Boolean); }

function matches(element, selector) {
  const steps = selector.replace(/\s*>\s*/g, " >").trim().match(/(?:\[[^\]]*\]|\([^)]*\)|[^\s[(])+/g);
  const last = steps.at(-1);
  if (!simple(element, last.replace(/^>/, ""))) return false;
  if (steps.length === 1) return true;
  const above = steps.slice(0, -1).join(" ");
  if (last.startsWith(">")) return Boolean(element.parentNode) && matches(element.parentNode, above);
  for (let at = element.parentNode; at; at = at.parentNode) if (matches(at, above)) return true;
  return false;
}

function simple(element, selector) {
  return selector.match(/:not\([^)]*\)|:[\w-]+|\[[^\]]*\]|[.#]?[\w-]+|\*/g).every((part) => {
    if (part.startsWith(":not(")) return !simple(element, part.slice(5, -1));
    if (part.startsWith(":")) throw new Error(`the fake page does not know ${part}`);
    if (part === "*") return true;
    if (part.startsWith(".")) return element.classList.contains(part.slice(1));
    if (part.startsWith("#")) return element.id === part.slice(1);
    if (!part.startsWith("[")) return element.localName === part;
    const [, name, sign, value] = part.match(/^\[([\w-]+)(?:(\^?=)["']?(.*?)["']?)?\]$/);
    const is = element.getAttribute(name);
    return is !== null && (!sign || (sign === "=" ? is === value : is.startsWith(value)));
  });
}

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
const decoded = (text) => text.replace(/&(?:#x([\da-f]+)|#(\d+)|(\w+));/gi, (_, hex, number, name) =>
  name ? ENTITIES[name] : String.fromCodePoint(hex ? parseInt(hex, 16) : Number(number)));

function parse(xml) {
  const root = new Element("document");
  let at = root;
  for (const [, text, end, name, rest, empty] of xml.matchAll(/([^<]+)|<(\/)?([\w:-]+)((?:\s+[\w:-]+="[^"]*")*)\s*(\/)?>/g)) {
    if (text !== undefined) { at.append(decoded(text)); continue; }
    if (end) { if (at.localName !== name) throw new Error(`</${name}> ends ${at.localName}`); at = at.parentNode; continue; }
    const element = new Element(name);
    for (const [, key, value] of rest.matchAll(/([\w:-]+)="([^"]*)"/g)) element.setAttribute(key, decoded(value));
    at.append(element);
    if (!empty) at = element;
  }
  if (at !== root) throw new Error(`${at.localName} does not end`);
  return root.children[0];
}

const observers = new Set();
const globals = new Element("window");

export function page({ dark = false, still = false, theme } = {}) {
  observers.clear();
  const html = new Element("html");
  const body = new Element("body");
  html.append(body);
  if (theme !== undefined) body.dataset.jpThemeLight = String(theme === "light");
  globalThis.document = {
    documentElement: html, body, activeElement: body,
    createElement: (name) => new Element(name),
    createElementNS: (_, name) => new Element(name),
    createTextNode: (text) => new Text(text),
    importNode: (node) => node,
    querySelector: (selector) => html.querySelector(selector),
    querySelectorAll: (selector) => html.querySelectorAll(selector),
    addEventListener: (type, listener) => html.addEventListener(type, listener),
    removeEventListener: (type, listener) => html.removeEventListener(type, listener),
  };
  globalThis.window = globalThis;
  globalThis.Element = Element;
  globalThis.DOMParser = class { parseFromString(xml) { return { documentElement: parse(xml) }; } };
  globalThis.MutationObserver = class {
    constructor(listener) { this.listener = listener; }
    observe() { observers.add(this); }
    disconnect() { observers.delete(this); }
  };
  globalThis.matchMedia = (query) => ({
    matches: query.includes("dark") ? dark : query.includes("reduce") ? still : false,
    addEventListener() {}, removeEventListener() {},
  });
  globalThis.addEventListener = (type, listener) => globals.addEventListener(type, listener);
  globalThis.removeEventListener = (type, listener) => globals.removeEventListener(type, listener);
  globalThis.requestAnimationFrame = (call) => setTimeout(call, 0);
  globalThis.cancelAnimationFrame = clearTimeout;
  const el = new Element("div");
  body.append(el);
  return el;
}

export function setTheme(theme) {
  document.body.dataset.jpThemeLight = String(theme === "light");
  for (const observer of observers) observer.listener([]);
}

export const watching = () => ({
  observers: observers.size,
  window: [...globals.listeners.values()].reduce((sum, all) => sum + all.length, 0),
});

// Let an event happen at an element, and return it.
export function fire(element, type, more = {}) {
  const event = {
    type, bubbles: true, defaultPrevented: false, stopped: false,
    preventDefault() { this.defaultPrevented = true; },
    stopPropagation() { this.stopped = true; },
    ...more,
  };
  element.dispatchEvent(event);
  return event;
}

export const press = (key, element = document.activeElement, more = {}) => fire(element, "keydown", { key, ...more });

// A model as anywidget's views know it. `answers`: what Python answers to a question, by its name.
export class Model {
  sent = [];
  listeners = [];
  constructor(kind, state, answers = {}) { this.values = { kind, state }; this.answers = answers; }
  get(name) { return this.values[name]; }
  set(name, value) { this.values[name] = value; for (const one of this.heard(`change:${name}`)) one(value); }
  save_changes() {}
  on(event, listener) { this.listeners.push([event, listener]); }
  off(event, listener) { this.listeners = this.listeners.filter(([name, one]) => name !== event || (listener && one !== listener)); }
  heard(event) { return this.listeners.filter(([name]) => name === event).map(([, listener]) => listener); }
  tell(message) { for (const one of this.heard("msg:custom")) one(message, []); }
  send(message) {
    this.sent.push(message);
    const answer = this.answers[message.ask]?.(message);
    if (answer) queueMicrotask(() => this.tell({ ask: message.ask, number: message.number, ...answer }));
  }
  asked(question) { return this.sent.filter((message) => message.ask === question); }
}

// Wait until promises that are settled have had their say.
export const settled = () => new Promise((resolve) => setTimeout(resolve, 0));

// The views' module, joined by Python; see test_live_module.py.
export const views = async () => (await import(process.env.LABKIT_MODULE)).default;

// An event at the window, where it arrives before any element hears of it.
export const atWindow = (type, more) => fire(globals, type, more);
