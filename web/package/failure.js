// What is thrown in the Worker: plain objects { kind, message, hint }, which cross to the page.

export function failure(kind, message, hint = null) {
  return { kind, message, hint };
}

/** Whatever was thrown, as such an object. */
export function failureOf(error) {
  if (typeof error?.kind === "string") return error;
  const message = error?.message ?? String(error);
  if (error?.name === "QuotaExceededError") {
    return failure("quota", `the browser gives no more room to this site: ${message}`,
      "clear the cache, or go on without it");
  }
  if (error?.name === "AbortError") return failure("interrupted", "interrupted");
  if (error?.name === "NotReadableError" || error?.name === "NotFoundError") {
    return failure("input", `the file cannot be read: ${message}`, "choose it again");
  }
  if (error instanceof RangeError && /array|buffer|alloc|memory/i.test(message)) {
    return failure("out-of-memory", `the browser has not the memory: ${message}`,
      "close other tabs, or use a smaller model");
  }
  return failure("internal", message);
}
