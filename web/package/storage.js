// Files in the origin's private file system.

/** A folder at its root, made where it is not there. */
export async function folderOf(name) {
  const root = await navigator.storage.getDirectory();
  return root.getDirectoryHandle(name, { create: true });
}

export async function fileOf(folder, name) {
  return (await folder.getFileHandle(name)).getFile();
}

/** Writes a file; where the browser can, the one before stays whole until this one is. */
export async function write(folder, name, bytes) {
  const handle = await folder.getFileHandle(name, { create: true });
  if (handle.createWritable) {
    const stream = await handle.createWritable();
    try {
      await stream.write(bytes);
      await stream.close();
    } catch (error) {
      await stream.abort().catch(() => {});
      throw error;
    }
    return;
  }
  // Older Safari: in a Worker alone.
  const access = await handle.createSyncAccessHandle();
  try {
    access.truncate(0);
    access.write(bytes, { at: 0 });
    access.flush();
  } finally {
    access.close();
  }
}
