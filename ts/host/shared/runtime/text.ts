/** What bytes are. */
export { isUtf8 } from 'node:buffer';
export { isUint8Array } from 'node:util/types';
