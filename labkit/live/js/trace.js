// The trace view: one hop after another. `state.hops` are the hops, `state.ending` is what is said at the end.
// In the SVG, [data-hop] is the bead of a hop and [data-way] the line that leads to it.
function traceView(context) {
  const view = frame(context, "A packet, hop by hop. Arrow keys step, the space bar plays.");
  const { hops, ending, headline, svg } = view.model.get("state");
  const last = Math.max(hops.length - 1, 0);
  const picture = h("div", { class: "labkit-picture" });
  const drawn = cropped(swap(picture, svg));
  const ring = ringIn(drawn);
  const panel = h("div", { class: "labkit-hop" });
  let at = 0;
  let timer = null;
  let motion = null;

  // the controls
  const play = button("Play", "Play (space bar)", () => (timer ? pause() : start()));
  const first = button("First", "To the first hop (Home)", () => go(0));
  const back = button("Back", "One hop back (arrow left)", () => go(at - 1));
  const next = button("Next", "One hop on (arrow right)", () => go(at + 1));
  const end = button("Last", "To the last hop (End)", () => go(last));
  const slider = h("input", {
    type: "range", min: 0, max: last, value: 0, "aria-label": "Hop", class: "labkit-slider",
    oninput: () => go(Number(slider.value)),
  });
  const count = h("span", { class: "labkit-count" });
  const bar = h("div", { class: "labkit-bar", role: "toolbar", "aria-label": "Steps" },
    first, back, play, next, end, slider, count);

  const rows = hops.map((hop) => hopRow(hop));
  const table = hopTable(rows);

  function go(to, moving = false) {
    if (!moving) pause();
    const from = at;
    at = Math.max(0, Math.min(to, last));
    show();
    cancelAnimationFrame(motion);
    const line = drawn.querySelector(`path.way[data-way="${at + 1}"]`);
    const rest = () => ring.at(beadOf(drawn, at + 1));
    if (at === from + 1 && line && !still()) motion = along(line, ring, rest, (id) => { motion = id; });
    else rest();
  }

  function show() {
    const hop = hops[at];
    if (!hop) return;
    for (const part of drawn.querySelectorAll("[data-hop], [data-way]")) {
      part.classList.toggle("labkit-ahead", Number(part.dataset.hop ?? part.dataset.way) > at + 1);
    }
    rows.forEach((row, index) => {
      if (index === at) row.setAttribute("aria-current", "step");
      else row.removeAttribute("aria-current");
    });
    slider.value = at;
    slider.setAttribute("aria-valuetext", `${at + 1} of ${hops.length}: ${hopName(hop)}`);
    count.textContent = `hop ${at + 1} of ${hops.length}`;
    for (const control of [first, back]) control.disabled = at === 0;
    for (const control of [next, end]) control.disabled = at === last;
    const ends = at === last || (at + 1 === ending.at && ending.sentences.some(([kind]) => kind === "down"));
    panel.replaceChildren(...hopDetails(hop, ends ? ending.sentences : []));
    view.say(spoken(hop, at + 1, hops.length, ends ? ending.sentences : []));
  }

  function start() {
    play.textContent = "Pause";
    if (at === last) go(0, true);
    timer = setInterval(() => {
      go(at + 1, true);
      if (at === last) pause();
    }, 1600);
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  const keys = { ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1), Home: () => go(0), End: () => go(last) };
  view.root.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const onButton = event.target.tagName === "BUTTON";
    if (event.key === " " && !onButton) play.click();
    else if (event.key in keys) keys[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  view.root.setAttribute("tabindex", "0");
  keepKeys(view);
  roving(table, "tbody tr", (row) => go(rows.indexOf(row)));
  view.atEnd(() => { pause(); cancelAnimationFrame(motion); });

  view.root.append(picture, bar, panel, table);
  if (hops.length) go(0);
  else {
    bar.hidden = table.hidden = true;
    panel.append(h("p", {}, ending.unseen), ...ending.sentences.map(sentence));
    view.say(`${headline}: ${ending.unseen}`);
  }
  return view.end;
}

// Leave of the SVG the picture alone: the hops that are below it in the static form are a table here.
function cropped(drawn) {
  const hops = drawn.querySelector("g.hops");
  if (!hops) return drawn;
  const [width, height] = hops.dataset.size.split(" ");
  hops.remove();
  drawn.setAttribute("viewBox", `0 0 ${width} ${height}`);
  drawn.setAttribute("width", width);
  drawn.setAttribute("height", height);
  return drawn;
}

// The packet: a ring around the bead of the hop where it is.
function ringIn(drawn) {
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  for (const [name, value] of [["r", 13], ["class", "labkit-packet"], ["visibility", "hidden"]]) ring.setAttribute(name, value);
  drawn.append(ring);
  return {
    at: (point) => {
      ring.setAttribute("visibility", point ? "visible" : "hidden");
      if (!point) return;
      ring.setAttribute("cx", point.x);
      ring.setAttribute("cy", point.y);
    },
  };
}

function beadOf(drawn, number) {
  const form = drawn.querySelector(`[data-hop="${number}"] .bead`);
  if (!form) return null;
  const read = (name) => Number(form.getAttribute(name));
  return form.localName === "circle" ? { x: read("cx"), y: read("cy") } : { x: read("x") + 9, y: read("y") + 9 };
}

// Move the ring along a line, half a second long, then call `rest`. `keep` is told each frame's number, to cancel it.
function along(line, ring, rest, keep) {
  const length = line.getTotalLength();
  let begin = null;
  const step = (now) => {
    begin ??= now;
    const part = (now - begin) / 500;
    if (part >= 1) {
      rest();
      return;
    }
    ring.at(line.getPointAtLength(length * part));
    keep(requestAnimationFrame(step));
  };
  return requestAnimationFrame(step);
}

function hopName(hop) {
  return `${hop.leg}${hop.copy ? ", a flooded copy" : ""}, ${hop.direction} at ${hop.where}`;
}

function spoken(hop, number, all, sentences) {
  const changed = hop.changed.length ? ` Changed: ${hop.changed.join("; ")}.` : "";
  const ends = sentences.length ? ` ${sentences[0][1]}.` : "";
  return `Hop ${number} of ${all}: ${hopName(hop)}. ${hop.summary}.${changed}${ends}`;
}

function sentence([kind, text]) {
  return h("p", { class: `labkit-${kind}` }, text);
}

// What the packet carries at a hop, and what decided it.
function hopDetails(hop, sentences) {
  const headers = hop.headers.map(([word, value, was]) =>
    h("tr", { class: was && "labkit-was" }, h("th", { scope: "row" }, word), h("td", {}, value),
      h("td", {}, was ? `was ${was}` : "")));
  const because = hop.because.map(([kind, text, command]) =>
    h("li", {}, h("b", {}, kind), ` ${text}`, ...(command ? [h("code", { title: "where to look" }, command)] : [])));
  return [
    h("h4", {}, h("span", { class: `labkit-leg labkit-${hop.leg}` }, hop.leg), ` ${hop.direction} at ${hop.where}`,
      hop.copy ? " (a flooded copy)" : ""),
    h("p", { class: "labkit-frame" }, hop.summary),
    h("div", { class: "labkit-columns" },
      h("table", { class: "labkit-headers" }, h("caption", {}, "the packet here"), h("tbody", {}, ...headers)),
      h("div", {}, h("h5", {}, "what decided it"),
        because.length ? h("ul", {}, ...because) : h("p", {}, "nothing to tell"))),
    ...sentences.map(sentence),
  ];
}

function hopRow(hop) {
  const changed = hop.changed.map((change) => h("div", { class: "labkit-change" }, change));
  const cells = [String(hop.number), hop.leg, hop.where, hop.direction].map((text) => h("td", {}, text));
  const because = [...new Set(hop.because.map(([kind]) => kind))].join(", ");
  return h("tr", { class: hop.copy && "labkit-copy" }, ...cells, h("td", {}, hop.told, ...changed), h("td", {}, because));
}

function hopTable(rows) {
  const heads = ["hop", "way", "seen at", "", "packet", "decided by"].map((head) => h("th", { scope: "col" }, head));
  return h("table", { class: "labkit-hops" },
    h("caption", {}, "all hops: choose one to go there"), h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
}
