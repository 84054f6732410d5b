/**
 * What a wire carries: bytes, or text that stands for its bytes in UTF-8. What comes and goes as text spares both sides
 * the making of an array of bytes, which takes as long as all else that is done for an answer.
 */
export type Body = string | Uint8Array;
