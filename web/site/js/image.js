// The picture of a text as an image file.

import { stepOf } from "./colour.js";
import { drawLine, penFor } from "./drawing.js";

const MARGIN = 32;
const CAPTION = 40;

/** Most lines of an image: more would be larger than what browsers let a canvas be. */
const MOST_LINES = 60;

/** A PNG of the first lines that are laid out, two pixels for each of the page, with a caption. */
export function imageOf(scene, caption) {
  const { lines, width, style } = scene;
  const list = lines.list.slice(0, MOST_LINES);
  const top = list.length > 0 ? list[0].top : 0;
  const tall = list.length * lines.lineHeight;
  const canvas = document.createElement("canvas");
  canvas.width = 2 * (width + 2 * MARGIN);
  canvas.height = 2 * (tall + 2 * MARGIN + CAPTION);
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  context.fillStyle = style.getPropertyValue("--ground");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.translate(MARGIN, MARGIN - top);
  const pen = penFor(context, scene);
  const bare = { ...scene, marks: {} };
  for (const line of list) {
    drawLine(pen, bare, line);
    letters(pen, scene, line);
  }
  context.font = `13px ${style.getPropertyValue("--sans")}`;
  context.fillStyle = pen.soft;
  context.textBaseline = "alphabetic";
  context.fillText(caption, 0, top + tall + CAPTION);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** The letters of a line, in runs of one colour: shapes of joined scripts stay whole in a run. */
function letters(pen, { lines, text, offsets, cuts, style }, line) {
  const { context } = pen;
  context.font = `${lines.fontSize}px ${style.getPropertyValue("--mono")}`;
  context.fontKerning = "none";
  context.textBaseline = "middle";
  const isSeen = (unit) => offsets[unit] < cuts.entropies.length;
  const colourAt = (unit) =>
    (isSeen(unit) ? pen.colours[stepOf(cuts.entropies[offsets[unit]])] : pen.soft);
  // A run of plain letters is as long as its colour; any other character is placed by itself.
  const isPlain = (unit) => line.boxes === null && text[unit] !== "\n";
  for (let unit = line.start; unit < line.end; ) {
    let end = unit + (text.codePointAt(unit) > 0xffff ? 2 : 1);
    while (end < line.end && isPlain(end) && colourAt(end) === colourAt(unit)) end += 1;
    const run = text.slice(unit, end).replace("\n", "").replace("\t", "");
    context.fillStyle = colourAt(unit);
    context.fillText(run, lines.place(line, unit)[0], line.top + lines.lineHeight / 2);
    unit = end;
  }
}
