// Models that were fetched, kept in the origin's private file system: a folder a URL, with the
// files and `manifest.json`, which is written last.

import { fileOf, folderOf, write } from "./storage.js";

const FOLDER = "blt-models";
const MANIFEST = "manifest.json";

/** `{ validator, files: [{ name, bytes }] }` of a URL, or null where it is not kept whole. */
export async function readModel(url) {
  try {
    const folder = await (await models()).getDirectoryHandle(await nameOf(url));
    const manifest = JSON.parse(await (await fileOf(folder, MANIFEST)).text());
    if (manifest.url !== url) return null;
    const files = [];
    for (const { name, length } of manifest.files) {
      const bytes = new Uint8Array(await (await fileOf(folder, name)).arrayBuffer());
      if (bytes.length !== length) return null;
      files.push({ name, bytes });
    }
    return { validator: manifest.validator, files };
  } catch {
    // Not there, half there, or no such file system: it is fetched.
    return null;
  }
}

/** Keeps the files of a URL. Rejects where there is no room, or no such file system. */
export async function writeModel(url, validator, files) {
  const parent = await models();
  const name = await nameOf(url);
  const folder = await parent.getDirectoryHandle(name, { create: true });
  try {
    // While files change, nothing says that they are whole.
    await folder.removeEntry(MANIFEST).catch(() => {});
    for (const file of files) await write(folder, file.name, file.bytes);
    const list = files.map(({ name, bytes }) => ({ name, length: bytes.length }));
    const manifest = JSON.stringify({ url, validator, files: list });
    await write(folder, MANIFEST, new TextEncoder().encode(manifest));
  } catch (error) {
    await parent.removeEntry(name, { recursive: true }).catch(() => {});
    throw error;
  }
}

/** `[{ url, bytes }]` of all that is kept. */
export async function cachedModels() {
  const found = [];
  try {
    for await (const folder of (await models()).values()) {
      const manifest = await fileOf(folder, MANIFEST).then((file) => file.text()).then(JSON.parse, () => null);
      if (!manifest) continue;
      found.push({ url: manifest.url, bytes: manifest.files.reduce((sum, { length }) => sum + length, 0) });
    }
  } catch {
    return [];
  }
  return found.sort((a, b) => a.url.localeCompare(b.url));
}

/** Forgets everything. */
export async function clearModels() {
  const root = await navigator.storage.getDirectory();
  await root.removeEntry(FOLDER, { recursive: true }).catch((error) => {
    if (error.name !== "NotFoundError") throw error;
  });
}

const models = () => folderOf(FOLDER);

async function nameOf(url) {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(url));
  return [...new Uint8Array(hash).slice(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
