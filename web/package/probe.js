// What WebGPU this browser has, before anything is opened.

/** `{ adapter, reason }`: the adapter as plain data, or why there is none. */
export async function probe() {
  if (!navigator.gpu) {
    const reason = globalThis.isSecureContext
      ? "this browser has no WebGPU"
      : "WebGPU is for secure pages only: https, or localhost";
    return { adapter: null, reason };
  }
  try {
    const adapter = await navigator.gpu.requestAdapter();
    if (!adapter) {
      return { adapter: null, reason: "the browser has WebGPU and no GPU that it allows for it" };
    }
    return { adapter: plain(adapter), reason: null };
  } catch (error) {
    return { adapter: null, reason: `WebGPU does not answer: ${error.message}` };
  }
}

function plain(adapter) {
  const { vendor, architecture, device, description } = adapter.info;
  const limits = {};
  // They are getters of the prototype: no copy of the object has them.
  for (const name in adapter.limits) {
    const value = adapter.limits[name];
    if (typeof value === "number") limits[name] = value;
  }
  const fallback = adapter.info.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false;
  return { vendor, architecture, device, description, fallback, features: [...adapter.features].sort(), limits };
}
