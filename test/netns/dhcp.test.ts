/** Addresses from the network instead of the host: the stacks' own clients, and a real server at the other end. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Input, readInput } from '../network/inputs.js';
import { suites, unpacked } from '../support/debian-root.js';
import { normal } from './kernel.js';
import { ETH0, NEIGHBOUR, Namespace } from './namespace.js';
import { comesBack, settledSnapshot, snapshot } from './snapshot.js';
import { stacksOf } from './stacks.js';

// For the agent in the namespace.
process.env['GUESTWIRE_VERIFY_MS'] = '20000';

const STATIC = readInput('public-and-private');
const INTERFACES = '/etc/network/interfaces';
const OK = { returncode: '0', message: '' };
/** They use a client of somebody else's, which their roots do not have, or none. */
const WITHOUT_CLIENT = ['ifupdown-ng', 'ifupdown of busybox', 'netctl', 'direct'];

const isLease = (address: string): boolean => /^2001:db8:77::1..\/128$/.test(address);

/** In place of dhclient. */
function withClient(namespace: Namespace, release: string, client: 'udhcpc' | 'dhcpcd'): void {
  if (namespace.has('/usr/sbin/dhclient')) namespace.hide('/usr/sbin/dhclient');
  const packages = client === 'dhcpcd' ? ['dhcpcd-base'] : ['busybox-static', 'udhcpc'];
  namespace.lay(unpacked(release, ...packages));
}

/** Until both families have an address from there that can be used, and a default route. */
async function comesFromNetwork(namespace: Namespace): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    const shown = snapshot(namespace).filter((line) => /^(address|route): /.test(line));
    const has = (pattern: RegExp): boolean => shown.some((line) => pattern.test(line) && !line.includes('tentative'));
    if ([/ inet 192.0.2.1[0-4][0-9]/, / inet6 .* dynamic/, /: default via 192/, /: default via fe80/].every(has))
      return;
    assert.ok(tries < 300, shown.join('\n'));
    await sleep(100);
  }
}

/** The neighbour has the wanted address, so the reset is undone. */
async function failsAndLeavesAsBefore(namespace: Namespace): Promise<void> {
  await comesFromNetwork(namespace);
  const before = await settledSnapshot(namespace);
  const ip6s = [{ ip: NEIGHBOUR, netmask: 64 }];
  const ips = [{ ip: '192.0.2.9', netmask: '24' }];
  const { reply } = await namespace.reset({ networking: { a: { mac: ETH0, ips, ip6s } } });
  assert.match(reply.message, new RegExp(`^Network was put back: wanted ${NEIGHBOUR}/64 on eth0, got `));
  await comesBack(namespace, before);
}

suite('addresses from the network', { concurrency: 2 }, () => {
  for (const release of suites()) {
    for (const stack of stacksOf(release).filter(({ name }) => !WITHOUT_CLIENT.includes(name))) {
      test(`${stack.name} of ${release}`, { timeout: 300_000 }, async () => {
        await using namespace = new Namespace(release, stack.kind);
        await namespace.serveAddresses();
        await stack.prepare(namespace);
        if (stack.name === 'ifupdown') {
          // As Debian installs it: the agent has set nothing yet, and the kernel listens to routers by its own default.
          namespace.script('ifup eth0');
          await failsAndLeavesAsBefore(namespace);
        }
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

        await failsAndLeavesAsBefore(namespace);

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

  for (const release of suites()) {
    test(`ifupdown of ${release} as cloud images have it`, { timeout: 300_000 }, async () => {
      await using namespace = new Namespace(release);
      await namespace.serveAddresses();
      await namespace.write({
        '/etc/hosts': '127.0.0.1\tlocalhost\n',
        '/etc/network/interfaces':
          'source-directory /etc/network/interfaces.d\nsource-directory /run/network/interfaces.d\n' +
          'auto lo\niface lo inet loopback\n',
        '/etc/resolv.conf': '',
      });
      await namespace.start();
      // Their udev helper writes one for each device that no other file knows.
      namespace.script(
        'mkdir /run/network/interfaces.d && cd /run/network/interfaces.d && ' +
          "printf 'auto eth0\\nallow-hotplug eth0\\n\\niface eth0 inet dhcp\\n' > eth0 && ifup eth0",
      );
      await failsAndLeavesAsBefore(namespace);
      assert.deepEqual((await namespace.reset(STATIC)).reply, OK);
      const kernel = await namespace.settles(STATIC.wanted, 5000);
      assert.deepEqual(kernel.inWordsOf(STATIC.wanted), normal(STATIC.wanted));
    });
  }

  for (const release of suites()) {
    for (const client of ['udhcpc', 'dhcpcd'] as const) {
      for (const name of ['ifupdown', 'ifupdown-ng']) {
        test(`${client} as ${name} of ${release} starts it`, { timeout: 300_000 }, async () => {
          const stack = stacksOf(release).find((one) => one.name === name)!;
          await using namespace = new Namespace(release, stack.kind);
          await namespace.serveAddresses();
          withClient(namespace, release, client);
          await stack.prepare(namespace);
          namespace.script(`echo 'dhcpcd:x:998:65534::/usr/lib/dhcpcd:/bin/false' >> /etc/passwd`);
          if (name === 'ifupdown-ng') namespace.script(`printf 'auto eth0\\niface eth0 inet dhcp\\n' >> ${INTERFACES}`);
          namespace.script('ifup eth0');
          await failsAndLeavesAsBefore(namespace);
          assert.deepEqual((await namespace.reset(STATIC)).reply, OK);
          const kernel = await namespace.settles(STATIC.wanted, 5000);
          assert.deepEqual(kernel.inWordsOf(STATIC.wanted), normal(STATIC.wanted), 'nothing of the lease is left');
        });
      }
    }
  }
});
