/** Names and limits: RFC 1123 section 2.1; the kernel takes 64 bytes (HOST_NAME_MAX). */
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;
const KERNEL_LIMIT = 64;

/** What is wrong with a host name, or null. */
export function hostnameProblem(name: string): string | null {
  if (name === '') return 'it is empty';
  if (name.length > 253) return `it has ${name.length} characters, and 253 is the limit`;
  if (name.toLowerCase() === 'localhost') return 'localhost names every machine';
  const bad = name.split('.').find((label) => !LABEL.test(label));
  return bad === undefined ? null : `'${bad.slice(0, 70)}' is not a label of 1 to 63 letters, digits and inner hyphens`;
}

/** What the kernel is told: a name that is too long for it is cut to its first label. */
export function liveHostname(name: string): string {
  return name.length <= KERNEL_LIMIT ? name : (name.split('.', 1)[0] ?? name);
}

/** `/etc/hostname`, hostname(5): comment lines at the top stay. */
export function hostnameFile(text: string | undefined, name: string): string {
  const comments = (text ?? '').split('\n').filter((line) => line.startsWith('#'));
  return `${[...comments, name].join('\n')}\n`;
}
