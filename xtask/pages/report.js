// How a page tells the test program on whose server it lies what became of it.
// One word after another, in the order in which they were said.
"use strict";
globalThis.report = (() => {
  let last = Promise.resolve();
  const send = (kind, text) => {
    last = last.then(() => fetch(`/report/${kind}`, { method: "POST", body: String(text) }));
    return last;
  };
  return {
    log: (text) => send("log", text),
    done: (text) => send("done", text),
    failed: (text) => send("failed", text),
  };
})();
addEventListener("error", (event) => {
  report.failed(`${event.message ?? "error"} (${event.filename ?? ""}:${event.lineno ?? ""})`);
});
addEventListener("unhandledrejection", (event) => {
  report.failed(`unhandled: ${event.reason?.stack ?? event.reason}`);
});
