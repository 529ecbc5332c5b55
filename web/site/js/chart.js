// A curve that grows while something runs, on a canvas: axes with units, the newest value in words.

import { extent, scale, smoothed, thinned, ticks } from "./curve.js";
import { fill, make } from "./dom.js";
import * as format from "./format.js";
import { whenThemeChanges } from "./theme.js";

const LEFT = 44;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 24;

export class Chart {
  /** `title` and `unit` of what is drawn over `across`, for example "step". */
  constructor(root, { title, unit, across }) {
    this.title = title;
    this.unit = unit;
    this.across = across;
    this.series = [];
    this.marks = [];
    this.pointer = null;
    this.caption = make("span", { class: "number" });
    this.canvas = make("canvas", { role: "img" });
    root.append(make("figure", { class: "chart" },
      make("figcaption", {}, make("span", {}, title), this.caption), this.canvas));
    this.canvas.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.canvas.addEventListener("pointerleave", () => this.#point(null));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    whenThemeChanges(() => this.draw());
    this.frame = 0;
  }

  /**
   * `series`: { name, colour, points: [[x, y]], isNoisy } each, `colour` a variable of the style
   * sheet; `marks`: [x, words] each, where something happened.
   */
  set(series, marks = []) {
    this.series = series.filter((it) => it.points.length > 0);
    this.marks = marks;
    if (this.frame === 0) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.draw();
      });
    }
  }

  #point(x) {
    this.pointer = x;
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
    const colour = (name) => style.getPropertyValue(name).trim();
    const all = this.series.flatMap((it) => it.points);
    const last = all.reduce((most, [x]) => Math.max(most, x), 1);
    const [low, high] = extent(all.map(([, y]) => y), 0.08);
    const x = scale([0, last], [LEFT, width - RIGHT]);
    const y = scale([low, high], [height - BOTTOM, TOP]);
    this.#axes(context, colour, { x, y, low, high, last, width, height });
    this.#drawMarks(context, colour, x, height, width);
    for (const series of this.series) {
      const strong = colour(series.colour);
      const columns = Math.max(16, width - LEFT - RIGHT);
      if (series.isNoisy && series.points.length > 20) {
        this.#line(context, thinned(series.points, columns), x, y, strong, 1, 0.3);
        this.#line(context, thinned(smoothed(series.points, 50), columns), x, y, strong, 2, 1);
      } else {
        this.#line(context, thinned(series.points, columns), x, y, strong, 2, 1);
        if (series.points.length < 60) this.#dots(context, series.points, x, y, strong);
      }
    }
    this.#say(context, colour, x, y, width, height);
  }

  #axes(context, colour, { x, y, low, high, last, width, height }) {
    context.font = `11px ${colour("--sans")}`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    context.lineWidth = 1;
    for (const tick of ticks(low, high, 4)) {
      const place = Math.round(y(tick)) + 0.5;
      context.strokeStyle = colour("--line");
      context.beginPath();
      context.moveTo(LEFT, place);
      context.lineTo(width - RIGHT, place);
      context.stroke();
      context.fillStyle = colour("--soft");
      context.fillText(String(tick), LEFT - 8, place);
    }
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (const tick of ticks(0, last, Math.max(2, Math.floor(width / 140)))) {
      const isLast = tick === last;
      context.textAlign = isLast ? "right" : tick === 0 ? "left" : "center";
      const label = tick === 0 ? `${this.across} 0` : format.count(tick);
      if (Number.isInteger(tick)) context.fillText(label, x(tick), height - 6);
    }
  }

  #drawMarks(context, colour, x, height, width) {
    context.font = `11px ${colour("--sans")}`;
    context.textBaseline = "top";
    context.fillStyle = colour("--soft");
    context.strokeStyle = colour("--strong-line");
    for (const [at, words] of this.marks) {
      const place = Math.round(x(at)) + 0.5;
      context.setLineDash([2, 3]);
      context.beginPath();
      context.moveTo(place, TOP);
      context.lineTo(place, height - BOTTOM);
      context.stroke();
      context.setLineDash([]);
      const isRight = place > width / 2;
      context.textAlign = isRight ? "right" : "left";
      context.fillText(words, place + (isRight ? -6 : 6), TOP);
    }
  }

  #line(context, points, x, y, colour, width, alpha) {
    context.strokeStyle = colour;
    context.globalAlpha = alpha;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.beginPath();
    points.forEach(([px, py], i) => {
      if (i === 0) context.moveTo(x(px), y(py));
      else context.lineTo(x(px), y(py));
    });
    context.stroke();
    context.globalAlpha = 1;
  }

  #dots(context, points, x, y, colour) {
    context.fillStyle = colour;
    for (const [px, py] of points) {
      context.beginPath();
      context.arc(x(px), y(py), 2.5, 0, 2 * Math.PI);
      context.fill();
    }
  }

  /** The newest values, or those below the pointer. */
  #say(context, colour, x, y, width, height) {
    const nearest = (points) => {
      if (this.pointer === null) return points[points.length - 1];
      return points.reduce((best, point) =>
        Math.abs(x(point[0]) - this.pointer) < Math.abs(x(best[0]) - this.pointer) ? point : best);
    };
    const named = this.series.map(({ name, colour: own, points }) =>
      ({ name, own, point: nearest(points) }));
    if (this.pointer !== null && named.length > 0) {
      const place = Math.round(x(named[0].point[0])) + 0.5;
      context.strokeStyle = colour("--strong-line");
      context.beginPath();
      context.moveTo(place, TOP);
      context.lineTo(place, height - BOTTOM);
      context.stroke();
    }
    const words = named.flatMap(({ name, own, point: [, value] }) => [
      make("b", { style: `color:var(${own})` }, ` ${name} `), `${value.toFixed(3)} ${this.unit} `,
    ]);
    const newest = Math.max(...named.map(({ point: [step] }) => step));
    const step = named.length > 0 ? `${this.across} ${format.count(newest)}: ` : "";
    fill(this.caption, step, ...words);
    this.canvas.setAttribute("aria-label", `${this.title}. ${this.caption.textContent || "empty"}`);
  }
}
