// Where the lines and characters of a laid-out text are. The browser breaks the lines; here they
// are found again with few questions to it, since each question costs some microseconds.

const PLAIN = /^[\x20-\x7e\n]*$/;

export class Lines {
  /** `mirror`: the element whose text is asked about. */
  constructor(mirror) {
    this.mirror = mirror;
    this.nodes = [];
    this.range = document.createRange();
    this.list = [];
    this.lineHeight = 1;
    this.top = 0;
    this.advance = 8;
  }

  /** Puts pieces of text into the mirror: [text, step of its colour or -1]. */
  show(runs) {
    this.nodes = [];
    const parts = document.createDocumentFragment();
    let start = 0;
    for (const [text, step] of runs) {
      if (text === "") continue;
      const node = document.createTextNode(text);
      if (step < 0) {
        parts.append(node);
      } else {
        const span = document.createElement("span");
        span.style.color = `var(--e${step})`;
        span.append(node);
        parts.append(span);
      }
      this.nodes.push({ node, start });
      start += text.length;
    }
    this.length = start;
    // A line break at the end opens a line only if something follows it.
    parts.append("\u200b");
    this.mirror.replaceChildren(parts);
  }

  #ask() {
    const style = getComputedStyle(this.mirror);
    const box = this.mirror.getBoundingClientRect();
    this.lineHeight = parseFloat(style.lineHeight);
    this.fontSize = parseFloat(style.fontSize);
    this.top = parseFloat(style.paddingTop);
    this.left = parseFloat(style.paddingLeft);
    this.originX = box.left;
    this.originY = box.top;
  }

  /** The box of the code unit `unit` and of `count - 1` units behind it. */
  #box(unit, count = 1) {
    let low = 0;
    let high = this.nodes.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.nodes[middle].start <= unit) low = middle;
      else high = middle - 1;
    }
    const { node, start } = this.nodes[low];
    this.range.setStart(node, unit - start);
    this.range.setEnd(node, Math.min(unit - start + count, node.length));
    return this.range.getBoundingClientRect();
  }

  /** The number of the line that holds a unit. A line break belongs to the line that it ends. */
  #lineOf(unit) {
    const box = this.#box(unit);
    if (box.height === 0) return unit === 0 ? 0 : this.#lineOf(unit - 1);
    const middle = (box.top + box.bottom) / 2 - this.originY - this.top;
    return Math.max(0, Math.floor(middle / this.lineHeight));
  }

  /** The first unit of the line at `height` pixels below the top; `length` if none is there. */
  unitAtHeight(height, length) {
    this.#ask();
    const line = Math.floor((height - this.top) / this.lineHeight);
    let low = 0;
    let high = length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#lineOf(middle) < line) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Finds the lines of `text` from unit `from`, which begins one, to `to`. */
  measure(from, to, text) {
    this.#ask();
    this.list = [];
    if (this.length === 0) return;
    this.advance = this.#advance();
    const columns = Math.max(1, Math.floor(this.mirror.clientWidth / this.advance));
    for (let start = from; start < to; ) {
      const line = this.#lineOf(start);
      const feed = text.indexOf("\n", start);
      const most = feed < 0 || feed >= to ? to : feed + 1;
      const end = this.#lineEnd(start, line, most, columns);
      this.list.push(this.#line(line, start, end, text));
      start = end;
    }
  }

  /** The unit behind the last one of the line that begins at `start`. */
  #lineEnd(start, line, most, columns) {
    let step = columns + 2;
    let low = start + 1;
    let high = Math.min(most, start + step);
    while (high < most && this.#lineOf(high - 1) === line) {
      low = high;
      step *= 2;
      high = Math.min(most, high + step);
    }
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#lineOf(middle - 1) === line) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #line(line, start, end, text) {
    const first = this.#box(start);
    const x = first.height === 0 ? this.left : first.left - this.originX;
    const made = { start, end, top: this.top + line * this.lineHeight, x, boxes: null };
    const part = text.slice(start, end);
    if (!PLAIN.test(part)) made.boxes = this.#boxes(start, end, text);
    return made;
  }

  /** Left edge and width of every unit of a line that is not of one width throughout. */
  #boxes(start, end, text) {
    const boxes = new Float32Array(2 * (end - start));
    for (let unit = start; unit < end; unit++) {
      const isPair = text.codePointAt(unit) > 0xffff;
      const box = this.#box(unit, isPair ? 2 : 1);
      boxes[2 * (unit - start)] = box.left - this.originX;
      boxes[2 * (unit - start) + 1] = Math.max(box.width, text[unit] === "\n" ? this.advance : 2);
      if (isPair) unit += 1;
    }
    return boxes;
  }

  /** The width of a character of the fixed-width font. */
  #advance() {
    const probe = document.createElement("span");
    probe.textContent = "0".repeat(64);
    probe.style.cssText = "position:absolute;visibility:hidden;white-space:pre";
    this.mirror.append(probe);
    const width = probe.getBoundingClientRect().width / 64;
    probe.remove();
    return width || 8;
  }

  /** Left edge and width, in pixels of the sheet, of a unit of a line. */
  place(line, unit) {
    const column = unit - line.start;
    if (line.boxes) return [line.boxes[2 * column], line.boxes[2 * column + 1]];
    return [line.x + column * this.advance, this.advance];
  }

  /** The byte at a place of the sheet; -1 if there is none. */
  byteAt(x, y, { offsets, text }) {
    const line = this.list.find((it) => y >= it.top && y < it.top + this.lineHeight);
    if (!line) return -1;
    for (let unit = line.start; unit < line.end; unit++) {
      if (unit > line.start && offsets[unit] === offsets[unit - 1]) continue;
      const [left, width] = this.place(line, unit);
      if (x < left || x >= left + width) continue;
      const start = offsets[unit];
      const next = text.codePointAt(unit) > 0xffff ? unit + 2 : unit + 1;
      const count = offsets[next] - start;
      return start + Math.min(count - 1, Math.floor(((x - left) / width) * count));
    }
    return -1;
  }
}
