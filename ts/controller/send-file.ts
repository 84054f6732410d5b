/** A file on its way to the guest, in as many requests as it takes. */
import { type Answer, type Controller, type RequestOptions, isSuccess, pythonJson } from './controller.js';
import { digest } from '../host/shared/runtime/digest.js';

/**
 * Bytes of one request. The message to a xenstored could hold twice as much, but oxenstored and the quota of others
 * take no more than 2048 in a node.
 */
const REQUEST_SIZE = 2000;
/** So that a very long path leaves room for something. */
const LEAST_PART = 300;
/** What an agent tells among its features that takes files in parts. */
const PARTS = 'file_inject_parts';

export interface SendFileOptions extends RequestOptions {
  /** Called after each part with how many bytes the agent has. */
  readonly onProgress?: (held: number, total: number) => void;
}

/** A file as the dom0 plugin sends it, in the form of the command `name`. */
export function fileValue(name: 'injectfile' | 'file_inject', path: string, content: Buffer): unknown {
  if (name === 'file_inject') {
    return { b64_path: Buffer.from(path).toString('base64'), b64_file: content.toString('base64') };
  }
  return Buffer.concat([Buffer.from(`${path},`), content]).toString('base64');
}

/**
 * `file_inject`, in parts where one request does not hold the file and the agent takes them. Goes on where an earlier
 * try ended. Gives the last answer, with the time of all requests together.
 */
export async function sendFile(
  controller: Controller,
  path: string,
  content: Buffer,
  options: SendFileOptions = {},
): Promise<Answer> {
  const { onProgress, ...request } = options;
  const whole = fileValue('file_inject', path, content);
  if (sizeOf(whole) <= REQUEST_SIZE) return controller.request('file_inject', whole, request);
  const features = await controller.request('features', '', request);
  if (!isSuccess('features', features)) return features;
  // Without parts it is the store that says whether it is too large.
  if (!features.message.split(',').includes(PARTS)) return controller.request('file_inject', whole, request);

  const sha256 = digest('sha256', content).toString('hex');
  const size = partSize(path, content.length);
  let elapsedMs = features.elapsedMs;
  let [resumed, restarted] = [false, false];
  for (let offset = 0; ;) {
    const answer = await controller.request('file_inject', partValue(path, content, offset, size, sha256), request);
    elapsedMs += answer.elapsedMs;
    if (!isSuccess('file_inject', answer)) {
      if (restarted || (offset > 0 && !resumed)) return { ...answer, elapsedMs };
      // What an earlier try left may be of another content: the agent has dropped that now.
      restarted = true;
      offset = 0;
      continue;
    }
    const held = heldBytes(answer.message) ?? Math.min(offset + size, content.length);
    onProgress?.(held, content.length);
    if (offset + size >= content.length) return { ...answer, elapsedMs };
    // Never past the last part, which alone carries the digest.
    const there = Math.min(held, lastOffset(content.length, size));
    resumed ||= there > offset + size;
    offset = Math.max(offset + size, there);
  }
}

function partValue(path: string, content: Buffer, offset: number, size: number, sha256: string): unknown {
  const end = Math.min(offset + size, content.length);
  return {
    ...(fileValue('file_inject', path, content.subarray(offset, end)) as object),
    offset,
    total: content.length,
    ...(end === content.length ? { sha256 } : {}),
  };
}

/** Bytes of a part, so that a request with every field fits. */
function partSize(path: string, total: number): number {
  const empty = sizeOf({ ...(fileValue('file_inject', path, Buffer.alloc(0)) as object), offset: total, total });
  const room = REQUEST_SIZE - empty - pythonJson({ sha256: '0'.repeat(64) }).length;
  return Math.max(LEAST_PART, Math.floor(room / 4) * 3);
}

function lastOffset(total: number, size: number): number {
  return Math.floor((total - 1) / size) * size;
}

function sizeOf(value: unknown): number {
  return pythonJson({ name: 'file_inject', value }).length;
}

function heldBytes(message: string): number | null {
  const digits = /^(\d+) of \d+ bytes$/.exec(message)?.[1];
  return digits === undefined ? null : Number(digits);
}
