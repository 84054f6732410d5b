/**
 * What a wire carries: bytes, or text that stands for its bytes in UTF-8. What comes and goes as text spares both sides
 * the making of an array of bytes, which takes as long as all else that is done for an answer.
 */
export type Body = string | Uint8Array;

/** The bytes of a body as a Buffer: the same ones, where they are bytes already. */
export function asBuffer(body: Body): Buffer {
  if (typeof body === 'string') return Buffer.from(body, 'utf8');
  return Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.length);
}
