/** Wires of plugins that behave as they should not; test/testing/fake-wire.test.ts has more of them, with an agent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { CommunicationModule, RawRequest, Transport } from '../../ts/api/communication.js';
import type { PluginWire } from '../../ts/api/plugin.js';
import type { Reports } from '../../ts/api/report.js';
import { codec } from '../../ts/communication/xenstore/nova/codec.js';
import type { LoadedPlugin } from '../../ts/daemon/plugin.js';
import { guardedWire } from '../../ts/daemon/plugin-wire.js';

const plugin: LoadedPlugin = {
  name: 'p',
  modules: [],
  wires: [],
  reports: [],
  tasks: [],
  run: (work) => work(),
  unload: () => undefined,
};
const guard = (open: () => Promise<Transport>): ReturnType<typeof guardedWire> =>
  guardedWire({ plugin, wire: { name: 'w', open }, codec, timeout: 20 });

function transport(requests: Transport['requests'], closed: () => void = () => undefined): Transport {
  return {
    requests,
    stillWanted: () => Promise.resolve(true),
    respond: () => Promise.resolve(),
    retire: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => {
      closed();
      return Promise.resolve();
    },
  };
}

test('a request that was answered is not kept: it may hold a password', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const given: WeakRef<Uint8Array>[] = [];
  const wire = await guard(() =>
    Promise.resolve(
      transport(async function* () {
        for (let id = 0; id < 50; id += 1) {
          const body = new Uint8Array(1000);
          given.push(new WeakRef(body));
          yield { id: String(id), body, answered: false };
          await sleep(0);
        }
      }),
    ),
  ).open();
  const stop = new AbortController();
  const taken = wire.requests(stop.signal)[Symbol.asyncIterator]();
  for (let id = 0; id < 49; id += 1) assert.equal((await taken.next()).done, false);
  await sleep(5);
  collect();
  const kept = given.filter((body) => body.deref() !== undefined).length;
  assert.ok(kept < 5, `${kept} of ${given.length} are kept`);
  stop.abort();
  await taken.next();
});

test('it ends when it is told, though the next request never comes', async () => {
  const never = async function* (): AsyncGenerator<RawRequest, void> {
    await new Promise(() => undefined);
    yield* [];
  };
  const wire = await guard(() => Promise.resolve(transport(never))).open();
  for (const before of [true, false]) {
    const stop = new AbortController();
    if (before) stop.abort();
    const next = wire.requests(stop.signal)[Symbol.asyncIterator]().next();
    stop.abort();
    assert.deepEqual(await next, { done: true, value: undefined });
  }
});

const nothing: Transport['requests'] = async function* () {
  await Promise.resolve();
  yield* [];
};

test('one that is open only when its time is up is closed', async () => {
  const events: string[] = [];
  const slow = guard(async () => {
    await sleep(60);
    return transport(nothing, () => void events.push('closed'));
  });
  await assert.rejects(slow.open(), { message: 'w of p took longer than 0.02 s' });
  assert.equal(events.join(), '');
  for (let tries = 0; !events.includes('closed') && tries < 100; tries += 1) await sleep(5);
  assert.deepEqual(events, ['closed']);
});

test('what open gives is looked at before anything is asked of it', async () => {
  const whole = transport(nothing);
  const given = (value: unknown): Promise<Transport> => guard(() => Promise.resolve(value as Transport)).open();
  await assert.rejects(given(undefined), { message: 'what open of w gives: wanted an object, got nothing' });
  await assert.rejects(given({ ...whole, retire: 5 }), {
    message: 'retire of what open of w gives: wanted a function, got 5',
  });
  await assert.rejects(given({ ...whole, [Symbol.asyncDispose]: undefined }), {
    message: '[Symbol.asyncDispose] of what open of w gives: wanted a function, got nothing',
  });
  await assert.rejects(given({ ...whole, begun: 'yes' }), {
    message: "begun of what open of w gives: wanted a function, got 'yes'",
  });
  await given(whole);
});

test('what has begun is told with the request that the plugin gave, and has a time to be told in', async () => {
  const request = { id: '1', body: 'x', answered: false };
  const begun: RawRequest[] = [];
  const wire = await guard(() =>
    Promise.resolve({
      ...transport(async function* () {
        await Promise.resolve();
        yield request;
      }),
      begun: (one) => (begun.push(one) === 1 ? Promise.resolve() : new Promise(() => undefined)),
    }),
  ).open();
  const stop = new AbortController();
  const { value } = (await wire.requests(stop.signal)[Symbol.asyncIterator]().next()) as { value: RawRequest };
  await wire.begun?.(value);
  await assert.rejects(Promise.resolve(wire.begun?.(value)), { message: 'w of p took longer than 0.02 s' });
  assert.ok(begun.every((one) => one === request));
  // Of a wire without it nothing is asked.
  assert.equal('begun' in (await guard(() => Promise.resolve(transport(nothing))).open()), false);
});

test('telling may last until it is told to end, and then has a time to end in', async () => {
  const told = (tell: NonNullable<PluginWire['tell']>): CommunicationModule =>
    guardedWire({ plugin, wire: { name: 'w', open: () => Promise.reject(new Error()), tell }, codec, timeout: 20 });
  const reports: Reports = { current: () => Promise.reject(new Error()), changes: () => [] as never };
  const stop = new AbortController();
  setTimeout(() => {
    stop.abort();
  }, 60);
  const ending = told(
    (_, signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          resolve();
        });
      }),
  );
  await ending.tell?.(reports, stop.signal);
  const hanging = told(() => new Promise(() => undefined));
  await assert.rejects(Promise.resolve(hanging.tell?.(reports, stop.signal)), {
    message: 'w of p took longer than 0.02 s',
  });
  const failing = told(() => Promise.reject(new RangeError('broken')));
  await assert.rejects(Promise.resolve(failing.tell?.(reports, new AbortController().signal)), RangeError);
  assert.equal('tell' in guard(() => Promise.reject(new Error())), false);
});
