/** Where the host may write: pure. docs/commands/file_inject.md has the rules as an administrator reads them. */

export interface FileRules {
  /** Patterns; a path that none of them covers is refused. */
  readonly allow: readonly string[];
  /** Patterns; what one of them covers is refused, allowed or not. */
  readonly deny: readonly string[];
  /** Directories of the agent itself: a host that could write there could rewrite these rules. */
  readonly own: readonly string[];
}

/** Not files to be replaced: doors to the kernel. */
const KERNEL_DIRECTORIES = ['/proc', '/sys', '/dev'];

/** Why `path`, absolute and without `.` and `..`, is not to be written, or null. */
export function whyRefused(path: string, { allow, deny, own }: FileRules): string | null {
  const first = (patterns: readonly string[]): string | undefined => patterns.find((pattern) => covers(pattern, path));
  const kernel = first(KERNEL_DIRECTORIES);
  if (kernel !== undefined) return `${kernel} belongs to the kernel`;
  const ours = own.find((directory) => path === directory || path.startsWith(`${directory}/`));
  if (ours !== undefined) return `${ours} belongs to the agent`;
  const denied = first(deny);
  if (denied !== undefined) return `files.deny has ${denied}`;
  return first(allow) === undefined ? 'files.allow does not have it' : null;
}

/**
 * Whether `pattern` matches `path` or a directory above it. `*` stands for any characters but `/`, `**` for any
 * characters, `?` for one that is not `/`; everything else for itself.
 */
export function covers(pattern: string, path: string): boolean {
  const parts = pattern.split('/').filter((part) => part !== '' && part !== '.');
  const source = parts
    .join('/')
    .replaceAll(/[\\^$.|+()[\]{}]/g, String.raw`\$&`)
    .replaceAll(/\*{2,}|[*?]/g, (wildcard) => ({ '*': '[^/]*', '?': '[^/]' })[wildcard] ?? '.*');
  return new RegExp(`^${parts.length === 0 ? '' : '/'}${source}(?:/|$)`, 'su').test(path);
}
