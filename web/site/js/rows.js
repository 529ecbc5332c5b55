// Rows of `blt bench`: read from files, and laid beside each other.

/** What peers call `bf16` stands beside `mixed`, as in the page of `blt bench --html`. */
const precisionOf = (row) => (row.precision ?? "").replace("bf16", "mixed");

/** What makes two rows the same measurement on two machines. */
const keyOf = (row) => [row.kind, row.kernel, row.shape, precisionOf(row)].join("\u0000");

/**
 * The rows of a text: JSON Lines as `blt bench --json` writes them, or one JSON list. An error says
 * which line is neither.
 */
export function parseRows(text) {
  const trimmed = text.trim();
  let rows;
  if (trimmed.startsWith("[")) {
    rows = JSON.parse(trimmed);
  } else {
    rows = trimmed.split("\n").filter((line) => line.trim() !== "").map((line, i) => {
      try {
        return JSON.parse(line);
      } catch {
        throw new Error(`line ${i + 1} is no JSON`);
      }
    });
  }
  const bad = rows.findIndex((row) => typeof row?.kernel !== "string" || !("status" in row));
  if (bad >= 0) throw new Error(`row ${bad + 1} is no row of blt bench`);
  if (rows.length === 0) throw new Error("there are no rows in it");
  return rows;
}

/** What a machine is called in a comparison. */
export function machineOf(row) {
  return [row.device, row.backend].filter(Boolean).join(", ");
}

/**
 * Groups of the same measurement: { label, unit, bars: [{ source, row, share }] }, in the order in
 * which `sources` ([name, rows]) have them; `share` is of the largest in the group, or with
 * one source alone of the largest of its kind and unit. Of two rows of one source the later counts.
 */
export function compared(sources) {
  const groups = new Map();
  for (const [source, rows] of sources) {
    for (const row of rows) {
      const key = keyOf(row);
      if (!groups.has(key)) groups.set(key, { row, bars: new Map() });
      groups.get(key).bars.set(source, row);
    }
  }
  const list = [...groups.values()].map(({ row, bars }) => ({
    kind: row.kind,
    name: row.kernel,
    shape: [row.shape, precisionOf(row)].filter(Boolean).join(", "),
    scale: sources.length > 1 ? row : `${row.kind} ${unitOfRow(row)}`,
    bars: [...bars].map(([source, it]) => ({ source, row: it, value: valueOf(it) })),
  }));
  const most = new Map();
  for (const { scale, bars } of list) {
    const largest = Math.max(0, ...bars.map(({ value }) => value ?? 0));
    most.set(scale, Math.max(largest, most.get(scale) ?? 0));
  }
  for (const { scale, bars } of list) {
    for (const bar of bars) bar.share = (bar.value ?? 0) / (most.get(scale) || 1);
  }
  return list;
}

/** What a row measured: its rate, else its time; `null` if it did not run. */
export function valueOf(row) {
  if (row.status !== "ok") return null;
  if (Number.isFinite(row.rate)) return row.rate;
  return Number.isFinite(row.median_ms) ? row.median_ms : null;
}

/** The unit of what `valueOf` gives. */
export function unitOfRow(row) {
  return Number.isFinite(row.rate) ? row.unit : "ms";
}

/** Half the distance of the quartiles over the median, as docs/benchmark.md has it; else `null`. */
export function spread(samples) {
  if (!samples || samples.length < 2) return null;
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share) => {
    const place = share * (sorted.length - 1);
    const low = Math.floor(place);
    const next = sorted[Math.min(low + 1, sorted.length - 1)];
    return sorted[low] + (next - sorted[low]) * (place - low);
  };
  const middle = at(0.5);
  return middle > 0 ? (at(0.75) - at(0.25)) / 2 / middle : null;
}
