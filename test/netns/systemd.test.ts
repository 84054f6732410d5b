/** The whole agent as systemd's service in a booted system: from dom0's xenstore-write to the answer. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { readInput } from '../network/inputs.js';
import { suites } from '../support/debian-root.js';
import { documentedHooks } from '../support/documented-hooks.js';
import { normal } from './kernel.js';
import { Namespace } from './namespace.js';
import { Service } from './service.js';
import { STACKS } from './stacks.js';

const OK = { kind: 'ok', message: '' } as const;

const stack = STACKS.find(({ name }) => name === 'systemd-networkd')!;

suite('servers of names', () => {
  for (const release of suites()) {
    // What ifupdown's own hook for it does in Debian 12 does not reach it.
    test(`reach systemd-resolved where ifupdown has the network, in ${release}`, { timeout: 120_000 }, async () => {
      await using namespace = new Namespace(release, 'full');
      await namespace.write({
        '/etc/hosts': '127.0.0.1\tlocalhost\n',
        '/etc/network/interfaces': 'auto lo\niface lo inet loopback\n',
      });
      await namespace.mask('NetworkManager.service', 'systemd-networkd.service', 'systemd-networkd.socket');
      await namespace.boot();
      const { reply, programs } = await namespace.reset(readInput('many-servers'));
      assert.deepEqual(reply, { returncode: '0', message: '' });
      assert.ok(programs.includes('ifup eth0'), programs.join('\n'));
      const dns = namespace.inside('resolvectl', 'dns');
      for (const server of ['192.0.2.53', '192.0.2.54', '2001:db8:53::53', '2001:db8:53::54']) {
        assert.ok(dns.includes(server), dns);
      }
    });
  }
});

suite('the agent as a service', () => {
  for (const release of suites()) {
    test(`of systemd in ${release}`, { timeout: 300_000 }, async () => {
      await using namespace = new Namespace(release, stack.kind);
      await using service = await Service.install(namespace);
      const { dom0 } = service;
      const vpn = 'office-vpn.service';
      await namespace.write({
        [`/etc/systemd/system/${vpn}`]: '[Service]\nExecStart=/usr/bin/sleep infinity\n',
      });
      const hooks = [...documentedHooks()].filter(([name]) => name.endsWith('/resetnetwork/50-office-vpn'));
      assert.equal(hooks.length, 2);
      for (const [name, script] of hooks) await namespace.write({ [`/etc/guestwire/hooks/${name}`]: script }, 0o755);
      await stack.prepare(namespace);
      namespace.inside('systemctl', 'start', vpn);
      service.control('start');
      const started = (): string => namespace.inside('systemctl', 'show', '-p', 'ExecMainPID', vpn);
      const before = started();

      const input = readInput('public-and-private');
      await service.publish(input);
      const plan = (): string => namespace.inside('guestwire', 'plan', 'network');
      assert.match(plan(), /^run: networkctl /m);
      assert.deepEqual(await dom0.call('resetnetwork', ''), OK);
      // The hook after it is not waited for, but it has run when the next command has.
      assert.equal((await dom0.call('keyinit', '5')).kind, 'ok');
      namespace.script(`for i in $(seq 100); do systemctl is-active -q ${vpn} && exit; sleep 0.1; done; exit 1`);
      assert.notEqual(started(), before, 'the service was stopped and started again');
      assert.match(
        service.journal,
        /before\/resetnetwork.*hook finished[^]*command finished[^]*after\/resetnetwork.*hook finished/,
      );
      assert.deepEqual(namespace.kernel().inWordsOf(input.wanted), normal(input.wanted));
      assert.equal(namespace.inside('hostnamectl', 'hostname').trim(), 'web1');
      assert.match(namespace.inside('resolvectl', 'dns', 'eth0'), /192\.0\.2\.53 2001:db8:53::53/);

      assert.match(plan(), /^# networkd\n# the network is already as wanted: there is nothing to do\n$/);

      // A VIF that is not there: the others stay, and the answer names it.
      const unplugged = { mac: '52:54:00:aa:00:09', ips: [{ ip: '192.0.2.9', netmask: 24 }] };
      await dom0.publish({ 'vm-data/networking/525400AA0009': JSON.stringify(unplugged) });
      const partial = await dom0.answer(await dom0.send('{"name": "resetnetwork", "value": ""}'));
      assert.match(partial, /Configured eth0 eth1; not as wanted: .*Unknown interface MAC 52:54:00:aa:00:09/);

      assert.deepEqual(await dom0.setPassword('a new one', 'default'), OK);
      assert.match(service.show('StatusText'), /^Serving/);
      service.control('stop');
      assert.deepEqual(
        namespace.kernel().inWordsOf(input.wanted),
        normal(input.wanted),
        'the network outlives the agent',
      );
    });
  }
});
