/** Errors of the system, by their codes. */
import { codeOf } from '../../api/errors.js';

/** Null for an error that means that there is nothing; rethrows any other. For `catch`. */
export function absent(error: unknown): null {
  const code = codeOf(error);
  if (code === 'ENOENT' || code === 'ENOTDIR') return null;
  throw error;
}
