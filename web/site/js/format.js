// Numbers as people read them, each with its unit.

const grouped = (digits) => digits.replace(/\B(?=(\d{3})+(?!\d))/g, ",");

/** An integer with separators: 13,412,608. */
export function count(value) {
  return grouped(String(Math.round(value)));
}

/** Three significant digits or more; integers as they are. */
export function number(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return count(value);
  return value.toFixed(size >= 10 ? 1 : size >= 0.01 ? 2 : 4);
}

/** A number of bytes in decimal units. */
export function bytes(value) {
  if (!Number.isFinite(value)) return "–";
  if (value < 1000) return `${count(value)} ${Math.round(value) === 1 ? "byte" : "bytes"}`;
  const units = ["kB", "MB", "GB", "TB"];
  let scaled = value / 1000;
  let unit = 0;
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${scaled >= 99.5 ? count(scaled) : scaled.toFixed(1)} ${units[unit]}`;
}

/** Bytes a second. */
export function rate(value) {
  return Number.isFinite(value) ? `${count(value)} bytes/s` : "–";
}

/** A duration given in milliseconds. */
export function duration(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms > 0 && ms < 0.1) return "< 0.1 ms";
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

/** A number with its unit: bytes in the unit that suits them, single things a second as a time. */
export function quantity(value, unit) {
  if (unit === "starts/s" || unit === "steps/s") return duration(1000 / value);
  return unit === "bytes" ? bytes(value) : `${number(value)} ${unit}`.trim();
}

/** A share as a percentage. */
export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  const value = share * 100;
  if (value >= 9.95) return `${value.toFixed(0)} %`;
  return value >= 0.095 || value === 0 ? `${value.toFixed(1)} %` : "< 0.1 %";
}

/** A number of parameters: 13.4 M. */
export function parameters(value) {
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} B`;
  return value >= 1e6 ? `${(value / 1e6).toFixed(1)} M` : count(value);
}

/** "1 patch", "2 patches". */
export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${Math.round(value) === 1 ? one : many}`;
}

/** What a person writes for bytes that cannot be typed: `\n`, `\t`, `\\`. */
export function unescaped(text) {
  return text.replace(/\\(n|t|r|\\)/g, (_, char) => ({ n: "\n", t: "\t", r: "\r" })[char] ?? char);
}
