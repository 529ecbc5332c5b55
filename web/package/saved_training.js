// What is trained, saved now and then: were the tab closed or the device lost, it is still there.

import { fileOf, folderOf, write } from "./storage.js";

const FOLDER = "blt-training";
const ARCHIVE = "model.tar";
const INFO = "info.json";

/** Keeps an archive in the place of the one before; gives `{ step, bytes, seconds }`. */
export async function saveTraining({ step }, archive) {
  const folder = await folderOf(FOLDER);
  await write(folder, ARCHIVE, archive);
  const info = { step, bytes: archive.length, seconds: Date.now() / 1000 };
  await write(folder, INFO, new TextEncoder().encode(JSON.stringify(info)));
  return info;
}

/** What `saveTraining` gave last, or null. */
export async function savedTraining() {
  try {
    return JSON.parse(await (await fileOf(await folderOf(FOLDER), INFO)).text());
  } catch {
    return null;
  }
}

/** The archive that was kept last, or null. */
export async function savedArchive() {
  try {
    return new Uint8Array(await (await fileOf(await folderOf(FOLDER), ARCHIVE)).arrayBuffer());
  } catch {
    return null;
  }
}
