/** A wire that a plugin brings, kept apart like its commands: it may end or hang, the others go on. */
import type { Codec, CommunicationModule, RawRequest, Transport } from '../api/communication.js';
import type { PluginWire } from '../api/plugin.js';
import { OVERDUE, within } from './overdue.js';
import type { LoadedPlugin } from './plugin.js';
import { ShapeError, checkTransport } from './plugin-shape.js';
import { aborted } from './wires.js';
import { isUint8Array } from '../host/shared/runtime/text.js';

export interface WireOptions {
  readonly plugin: LoadedPlugin;
  readonly wire: PluginWire;
  /** For wires that have none of their own. */
  readonly codec: Codec;
  /** How long a step may take, milliseconds. */
  readonly timeout: number;
}

/** The wire as the agent's own are. What it does is the plugin's, and has a time to be done in. */
export function guardedWire({ plugin, wire, codec, timeout }: WireOptions): CommunicationModule {
  const inTime: InTime = async (work, late) => {
    const promised = plugin.run(async () => work());
    const result = await within(promised, timeout);
    if (result !== OVERDUE) return result;
    if (late !== undefined) promised.then((value) => plugin.run(() => late(value))).catch(() => undefined);
    throw new ShapeError(`${wire.name} of ${plugin.name} took longer than ${timeout / 1000} s`);
  };
  /** It may go on until it is told to end, and then has the time of any other step. */
  const tellInTime: CommunicationModule['tell'] = async (reports, signal) => {
    const told = plugin.run(async () => wire.tell?.(reports, signal));
    await Promise.race([told, aborted(signal)]);
    await inTime(() => told);
  };
  return {
    name: wire.name,
    codec: wire.codec ?? codec,
    async open() {
      // Nobody would ever close one that comes too late.
      const transport = await inTime(
        async () => wire.open(),
        (late) => late[Symbol.asyncDispose](),
      );
      return guarded(checkTransport(wire.name, transport), inTime, plugin);
    },
    ...(wire.tell === undefined ? {} : { tell: tellInTime }),
  };
}

/** `late` is handed what comes when the time is up. */
type InTime = <T>(work: () => Promise<T>, late?: (value: T) => PromiseLike<void>) => Promise<T>;

function guarded(transport: Transport, inTime: InTime, plugin: LoadedPlugin): Transport {
  // The plugin may know its own requests by more than what is passed on.
  const originals = new WeakMap<RawRequest, RawRequest>();
  const original = (request: RawRequest): RawRequest => originals.get(request) ?? request;

  async function* requests(signal: AbortSignal): AsyncGenerator<RawRequest, void> {
    // One for each request, and not a race with one promise for all: that would keep every request for ever.
    let end = (): void => undefined;
    signal.addEventListener(
      'abort',
      () => {
        end();
      },
      { once: true },
    );
    const iterator = plugin.run(() => transport.requests(signal)[Symbol.asyncIterator]());
    for (;;) {
      const next = plugin.run(() => iterator.next());
      const result = await new Promise<IteratorResult<RawRequest> | null>((resolve, reject) => {
        end = () => {
          resolve(null);
        };
        if (signal.aborted) end();
        next.then(resolve, reject);
      });
      if (result === null || result.done === true) return;
      const request = checkRequest(result.value);
      originals.set(request, result.value);
      yield request;
    }
  }

  return {
    requests,
    stillWanted: (request) => inTime(() => transport.stillWanted(original(request))),
    ...(transport.begun === undefined
      ? {}
      : { begun: (request) => inTime(async () => transport.begun?.(original(request))) }),
    respond: (request, body) => inTime(() => transport.respond(original(request), body)),
    retire: (request) => inTime(() => transport.retire(original(request))),
    [Symbol.asyncDispose]: () => inTime(async () => transport[Symbol.asyncDispose]()),
  };
}

function checkRequest(request: unknown): RawRequest {
  const { id, body, answered } = (
    typeof request === 'object' && request !== null ? request : {}
  ) as Partial<RawRequest>;
  if (typeof id === 'string' && /^[\x20-\x7e]+$/.test(id) && (typeof body === 'string' || isUint8Array(body))) {
    return { id, body, answered: answered === true };
  }
  throw new ShapeError('a request of a plugin: wanted a printable id and a body of bytes or text');
}
