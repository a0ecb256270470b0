// The trace view.
function traceView({ model, el }) {
  const place = h("div");
  const draw = () => swap(place, model.get("state").svg);
  draw();
  model.on("change:state", draw);
  el.append(place);
  return () => model.off("change:state", draw);
}
