// Compiles every shader that /cases.txt counts and reports one line per fact:
//   adapter  VENDOR  ARCHITECTURE  DEVICE  DESCRIPTION
//   begin    INDEX
//   message  INDEX   error|warning|info  LINE  COLUMN  TEXT
//   pipeline INDEX   TEXT                               (the pipeline was refused)
//   skip     INDEX   FEATURE                            (the adapter lacks it)
//   end      INDEX
// Fields are separated by tabs; \, tab and newline within a field are escaped.
// A shader's comments may carry two directives:
//   // @features shader-f16 subgroups
//   // @constants tile=16 scale=0.5                     (values for `override`s without one)
"use strict";
const ESCAPES = { "\\": "\\\\", "\t": "\\t", "\r": "", "\n": "\\n" };
const escape = (text) => String(text ?? "").replace(/[\\\t\r\n]/g, (c) => ESCAPES[c]);
const tell = (...fields) => report.log(fields.map(escape).join("\t"));

const words = (code, directive) => {
  const found = code.match(new RegExp(`^//\\s*@${directive}\\s+(.*)$`, "m"));
  return found ? found[1].trim().split(/\s+/) : [];
};

// One device per set of features, and a new one where the last was lost. Limits are the default
// ones on purpose: that is what the base variants must do with.
let device = null;
let deviceKey = null;
async function deviceWith(features) {
  const key = features.join(" ");
  if (device === null || deviceKey !== key) {
    device?.destroy();
    const adapter = await navigator.gpu.requestAdapter();
    const made = await adapter.requestDevice({ requiredFeatures: features });
    made.lost.then(() => {
      if (device === made) device = null;
    });
    made.onuncapturederror = (event) => report.failed(`uncaptured: ${event.error.message}`);
    device = made;
    deviceKey = key;
  }
  return device;
}

async function compile(index, code, available) {
  await tell("begin", index);
  const features = words(code, "features");
  const lacking = features.find((feature) => !available.has(feature));
  if (lacking) {
    await tell("skip", index, lacking);
    return;
  }
  const device = await deviceWith(features);
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const info = await module.getCompilationInfo();
  const refused = await device.popErrorScope();
  for (const m of info.messages) {
    await tell("message", index, m.type, m.lineNum, m.linePos, m.message);
  }
  if (refused && !info.messages.some((m) => m.type === "error")) {
    await tell("message", index, "error", 0, 0, refused.message);
  }
  if (!refused) {
    const constants = {};
    for (const word of words(code, "constants")) {
      const [name, value] = word.split("=");
      constants[name] = Number(value);
    }
    try {
      await device.createComputePipelineAsync({
        layout: "auto",
        compute: { module, entryPoint: "main", constants },
      });
    } catch (error) {
      await tell("pipeline", index, error.message);
    }
  }
  await tell("end", index);
}

const adapter = await navigator.gpu?.requestAdapter();
if (!adapter) {
  await report.done(navigator.gpu ? "no adapter" : "no WebGPU");
} else {
  const info = adapter.info;
  await tell("adapter", info.vendor, info.architecture, info.device, info.description);
  const count = Number(await (await fetch("/cases.txt")).text());
  for (let index = 0; index < count; index++) {
    await compile(index, await (await fetch(`/cases/${index}.wgsl`)).text(), adapter.features);
  }
  await report.done("complete");
}
