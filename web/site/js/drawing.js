// Draws what stands above and below the letters: bars as high as the entropies, the threshold, an
// underline for each patch, and what belongs to the byte that is looked at.

import { FULL_NATS, palette, stepOf } from "./colour.js";
import { patchAt, patchRange } from "./cuts.js";

/** Space between two underlines: where the text is cut. */
const GAP = 3;

/** What the threshold in figures takes, in pixels. */
const LABEL_WIDTH = 70;

/** Drawn beyond the screen on either side, so that short scrolls show no edge. */
const MARGIN = 200;

/**
 * `scene`: measured `lines`, `bytes` with the `offsets` of code units, `cuts`, `threshold` or
 * `null`, and `marks`: `at`, a byte; `patch`, its patch; `seen`, a range of patches.
 */
export function draw(canvas, scene) {
  const { lines, width, top, height } = scene;
  const ratio = window.devicePixelRatio || 1;
  const begin = Math.max(0, top - MARGIN);
  const tall = Math.max(1, Math.min(height + 2 * MARGIN, scene.sheetHeight - begin));
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(tall * ratio);
  canvas.style.cssText = `top:${begin}px;width:${width}px;height:${tall}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.translate(0, -begin);
  const pen = penFor(context, scene);
  for (const line of lines.list) {
    const isNear = line.top + 2 * lines.lineHeight > begin && line.top < begin + tall;
    if (isNear) drawLine(pen, scene, line);
  }
}

/** What a scene is drawn with: its colours, and where things stand in a line. */
export function penFor(context, { lines, theme, style }) {
  return {
    context,
    colours: palette(theme),
    ink: style.getPropertyValue("--ink").trim(),
    soft: style.getPropertyValue("--soft").trim(),
    line: style.getPropertyValue("--strong-line").trim(),
    accent: style.getPropertyValue("--accent").trim(),
    // Letters stand in the middle of a line; bars above them, the underline below.
    base: lines.lineHeight / 2 - lines.fontSize * 0.62,
    tall: lines.lineHeight - lines.fontSize * 1.24 - 14,
    under: lines.lineHeight / 2 + lines.fontSize * 0.72,
  };
}

/** Draws what belongs to one line. */
export function drawLine(pen, scene, line) {
  const { lines, offsets, cuts } = scene;
  let right = line.x;
  const places = [];
  for (let unit = line.start; unit < line.end; unit++) {
    const start = offsets[unit];
    if (unit > line.start && offsets[unit - 1] === start) continue;
    let next = unit + 1;
    while (next < offsets.length - 1 && offsets[next] === start) next += 1;
    const count = offsets[next] - start;
    const [left, width] = lines.place(line, unit);
    for (let i = 0; i < count; i++) {
      places.push([start + i, left + (width * i) / count, width / count]);
    }
    right = Math.max(right, left + width);
  }
  highlight(pen, scene, line, places);
  bars(pen, scene, line, places);
  if (scene.threshold !== null && offsets[line.start] < cuts.entropies.length) {
    threshold(pen, scene, line, right);
  }
  underlines(pen, scene, line, places);
}

/** A column behind the byte that is looked at. */
function highlight(pen, scene, line, places) {
  const found = places.find(([at]) => at === scene.marks.at);
  if (!found) return;
  const { context } = pen;
  context.globalAlpha = 0.14;
  context.fillStyle = pen.accent;
  const top = line.top + pen.base - pen.tall;
  context.fillRect(found[1], top, found[2], pen.under - pen.base + pen.tall - 2);
  context.globalAlpha = 1;
}

function bars(pen, scene, line, places) {
  const { context } = pen;
  const { cuts, bytes } = scene;
  const base = line.top + pen.base;
  for (const [at, left, width] of places) {
    if (at >= Math.min(cuts.known, cuts.entropies.length)) break;
    const nats = cuts.entropies[at];
    const share = Math.min(Math.max(nats || 0, 0), FULL_NATS) / FULL_NATS;
    const height = Math.max(1, share * pen.tall);
    const isStart = cuts.starts[patchAt(cuts.starts, at)] === at;
    context.fillStyle = pen.colours[stepOf(nats)];
    context.globalAlpha = isStart ? 1 : 0.42;
    // Half a pixel over the edge, so that neighbours leave no seam.
    context.fillRect(left, base - height, width + 0.3, height);
    if (bytes[at] === 0x0a) {
      context.font = `${scene.lines.fontSize}px ${scene.style.getPropertyValue("--mono")}`;
      context.textBaseline = "middle";
      context.fillText("↵", left, line.top + scene.lines.lineHeight / 2);
    }
  }
  context.globalAlpha = 1;
}

function threshold(pen, scene, line, right) {
  const { context } = pen;
  const share = Math.min(Math.max(scene.threshold, 0), FULL_NATS) / FULL_NATS;
  const y = Math.round(line.top + pen.base - share * pen.tall) + 0.5;
  context.strokeStyle = pen.ink;
  context.globalAlpha = 0.32;
  context.lineWidth = 1;
  context.setLineDash([2, 3]);
  context.beginPath();
  context.moveTo(line.x, y);
  context.lineTo(right, y);
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = 1;
  // Said once, where there is room behind the first line.
  if (line.start === 0 && scene.width - right > LABEL_WIDTH) {
    context.font = `11px ${scene.style.getPropertyValue("--sans")}`;
    context.textBaseline = "middle";
    context.fillStyle = pen.soft;
    context.fillText(`${scene.threshold.toFixed(2)} nats`, right + 6, y);
  }
}

/** One stroke for each patch, or for the part of it that stands on this line. */
function underlines(pen, scene, line, places) {
  const { cuts, marks, bytes } = scene;
  const { context } = pen;
  const y = line.top + pen.under;
  for (let i = 0; i < places.length; ) {
    const [at] = places[i];
    if (at >= cuts.known) break;
    const patch = patchAt(cuts.starts, at);
    const [start, end] = patchRange(cuts.starts, patch, bytes.length);
    let last = i;
    while (last + 1 < places.length && places[last + 1][0] < end) last += 1;
    const left = places[i][1] + (start === at ? GAP / 2 : 0);
    const edge = places[last][1] + places[last][2];
    const right = edge - (places[last][0] + 1 >= end ? GAP / 2 : 0);
    const isLooked = patch === marks.patch;
    context.fillStyle = isLooked ? pen.accent : pen.ink;
    context.globalAlpha = isLooked ? 1 : patch % 2 === 0 ? 0.5 : 0.22;
    context.fillRect(left, y, Math.max(1, right - left), isLooked ? 3 : 2);
    const [from, to] = marks.seen ?? [0, 0];
    if (patch >= from && patch < to) {
      // What the patch attends to has a second line.
      context.fillStyle = pen.accent;
      context.globalAlpha = 0.4;
      context.fillRect(left, y + 5, Math.max(1, right - left), 2);
    }
    i = last + 1;
  }
  context.globalAlpha = 1;
}
