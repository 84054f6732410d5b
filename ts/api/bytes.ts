import type { Body } from './body.js';

/** The bytes of a body as a Buffer: the same ones, where they are bytes already. */
export function asBuffer(body: Body): Buffer {
  if (typeof body === 'string') return Buffer.from(body, 'utf8');
  return Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.length);
}
