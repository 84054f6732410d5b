/** Networks that a guest may have, and their way through resets and boots: what every suite of `boots` shares. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { type Input, readInput } from '../network/inputs.js';
import { suites } from '../support/debian-root.js';
import { normal } from './kernel.js';
import { ETH0, ETH1, NEIGHBOUR, Namespace } from './namespace.js';
import type { Stack } from './stacks.js';

/** Addresses by device. */
type Addresses = Readonly<Record<string, readonly string[]>>;

export interface Kind {
  /** What holds of a guest with these files. */
  readonly what: string;
  readonly files: Readonly<Record<string, string>>;
  readonly links?: Readonly<Record<string, string>>;
  /** A shell script that runs at each boot, before all else: it writes to /run. */
  readonly boot?: string;
  /** What a boot makes of the files: the addresses of all devices that have any. */
  readonly before: Addresses;
  /** Devices that are not the host's: these have the same addresses at all times. */
  readonly others?: Addresses;
  /** A shell script that somebody has run since the boot. */
  readonly later?: string;
  /** It is refused, with these words in the answer. */
  readonly refuses?: readonly string[];
  /** Of test/network/inputs, or one of its own; the one with both devices when absent. */
  readonly input?: string | Input;
  /** Tried on each push, too, on the first release. */
  readonly isShort?: true;
}

/** `GUESTWIRE_NETWORK=full`: all kinds, on two releases. */
export const FULL = process.env['GUESTWIRE_NETWORK'] === 'full';
const INPUT = 'public-and-private';
/** The host names eth0 only. */
export const ONE_DEVICE = 'one-address';
const OK = { returncode: '0', message: '' };
/** How many times as long as usual everything may take: test/vm sets it for an emulated machine. */
const SLOWNESS = Number(process.env['GUESTWIRE_SLOWNESS'] ?? 1);
const SETTLES_MS = SLOWNESS * 60_000;
export const LIMIT_MS = SLOWNESS * 600_000;
/** Refused by the kernel on the link: another machine has the second address. */
function taken(mac: string): Partial<Input> {
  const ips = [{ ip: '192.0.2.9', netmask: '24' }];
  return { networking: { a: { mac, ips, ip6s: [{ ip: NEIGHBOUR, netmask: 64 }] } } };
}

/** A test for each kind and release. */
export function boots(stack: Stack, kinds: readonly Kind[]): void {
  const [first = '', ...more] = suites();
  suite(`what a boot makes of a guest with ${stack.name}`, { concurrency: 2 }, () => {
    for (const release of FULL ? [first, ...more] : [first]) {
      for (const kind of kinds.filter(({ isShort }) => FULL || isShort === true)) {
        test(`${kind.what} (${release})`, { timeout: LIMIT_MS }, () => walk(stack, kind, release));
      }
    }
  });
}

async function walk(stack: Stack, kind: Kind, release: string): Promise<void> {
  const { files, links = {}, before, others = {}, refuses } = kind;
  const { input: of = INPUT } = kind;
  const input = typeof of === 'string' ? readInput(of) : of;
  await using namespace = new Namespace(release, stack.kind);
  await namespace.link(links);
  await stack.prepare(namespace, { ...files, ...(kind.boot === undefined ? {} : { '/etc/initramfs': kind.boot }) });
  turnOn(namespace, stack);
  await settles(namespace, before, addresses, 'by the old files');
  if (kind.later !== undefined) namespace.script(kind.later);
  const look = (): unknown => snapshot(namespace, stack, Object.keys(files));
  const old = await steady(look);

  if (refuses !== undefined) {
    const { reply, programs } = await namespace.reset(input);
    // Of the command itself; the dispatcher makes 1 of a 500.
    assert.match(reply.returncode, /^(1|500)$/);
    for (const words of refuses) assert.ok(reply.message.includes(words), reply.message);
    assert.deepEqual(programs, [], 'what is refused runs nothing');
    assert.deepEqual(look(), old, 'what is refused changes nothing');
    return;
  }

  const { reply: failed } = await namespace.reset(taken('eth0' in input.wanted ? ETH0 : ETH1));
  assert.match(failed.message, /^Network was put back: wanted /);
  await settles(namespace, before, addresses, 'after a reset that failed');
  assert.deepEqual(look(), old, 'a reset that fails leaves nothing behind');

  const wanted = { ...normal(input.wanted), ...others };
  const shown = (): unknown => {
    const all = Object.entries(namespace.kernel().inWordsOf(input.wanted));
    return Object.fromEntries(all.map(([name, one]) => [name, name in others ? one.addresses : one]));
  };
  const again = async (when: string): Promise<void> => {
    const { reply, programs } = await namespace.reset(input);
    assert.deepEqual(reply, OK, when);
    assert.deepEqual(programs, [], `the same data again, ${when}, runs nothing`);
  };
  assert.deepEqual((await namespace.reset(input)).reply, OK);
  await settles(namespace, wanted, shown, 'at once');
  await again('at once');
  await namespace.powerCycle();
  turnOn(namespace, stack);
  await settles(namespace, wanted, shown, 'after a cold start');
  await again('after a cold start');
}

/** The rest of a boot, where no systemd does it. */
export function turnOn(namespace: Namespace, { on }: Stack): void {
  if (!namespace.isBooted) namespace.script(`hostname -F /etc/hostname\n${on}`);
}

/** A line of shell that writes a file. */
export function fileIn(path: string, text: string): string {
  return `mkdir -p "${dirname(path)}" && cat > "${path}" <<'END'\n${text}END`;
}

function addresses(namespace: Namespace): Addresses {
  const all = Object.entries(namespace.kernel().interfaces);
  return Object.fromEntries(all.flatMap(([name, one]) => (one.addresses.length > 0 ? [[name, one.addresses]] : [])));
}

function snapshot(namespace: Namespace, { files }: Stack, more: readonly string[]): unknown {
  return {
    kernel: namespace.kernel().interfaces,
    files: namespace.script(`find ${files} ${more.join(' ')} -type f -o -type l | sort -u | xargs -r sha256sum`),
  };
}

/** What `look` gives once it gives the same twice: what somebody has run since the boot may still be on its way. */
async function steady(look: () => unknown): Promise<unknown> {
  for (let last = look(); ;) {
    await sleep(SLOWNESS * 500);
    const now = look();
    if (isDeepStrictEqual(now, last)) return now;
    last = now;
  }
}

export async function settles(
  namespace: Namespace,
  wanted: unknown,
  look: (namespace: Namespace) => unknown,
  when: string,
): Promise<void> {
  const end = Date.now() + SETTLES_MS;
  while (!isDeepStrictEqual(look(namespace), wanted) && Date.now() < end) await sleep(100);
  assert.deepEqual(look(namespace), wanted, when);
}
