/**
 * Which profile NetworkManager takes at a boot, asked of the real one on two releases: after a reset and a start from
 * nothing, the device has what the host wants, whatever other profiles there are.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Described } from '../network/describe.js';
import { readInput } from '../network/inputs.js';
import { suites } from '../support/debian-root.js';
import { normal } from './kernel.js';
import { Namespace } from './namespace.js';
import { STACKS } from './stacks.js';

const PROFILES = '/etc/NetworkManager/system-connections/';
const UUID = '11111111-2222-4333-8444-555555555555';
const INPUT = 'public-and-private';
const SETTLES_MS = 20_000;
const MANAGER = STACKS.find(({ name }) => name === 'NetworkManager')!;

interface Kind {
  readonly what: string;
  /** Besides the profile `wired` of eth0. */
  readonly files: Readonly<Record<string, string>>;
  /** A device that is to have this address, too, at once and after each start. */
  readonly child?: { readonly name: string; readonly address: string };
}

const KINDS: readonly Kind[] = [
  {
    what: 'a macvlan whose parent is given by the UUID of the profile that eth0 had comes up as before',
    files: {
      [`${PROFILES}mv0.nmconnection`]:
        `[connection]\nid=mv0\nuuid=11111111-2222-4333-8444-666666666666\ntype=macvlan\ninterface-name=mv0\n\n` +
        `[macvlan]\nmode=2\nparent=${UUID}\n\n[ipv4]\nmethod=manual\naddress1=198.51.100.90/24\n\n[ipv6]\nmethod=disabled\n`,
    },
    child: { name: 'mv0', address: '198.51.100.90/24' },
  },
  {
    what: 'a profile of any device with a higher priority than ours has had does not get eth0',
    files: {
      [`${PROFILES}any.nmconnection`]:
        '[connection]\nid=any\nuuid=11111111-2222-4333-8444-777777777777\ntype=ethernet\nautoconnect-priority=500\n' +
        'multi-connect=3\n\n[ipv4]\nmethod=manual\naddress1=198.51.100.91/24\n\n[ipv6]\nmethod=disabled\n',
    },
  },
  {
    what: 'a profile of the distribution, with a match instead of a name, does not get eth0',
    files: {
      '/usr/lib/NetworkManager/system-connections/match.nmconnection':
        '[connection]\nid=match\nuuid=11111111-2222-4333-8444-888888888888\ntype=ethernet\nautoconnect-priority=200\n\n' +
        '[match]\ninterface-name=eth*;!eth1;\n\n[ipv4]\nmethod=manual\naddress1=198.51.100.92/24\n\n[ipv6]\nmethod=disabled\n',
    },
  },
];

suite('the profile that NetworkManager takes', () => {
  for (const release of suites()) {
    for (const { what, files, child } of KINDS) {
      test(`${what} (${release})`, { timeout: 300_000 }, async () => {
        await using namespace = new Namespace(release, MANAGER.kind);
        await namespace.write(files, 0o600);
        await MANAGER.prepare(namespace);
        const input = readInput(INPUT);
        const look = (): unknown => {
          const shown: Record<string, Described> = { ...namespace.kernel().inWordsOf(input.wanted) };
          const { [child?.name ?? '']: above, ...own } = shown;
          return { ...own, ...(child === undefined ? {} : { [child.name]: above?.addresses ?? [] }) };
        };
        const wanted = { ...normal(input.wanted), ...(child === undefined ? {} : { [child.name]: [child.address] }) };
        const check = async (when: string): Promise<void> => {
          const end = Date.now() + SETTLES_MS;
          while (!isDeepStrictEqual(look(), wanted) && Date.now() < end) await sleep(100);
          assert.deepEqual(look(), wanted, `${when}: ${namespace.script('nmcli device; nmcli connection')}`);
        };
        const { reply } = await namespace.reset(input);
        assert.deepEqual(reply, { returncode: '0', message: '' });
        await check('at once');
        assert.deepEqual((await namespace.reset(input)).programs, [], 'the same data again runs nothing');
        namespace.script(MANAGER.off);
        if (child !== undefined) namespace.script(`ip link delete ${child.name} 2>/dev/null || true`);
        namespace.strip();
        namespace.script(MANAGER.on);
        await check('after a cold start');
      });
    }
  }
});
