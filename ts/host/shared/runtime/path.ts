/** Paths: of a guest always with slashes (`posix`), of this machine as its system has them. */
export { dirname, join, posix, resolve } from 'node:path';
