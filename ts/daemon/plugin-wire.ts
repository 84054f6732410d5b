/** A wire that a plugin brings, kept apart like its commands: it may end or hang, the others go on. */
import { isUint8Array } from 'node:util/types';
import type { Logger } from 'pino';
import type { Codec, RawRequest, Transport } from '../api/communication.js';
import type { PluginWire } from '../api/plugin.js';
import { describeError } from './log.js';
import { OVERDUE, within } from './overdue.js';
import type { LoadedPlugin } from './plugin.js';

export interface WireOptions {
  readonly plugin: LoadedPlugin;
  readonly wire: PluginWire;
  /** For wires that have none of their own. */
  readonly codec: Codec;
  /** How long a step may take, milliseconds. */
  readonly timeout: number;
  readonly log: Logger;
}

/** Opens the wire, and serves it until it ends or `signal` aborts. Never rejects. */
export async function servePluginWire(
  { plugin, wire, codec, timeout, log }: WireOptions,
  serve: (transport: Transport, codec: Codec) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const about = { plugin: plugin.name, wire: wire.name };
  const inTime = async <T>(work: () => Promise<T>): Promise<T> => {
    const result = await within(
      plugin.run(async () => work()),
      timeout,
    );
    if (result === OVERDUE) throw new Error(`${wire.name} took longer than ${timeout / 1000} s`);
    return result;
  };
  try {
    const transport = await inTime(() => wire.open());
    log.info(about, 'wire opened');
    try {
      await serve(guarded(wire.name, transport, inTime, plugin), wire.codec ?? codec);
    } finally {
      await inTime(async () => transport[Symbol.asyncDispose]());
    }
    if (!signal.aborted) log.error(about, 'wire of a plugin ended; it is opened again when the agent starts');
  } catch (error) {
    log.error(
      { ...about, error: describeError(error) },
      'wire of a plugin failed; it is opened again when the agent starts',
    );
  }
}

type InTime = <T>(work: () => Promise<T>) => Promise<T>;

/** Requests get the wire's name before their ids: the journal knows them from those of other wires by nothing else. */
function guarded(name: string, transport: Transport, inTime: InTime, plugin: LoadedPlugin): Transport {
  const originals = new WeakMap<RawRequest, RawRequest>();
  const original = (request: RawRequest): RawRequest => originals.get(request) ?? request;

  async function* requests(signal: AbortSignal): AsyncGenerator<RawRequest, void> {
    const aborted = new Promise<null>((resolve) => {
      const end = (): void => {
        resolve(null);
      };
      if (signal.aborted) end();
      else signal.addEventListener('abort', end, { once: true });
    });
    const iterator = plugin.run(() => transport.requests(signal)[Symbol.asyncIterator]());
    for (;;) {
      const next = plugin.run(() => iterator.next());
      next.catch(() => undefined);
      const result = await Promise.race([next, aborted]);
      if (result === null || result.done === true) return;
      const request = checkRequest(result.value);
      const named = { ...request, id: `${name}/${request.id}` };
      originals.set(named, result.value);
      yield named;
    }
  }

  return {
    requests,
    stillWanted: (request) => inTime(() => transport.stillWanted(original(request))),
    respond: (request, body) => inTime(() => transport.respond(original(request), body)),
    retire: (request) => inTime(() => transport.retire(original(request))),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function checkRequest(request: unknown): RawRequest {
  const { id, body, answered } = (
    typeof request === 'object' && request !== null ? request : {}
  ) as Partial<RawRequest>;
  if (typeof id === 'string' && /^[\x20-\x7e]+$/.test(id) && isUint8Array(body)) {
    return { id, body, answered: answered === true };
  }
  throw new TypeError('a request of a plugin: wanted a printable id and a body of bytes');
}
