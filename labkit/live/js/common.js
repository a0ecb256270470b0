// What every view needs: elements, the picture, and asking Python.

// Make an element: h("button", {title: "Play"}, "▶")
function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

// Put the SVG that Python drew into `place`, in place of what was there.
function swap(place, svg) {
  const parsed = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  place.replaceChildren(document.importNode(parsed, true));
  return place.firstChild;
}
