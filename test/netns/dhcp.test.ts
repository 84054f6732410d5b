/** Addresses from the network instead of the host: the stacks' own clients, and a real server at the other end. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Input, readInput } from '../network/inputs.js';
import { suites } from '../support/debian-root.js';
import { normal } from './kernel.js';
import { ETH0, Namespace } from './namespace.js';
import { stacksOf } from './stacks.js';

const STATIC = readInput('public-and-private');
const OK = { returncode: '0', message: '' };
/** They use a client of somebody else's, which their roots do not have, or none. */
const WITHOUT_CLIENT = ['ifupdown-ng', 'ifupdown of busybox', 'netctl', 'direct'];

const isLease = (address: string): boolean => /^2001:db8:77::1..\/128$/.test(address);

suite('addresses from the network', { concurrency: 2 }, () => {
  for (const release of suites()) {
    for (const stack of stacksOf(release).filter(({ name }) => !WITHOUT_CLIENT.includes(name))) {
      test(`${stack.name} of ${release}`, { timeout: 300_000 }, async () => {
        await using namespace = new Namespace(release, stack.kind);
        await namespace.serveAddresses();
        await stack.prepare(namespace);
        assert.deepEqual((await namespace.reset(STATIC)).reply, OK);

        const networks = (type6: string): Partial<Input> => ({ networks: { 0: { mac: ETH0, type: 'dhcp', type6 } } });
        assert.deepEqual((await namespace.reset(networks('autoconf'))).reply, OK);
        const { addresses, routes } = namespace.kernel().interfaces['eth0']!;
        const [ipv4 = '', ipv6 = '', ...others] = addresses;
        assert.match(ipv4, /^192\.0\.2\.1[0-4][0-9]\/24$/);
        assert.match(ipv6, /^2001:db8:77:/);
        assert.deepEqual(
          others.filter((address) => !address.startsWith('2001:db8:77:')),
          [],
          'none of the old ones',
        );
        assert.ok(
          routes.some((route) => route.startsWith('default via 192.0.2.1')),
          routes.join('\n'),
        );

        assert.deepEqual((await namespace.reset(networks('dhcp'))).reply, OK);
        // The router offers SLAAC too, and that address alone is enough for an answer.
        let leased: readonly string[] = [];
        for (let tries = 0; tries < 100 && !leased.some(isLease); tries += 1) {
          await sleep(100);
          leased = namespace.kernel().interfaces['eth0']!.addresses;
        }
        assert.ok(leased.some(isLease), leased.join('\n'));

        assert.deepEqual((await namespace.reset(STATIC)).reply, OK);
        const kernel = await namespace.settles(STATIC.wanted, 5000);
        assert.deepEqual(kernel.inWordsOf(STATIC.wanted), normal(STATIC.wanted), 'nothing of the lease is left');
      });
    }
  }
});
