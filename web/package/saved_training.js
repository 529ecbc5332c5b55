// What is trained, saved now and then: were the tab closed or the device lost, it is still there.
// Every training has files of its own, so that two tabs do not write over each other's.

import { fileOf, folderOf, write } from "./storage.js";

const FOLDER = "blt-training";
// Trainings that are kept: the newest.
const KEPT = 3;

/** Keeps an archive in the place of the one before; gives `{ id, step, bytes, seconds }`. */
export async function saveTraining(id, { step }, archive) {
  const folder = await folderOf(FOLDER);
  const info = { id, step, bytes: archive.length, seconds: Date.now() / 1000 };
  await write(folder, `${id}.tar`, archive);
  // What is told of is there.
  await write(folder, `${id}.json`, new TextEncoder().encode(JSON.stringify(info)));
  for (const { id: old } of (await all(folder)).slice(KEPT)) {
    await folder.removeEntry(`${old}.json`).catch(() => {});
    await folder.removeEntry(`${old}.tar`).catch(() => {});
  }
  return info;
}

/** What `saveTraining` gave last, or null. */
export async function savedTraining() {
  try {
    return (await all(await folderOf(FOLDER)))[0] ?? null;
  } catch {
    return null;
  }
}

/** The archive of a training, of the newest where none is named, or null. */
export async function savedArchive(id) {
  try {
    const folder = await folderOf(FOLDER);
    const name = id ?? (await all(folder))[0].id;
    return new Uint8Array(await (await fileOf(folder, `${name}.tar`)).arrayBuffer());
  } catch {
    return null;
  }
}

/** What is told of the trainings in a folder, the newest first. */
async function all(folder) {
  const infos = [];
  for await (const name of folder.keys()) {
    if (!name.endsWith(".json")) continue;
    try {
      infos.push(JSON.parse(await (await fileOf(folder, name)).text()));
    } catch {
      // Another tab has just removed it, or was closed while it wrote.
    }
  }
  return infos.filter(({ id }) => id).sort((a, b) => b.seconds - a.seconds);
}
