/** The whole agent as systemd's service in a booted system: from dom0's xenstore-write to the answer. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { readInput } from '../network/inputs.js';
import { suites } from '../support/debian-root.js';
import { documentedHooks } from '../support/documented-hooks.js';
import { Dom0, localTools } from '../support/dom0.js';
import { startXenstored } from '../support/xenstored.js';
import { normal } from './kernel.js';
import { Namespace } from './namespace.js';
import { STACKS } from './stacks.js';

const DOMAIN = 7;
const OK = { kind: 'ok', message: '' } as const;
/** What the unit of the package has, and a machine without Xen has not. */
const DROP_IN = '[Unit]\nConditionVirtualization=\n\n[Service]\nExecStart=\n';

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
      await using store = await startXenstored('c', namespace.shared);
      const endpoint = `/shared/${(await store.addDomain(DOMAIN)).slice(namespace.shared.length + 1)}`;
      await namespace.write({
        '/etc/systemd/system/guestwire.service.d/test.conf': `${DROP_IN}ExecStart=/usr/bin/node /guestwire/dist/guestwire.js run --store ${endpoint}\n`,
      });
      await namespace.link({
        '/etc/systemd/system/guestwire.service': '/guestwire/packaging/systemd/guestwire.service',
      });
      const vpn = 'office-vpn.service';
      await namespace.write({
        [`/etc/systemd/system/${vpn}`]: '[Service]\nExecStart=/usr/bin/sleep infinity\n',
      });
      const hooks = [...documentedHooks()].filter(([name]) => name.endsWith('/resetnetwork/50-office-vpn'));
      assert.equal(hooks.length, 2);
      for (const [name, script] of hooks) await namespace.write({ [`/etc/guestwire/hooks/${name}`]: script }, 0o755);
      await stack.prepare(namespace);
      const dom0 = new Dom0(localTools(store.socket), DOMAIN);
      // As a toolstack leaves them: the guest's own, and the rest for it to read.
      await dom0.publish({ data: '', 'vm-data': '' });
      await dom0.tool('chmod', '-r', dom0.path('data'), `n${DOMAIN}`);
      await dom0.tool('chmod', '-r', dom0.path('vm-data'), 'n0', `r${DOMAIN}`);
      namespace.inside('systemctl', 'start', 'guestwire.service', vpn);
      const started = (): string => namespace.inside('systemctl', 'show', '-p', 'ExecMainPID', vpn);
      const before = started();

      const input = readInput('public-and-private');
      await dom0.publish({
        'vm-data/hostname': input.hostname!,
        ...Object.fromEntries(
          Object.entries(input.networking!).map(([id, record]) => [`vm-data/networking/${id}`, JSON.stringify(record)]),
        ),
      });
      assert.deepEqual(await dom0.call('resetnetwork', ''), OK);
      // The hook after it is not waited for, but it has run when the next command has.
      assert.equal((await dom0.call('keyinit', '5')).kind, 'ok');
      namespace.script(`for i in $(seq 100); do systemctl is-active -q ${vpn} && exit; sleep 0.1; done; exit 1`);
      assert.notEqual(started(), before, 'the service was stopped and started again');
      const journal = namespace.inside('journalctl', '-o', 'cat', '-u', 'guestwire.service');
      assert.match(
        journal,
        /before\/resetnetwork.*hook finished[^]*command finished[^]*after\/resetnetwork.*hook finished/,
      );
      assert.deepEqual(namespace.kernel().inWordsOf(input.wanted), normal(input.wanted));
      assert.equal(namespace.inside('hostnamectl', 'hostname').trim(), 'web1');
      assert.match(namespace.inside('resolvectl', 'dns', 'eth0'), /192\.0\.2\.53 2001:db8:53::53/);

      // A VIF that is not there: the others stay, and the answer names it.
      const unplugged = { mac: '52:54:00:aa:00:09', ips: [{ ip: '192.0.2.9', netmask: 24 }] };
      await dom0.publish({ 'vm-data/networking/525400AA0009': JSON.stringify(unplugged) });
      const partial = await dom0.answer(await dom0.send('{"name": "resetnetwork", "value": ""}'));
      assert.match(partial, /Configured eth0 eth1; left alone: .*Unknown interface MAC 52:54:00:aa:00:09/);

      assert.deepEqual(await dom0.setPassword('a new one', 'default'), OK);
      assert.match(namespace.inside('systemctl', 'show', '-p', 'StatusText', 'guestwire.service'), /Serving/);
      namespace.inside('systemctl', 'stop', 'guestwire.service');
      assert.deepEqual(
        namespace.kernel().inWordsOf(input.wanted),
        normal(input.wanted),
        'the network outlives the agent',
      );
    });
  }
});
