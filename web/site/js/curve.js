// The geometry of curves: round ticks, and points that a line can be drawn through.

/** Round numbers that divide `[low, high]` into about `count` parts. */
export function ticks(low, high, count) {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((it) => it * power).find((it) => it >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const digits = Math.max(0, 1 - Math.floor(Math.log10(step) + 1e-9));
  const result = [];
  for (let i = first; i <= last; i++) result.push(Number((i * step).toFixed(digits)));
  return result;
}

/** The range of `values`, with a margin; whatever is no number counts for nothing. */
export function extent(values, margin = 0.05) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (Number.isFinite(value)) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) return [0, 1];
  const room = (high - low || Math.abs(high) || 1) * margin;
  return [low - room, high + room];
}

/**
 * At most about `2 * columns` of `points` ([x, y], x ascending): of each column the lowest and the
 * highest, in their order. So a curve of 100,000 steps draws as fast as one of a hundred, and no
 * peak is lost.
 */
export function thinned(points, columns) {
  if (points.length <= 2 * columns) return points;
  const first = points[0][0];
  const width = (points[points.length - 1][0] - first) / columns || 1;
  const result = [];
  let at = 0;
  while (at < points.length) {
    const end = first + width * (Math.floor((points[at][0] - first) / width) + 1);
    let low = at;
    let high = at;
    let next = at;
    while (next < points.length && points[next][0] < end) {
      if (points[next][1] < points[low][1]) low = next;
      if (points[next][1] > points[high][1]) high = next;
      next += 1;
    }
    // A last point on the right edge of the last column stands for itself.
    if (next === at) next += 1;
    result.push(points[Math.min(low, high)]);
    if (low !== high) result.push(points[Math.max(low, high)]);
    at = next;
  }
  return result;
}

/**
 * The exponential mean of `points`, over about an eighth of those until there, at most `most`:
 * short where a curve begins, and falls, long where it is flat.
 */
export function smoothed(points, most) {
  let mean = 0;
  return points.map(([x, y], i) => {
    const share = 2 / (1 + Math.min(most, 1 + i / 8));
    mean += (y - mean) * share;
    return [x, mean];
  });
}

/** A function from `[low, high]` to pixels `[from, to]`. */
export function scale([low, high], [from, to]) {
  const factor = (to - from) / (high - low || 1);
  return (value) => from + (value - low) * factor;
}
