// What anywidget calls. Each view draws into `el` and returns what ends it.
const views = { topology: topologyView, capture: captureView, trace: traceView };

export default {
  render: (context) => views[context.model.get("kind")](context),
};
