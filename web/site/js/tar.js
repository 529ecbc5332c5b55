// Reads tar archives (POSIX ustar), as the package makes them of a model directory.

const BLOCK = 512;

const decoder = new TextDecoder();

const text = (block, start, length) =>
  decoder.decode(block.subarray(start, start + length)).replace(/\0.*$/s, "").trim();

/** The files of an archive: { name, bytes } each, the name without its folders. */
export function filesOfTar(archive) {
  const files = [];
  for (let at = 0; at + BLOCK <= archive.length; ) {
    const header = archive.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) break;
    const size = parseInt(text(header, 124, 12), 8);
    const isWhole = size >= 0 && at + BLOCK + size <= archive.length;
    if (!isWhole) throw new Error("the archive is cut off");
    const kind = header[156];
    // "0" or nothing: a file. Folders and whatever else has no bytes of interest.
    if (kind === 0x30 || kind === 0) {
      const bytes = archive.subarray(at + BLOCK, at + BLOCK + size);
      files.push({ name: text(header, 0, 100).split("/").pop(), bytes });
    }
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return files;
}
