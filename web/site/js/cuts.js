// What the cuts of a text amount to. `starts` are the bytes where patches begin, ascending, the
// first one 0; a patch reaches to the next start or to the end of the text.

/** The index of the patch that holds byte `at`; -1 where there are none. */
export function patchAt(starts, at) {
  let low = -1;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= at) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The bytes `[start, end)` of a patch. */
export function patchRange(starts, patch, byteCount) {
  return [starts[patch], patch + 1 < starts.length ? starts[patch + 1] : byteCount];
}

/** How many patches, how long they are on average and at most, in bytes. */
export function statistics(starts, byteCount) {
  let longest = 0;
  for (let patch = 0; patch < starts.length; patch++) {
    const [start, end] = patchRange(starts, patch, byteCount);
    longest = Math.max(longest, end - start);
  }
  const count = starts.length;
  return { count, average: count === 0 ? 0 : byteCount / count, longest };
}

/** How many patches have 1, 2, .. `most` bytes; longer ones count with the last. */
export function lengthCounts(starts, byteCount, most) {
  const counts = new Uint32Array(most);
  for (let patch = 0; patch < starts.length; patch++) {
    const [start, end] = patchRange(starts, patch, byteCount);
    if (end > start) counts[Math.min(end - start, most) - 1] += 1;
  }
  return counts;
}

/** How many entropies fall into each of `count` equal bins of 0 to `most` nats. */
export function histogram(entropies, count, most) {
  const bins = new Uint32Array(count);
  for (const nats of entropies) {
    if (Number.isFinite(nats)) {
      bins[Math.min(count - 1, Math.max(0, Math.floor((nats / most) * count)))] += 1;
    }
  }
  return bins;
}

/** How much each entropy is above the one before it; falls are left out. */
export function rises(entropies) {
  const differences = entropies.map((nats, at) => (at === 0 ? NaN : nats - entropies[at - 1]));
  return differences.filter((it) => it > 0);
}

/**
 * The cuts of `byteCount` bytes by what the package says, which also tells whether the byte that
 * would come next would begin a patch.
 */
export function cutsOf({ entropies, starts, nextEntropy = null }, byteCount) {
  return {
    entropies,
    starts: starts.filter((start) => start < byteCount),
    known: byteCount,
    nextEntropy,
    opensNext: starts.length > 0 && starts[starts.length - 1] === byteCount,
  };
}

/**
 * What is still true of the old cuts when only the first `kept` bytes of the text are the same: an
 * entropy follows from the bytes before it alone, and so do the starts.
 */
export function keptCuts(cuts, kept) {
  const known = Math.min(kept, cuts.known);
  return {
    entropies: cuts.entropies.subarray(0, known),
    starts: cuts.starts.filter((start) => start < known),
    known,
    nextEntropy: null,
    opensNext: false,
  };
}
