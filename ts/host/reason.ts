/** Why the system refused, in words that an administrator can act on. */
import { messageOf } from '../api/index.js';
import { errorCode } from './root-path.js';

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
  EACCES: 'permission denied',
  EPERM: 'the system refuses it; the file may be immutable',
  ENOTDIR: 'a part of the path is not a directory',
  ENAMETOOLONG: 'the name is too long',
};

export function reason(error: unknown): string {
  const known = REASONS[errorCode(error) ?? ''];
  return known ?? messageOf(error);
}
