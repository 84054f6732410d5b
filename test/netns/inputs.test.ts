/**
 * What hosts publish, by four booted stacks: reset, reset again and a power cycle without the agent, each in a guest of its
 * own; and all of them, one after the other, in one guest. `GUESTWIRE_NETWORK=full`: all, in an order that is new each time;
 * else some.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { Described } from '../network/describe.js';
import { suites } from '../support/debian-root.js';
import { FULL, LIMIT_MS, settles, turnOn } from './boots.js';
import { normal } from './kernel.js';
import { Namespace } from './namespace.js';
import { type HostNetwork, NETWORKS_OF_HOSTS } from './networks-of-hosts.js';
import { type Files, type Stack, stackNamed } from './stacks.js';

/** What a reset finds, of somebody else's making; by stack. */
const OLD: Readonly<Record<string, Files>> = {
  ifupdown: {
    '/etc/network/interfaces.d/50-cloud-init': 'auto eth0\niface eth0 inet static\n    address 198.51.100.250/24\n',
  },
  'netplan with systemd-networkd': {
    '/etc/netplan/50-cloud-init.yaml':
      'network:\n  version: 2\n  ethernets:\n    eth0:\n      addresses: [198.51.100.250/24]\n',
  },
  'systemd-networkd': {
    '/etc/systemd/network/20-wired.network': '[Match]\nName=eth0\n\n[Network]\nAddress=198.51.100.250/24\n',
  },
  NetworkManager: {
    '/etc/NetworkManager/system-connections/wired.nmconnection':
      '[connection]\nid=wired\nuuid=11111111-2222-4333-8444-555555555555\ntype=ethernet\ninterface-name=eth0\n\n' +
      '[ipv4]\nmethod=manual\naddress1=198.51.100.250/24\n\n[ipv6]\nmethod=link-local\n',
  },
};
const OLD_SHOWN = normal({ eth0: { addresses: ['198.51.100.250/24'], routes: [] } });

/** `GUESTWIRE_SEED` repeats an order that failed. */
const SEED = Number(process.env['GUESTWIRE_SEED'] ?? (FULL ? Date.now() % 0x7fffffff : 1117));
const ALL = NETWORKS_OF_HOSTS.length;
/** By stack, of a short run; each has others. */
const EACH = 1;
const CHAIN = 6;
/** In the guest of all. */
const POWER_CYCLE_AFTER = 10;

/** A guest and what its network is to be. */
class Guest implements AsyncDisposable {
  readonly #namespace: Namespace;
  readonly #stack: Stack;
  #shown = OLD_SHOWN;
  /** Devices that the agent has set, and not taken down since. */
  #ours: ReadonlySet<string> = new Set();
  #hostname: string | null = null;

  private constructor(namespace: Namespace, stack: Stack) {
    this.#namespace = namespace;
    this.#stack = stack;
  }

  static async start(stack: Stack, release: string): Promise<Guest> {
    const guest = new Guest(new Namespace(release, stack.kind), stack);
    try {
      await stack.prepare(guest.#namespace, OLD[stack.name]);
      turnOn(guest.#namespace, stack);
      await guest.#settles('by the old files');
      return guest;
    } catch (error) {
      await guest[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Resets to `input`, twice. */
  async take(input: HostNetwork): Promise<void> {
    this.#expect(input);
    const { unusable } = input;
    for (const when of ['at once', 'again']) {
      const { reply, programs, hostname } = await this.#namespace.reset(input);
      assert.equal(reply.returncode, unusable === undefined ? '0' : '1', reply.message);
      const of = Object.keys(input.wanted).sort().join(' ');
      const start = unusable === undefined ? '' : `Configured ${of}; not as wanted: ${unusable}`;
      assert.equal(reply.message.slice(0, start.length || undefined), start);
      if (when === 'again') assert.deepEqual(programs, [], 'the same data again runs nothing');
      if (this.#hostname !== null) assert.equal(hostname, this.#hostname, when);
      await this.#settles(when);
    }
  }

  /** Without the agent. */
  async powerCycle(): Promise<void> {
    await this.#namespace.powerCycle();
    turnOn(this.#namespace, this.#stack);
    await this.#settles('after a power cycle');
    if (this.#hostname !== null) assert.equal(this.#namespace.inside('hostname').trim(), this.#hostname);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#namespace[Symbol.asyncDispose]();
  }

  #expect({ wanted, leftAlone = [], hostname }: HostNetwork): void {
    const kept = leftAlone.filter((name) => this.#ours.has(name));
    // A device that is left alone keeps the default routes that it has, so nobody else gets one.
    const taken = kept.flatMap((name) => this.#shown[name]!.routes.filter(isDefault)).map(isOf6);
    const without = (one: Described): Described => ({
      ...one,
      routes: one.routes.filter((route) => !isDefault(route) || !taken.includes(isOf6(route))),
    });
    const before = Object.entries(this.#shown).filter(([name]) => leftAlone.includes(name) || !this.#ours.has(name));
    const named = Object.entries(wanted).map(([name, one]) => [name, without(one)] as const);
    this.#shown = normal(Object.fromEntries([...before, ...named]));
    this.#ours = new Set([...Object.keys(wanted), ...kept]);
    this.#hostname = hostname ?? this.#hostname;
  }

  async #settles(when: string): Promise<void> {
    const look = (): unknown => this.#namespace.kernel().inWordsOf(this.#shown);
    await settles(this.#namespace, this.#shown, look, when);
  }
}

function isDefault(route: string): boolean {
  return route.startsWith('default via ');
}

function isOf6(route: string): boolean {
  return route.includes(':');
}

function shuffled(): readonly HostNetwork[] {
  const all = fc.shuffledSubarray([...NETWORKS_OF_HOSTS], { minLength: ALL, maxLength: ALL });
  return fc.sample(all, { numRuns: 1, seed: SEED })[0]!;
}

suite('what hosts publish, by booted stacks', { concurrency: 2 }, () => {
  const [first = '', ...more] = suites();
  const order = shuffled();
  for (const [index, stack] of Object.keys(OLD).map(stackNamed).entries()) {
    for (const input of FULL ? NETWORKS_OF_HOSTS : order.slice(index * EACH, (index + 1) * EACH)) {
      test(`${stack.name} of ${first}: ${input.what}`, { timeout: LIMIT_MS }, async () => {
        await using guest = await Guest.start(stack, first);
        await guest.take(input);
        await guest.powerCycle();
      });
    }
    for (const release of FULL ? [first, ...more] : [first]) {
      const chain = FULL ? order : order.slice(-CHAIN * (index + 1)).slice(0, CHAIN);
      const name = `${stack.name} of ${release}: ${chain.length}, one after the other, in one guest`;
      test(name, { timeout: LIMIT_MS * 6 }, async (t) => {
        t.diagnostic(`GUESTWIRE_SEED=${SEED}: ${chain.map(({ what }) => what).join(' ')}`);
        await using guest = await Guest.start(stack, release);
        for (const [number, input] of chain.entries()) {
          try {
            await guest.take(input);
            if ((number + 1) % POWER_CYCLE_AFTER === 0 || number === chain.length - 1) await guest.powerCycle();
          } catch (error) {
            const why = error instanceof Error ? error.message : String(error);
            throw new Error(`number ${number + 1}, ${input.what} ${why}`, { cause: error });
          }
        }
      });
    }
  }
});
