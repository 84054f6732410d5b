/** Why the system refused, in words that an administrator can act on. */
import { messageOf } from '../../api/index.js';
import { codeOf } from '../../api/errors.js';

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
  EIO: 'the device failed: input/output error',
  EACCES: 'permission denied',
  EPERM: 'the system refuses it; the file may be immutable',
  ENOTDIR: 'a part of the path is not a directory',
  EISDIR: 'it is a directory',
  ELOOP: 'too many links, or a link where none is followed',
  ENAMETOOLONG: 'the name is too long',
  EFBIG: 'the file would be larger than the system allows',
  ETXTBSY: 'it is a program that is running',
  EBUSY: 'it is in use',
  EMFILE: 'the agent has too many open files',
  ENFILE: 'the system has too many open files',
  ENOMEM: 'the system is out of memory',
  ENXIO: 'the device is not there',
  ENODEV: 'the device is not there',
  EXDEV: 'the two are on different file systems',
  ESTALE: 'the file server has lost the file',
  EOPNOTSUPP: 'the file system cannot do it',
};

/** Null for a code that is not among those that an administrator meets. */
export function reasonOfCode(code: string): string | null {
  return REASONS[code] ?? null;
}

/** How the addon ends the message of an error that is the system's alone. */
const RAW = / \(os error \d+\)$/;

/** In words: those of the error itself, unless they are only the system's. */
export function reason(error: unknown): string {
  return (isRaw(error) ? reasonOfCode(codeOf(error) ?? '') : null) ?? messageOf(error).replace(RAW, '');
}

/** Whether nobody has put it into words yet: an error of a call of Node's, or of the addon's. */
function isRaw(error: unknown): boolean {
  return error instanceof Error && ('syscall' in error || RAW.test(error.message));
}
