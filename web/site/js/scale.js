// One control that is three: the legend of the colours, the histogram of the text's entropies, and
// the threshold that cuts it.

import { FULL_NATS, palette, stepOf } from "./colour.js";
import { ticks } from "./curve.js";
import { histogram } from "./cuts.js";
import { make } from "./dom.js";
import { currentTheme, whenThemeChanges } from "./theme.js";

const BINS = 80;

export class Scale {
  /** `onInput` hears a threshold in nats while the control is moved. */
  constructor(root, onInput) {
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.input = make("input", {
      type: "range", min: "0", max: String(FULL_NATS), step: "0.01",
      "aria-label": "Threshold in nats",
    });
    this.input.addEventListener("input", () => onInput(Number(this.input.value)));
    root.classList.add("scale");
    root.append(this.canvas, this.input);
    this.bins = new Uint32Array(BINS);
    this.hasThreshold = true;
    this.modelThreshold = null;
    new ResizeObserver(() => this.draw()).observe(root);
    whenThemeChanges(() => this.draw());
  }

  /** What the histogram is of, in nats. */
  setValues(values) {
    this.bins = histogram(values, BINS, FULL_NATS);
    this.draw();
  }

  /** `value` in nats, or `null` where the mode has none; `ofModel` is marked on the axis. */
  setThreshold(value, ofModel) {
    this.hasThreshold = value !== null;
    this.modelThreshold = ofModel;
    this.input.disabled = value === null;
    if (value !== null) {
      this.input.value = String(value);
      this.input.setAttribute("aria-valuetext", `${value.toFixed(2)} nats`);
    }
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (width === 0) return;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(this.canvas);
    const colours = palette(currentTheme());
    // The thumb of a range is 16 pixels wide, and its middle moves 8 pixels inside either end.
    const x = (nats) => 8 + (nats / FULL_NATS) * (width - 16);
    const base = height - 22;
    const threshold = Number(this.input.value);
    // Roots, since most bytes are easy: counts would leave the rest of the text a flat line.
    const most = Math.sqrt(Math.max(1, ...this.bins));
    this.bins.forEach((count, bin) => {
      const nats = ((bin + 0.5) / BINS) * FULL_NATS;
      const tall = count === 0 ? 0 : Math.max(1, (Math.sqrt(count) / most) * (base - 16));
      const left = x((bin / BINS) * FULL_NATS);
      context.fillStyle = colours[stepOf(nats)];
      context.globalAlpha = !this.hasThreshold || nats > threshold ? 1 : 0.42;
      context.fillRect(left, base - tall, x(((bin + 1) / BINS) * FULL_NATS) - left - 1, tall);
      context.globalAlpha = 1;
      context.fillRect(left, base, x(((bin + 1) / BINS) * FULL_NATS) - left + 0.3, 3);
    });
    context.fillStyle = style.getPropertyValue("--soft");
    context.font = `11px ${style.getPropertyValue("--sans")}`;
    context.textBaseline = "alphabetic";
    for (const tick of ticks(0, FULL_NATS, 4)) {
      const isLast = tick === FULL_NATS;
      context.textAlign = tick === 0 ? "left" : isLast ? "right" : "center";
      const place = tick === 0 ? 8 : isLast ? width - 8 : x(tick);
      context.fillText(isLast ? `≥ ${tick} nats` : String(tick), place, height - 4);
    }
    if (this.hasThreshold) this.#drawThreshold(context, style, x, base, threshold);
  }

  #drawThreshold(context, style, x, base, threshold) {
    const ink = style.getPropertyValue("--ink");
    if (this.modelThreshold !== null) {
      context.fillStyle = style.getPropertyValue("--soft");
      context.fillRect(Math.round(x(Math.min(this.modelThreshold, FULL_NATS))), base + 3, 1, 5);
    }
    const place = Math.round(x(Math.min(Math.max(threshold, 0), FULL_NATS)));
    context.fillStyle = ink;
    context.fillRect(place - 1, 4, 2, base);
    context.beginPath();
    context.arc(place, 7, 6, 0, 2 * Math.PI);
    context.fill();
  }
}
