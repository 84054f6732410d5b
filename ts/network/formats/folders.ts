/** Files of one kind in several folders, as netplan, systemd and sysctl.d(5) take them. */

/**
 * Paths below `folders` that end with `suffix`: of several with one name that in the first folder counts. In the order of
 * their names, byte by byte, whatever their folder.
 */
export function effectivePaths(
  files: ReadonlyMap<string, string>,
  folders: readonly string[],
  suffix: string,
): readonly string[] {
  const byName = new Map<string, string>();
  for (const folder of folders) {
    for (const path of files.keys()) {
      const name = path.slice(folder.length);
      const isThere = path.startsWith(folder) && path.endsWith(suffix) && !name.includes('/');
      if (isThere && !byName.has(name)) byName.set(name, path);
    }
  }
  return [...byName].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))).map(([, path]) => path);
}
