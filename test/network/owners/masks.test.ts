/** Links to /dev/null, which mask a file of the same name in another folder: as a machine has them, on disk. */
import assert from 'node:assert/strict';
import { mkdir, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { inspect } from '../../../ts/network/act/gather.js';
import type { NetworkFacts } from '../../../ts/network/plan.js';
import { RENDERERS } from '../../../ts/network/renderers/index.js';
import { createScratch } from '../../support/scratch.js';
import { createScratchHost } from '../../support/scratch-host.js';
import { factsOf, planOf } from '../cases.js';
import { ETH0 } from '../inputs.js';

const ips = [{ ip: '203.0.113.10', netmask: '255.255.255.0', enabled: '1' }];
const WANTED = factsOf({ networking: { A: { mac: ETH0.mac, ips } } }, new Map());

async function factsWith(
  files: Readonly<Record<string, string>>,
  masked: readonly string[] = [],
): Promise<NetworkFacts> {
  await using scratch = await createScratch();
  for (const [path, text] of Object.entries(files)) await scratch.write(path, text);
  for (const path of masked) {
    await mkdir(dirname(join(scratch.root, path)), { recursive: true });
    await symlink('/dev/null', join(scratch.root, path));
  }
  const host = createScratchHost(scratch);
  const named = { ...host, network: { ...host.network, hostname: () => Promise.resolve('old') } };
  return { ...WANTED, ...(await inspect(named, RENDERERS)) };
}

suite('links that lead to one another', () => {
  test('lead to nothing, and the other files are read', async () => {
    await using scratch = await createScratch();
    await scratch.write('/etc/systemd/network/20-lan.network', '[Match]\nName=eth0\n');
    await symlink('10-a.network', join(scratch.root, '/etc/systemd/network/10-b.network'));
    await symlink('10-b.network', join(scratch.root, '/etc/systemd/network/10-a.network'));
    await symlink('network.d', join(scratch.root, '/etc/systemd/network/20-lan.network.d'));
    await symlink('20-lan.network.d', join(scratch.root, '/etc/systemd/network/network.d'));
    await symlink('resolv.conf', join(scratch.root, '/etc/resolv.conf'));
    await mkdir(join(scratch.root, '/etc/network'));
    await symlink('interfaces', join(scratch.root, '/etc/network/interfaces'));
    const host = createScratchHost(scratch);
    const named = { ...host, network: { ...host.network, hostname: () => Promise.resolve('old') } };
    const { files, resolvConf } = await inspect(named, RENDERERS);
    assert.deepEqual([...files.keys()], ['/etc/systemd/network/20-lan.network']);
    assert.equal(resolvConf?.leadsTo, null);
  });
});

suite('a link to /dev/null', () => {
  const netplan = {
    '/usr/sbin/netplan': '',
    '/lib/netplan/00-network-manager-all.yaml': 'network:\n  version: 2\n  renderer: NetworkManager\n',
    '/etc/netplan/a.yaml': 'network:\n  version: 2\n  ethernets:\n    eth0: {dhcp4: true}\n',
  };
  const mask = '/etc/netplan/00-network-manager-all.yaml';

  test("masks a file of netplan's", async () => {
    const plan = planOf(await factsWith(netplan, [mask]));
    assert.equal(plan.renderer, 'netplan');
    assert.doesNotMatch(JSON.stringify(plan.files), /networkmanager/i);
  });

  test('masks a service that would configure the device besides, and the generator of netplan', async () => {
    const { '/lib/netplan/00-network-manager-all.yaml': manager, ...files } = netplan;
    assert.notEqual(manager, '');
    const link = '/etc/systemd/system/multi-user.target.wants/dhcpcd@eth0.service';
    const beside = { ...files, [link]: '[Service]\n', '/usr/lib/systemd/system/dhcpcd@.service': '[Service]\n' };
    const taken = await factsWith(beside);
    assert.throws(() => planOf(taken), /got dhcpcd@eth0\.service too/);
    assert.equal(planOf(await factsWith(beside, ['/etc/systemd/system/dhcpcd@.service'])).renderer, 'netplan');
    const masked = await factsWith(files, ['/etc/systemd/system-generators/netplan']);
    assert.throws(() => planOf(masked), /wanted netplan to start at boot/);
  });

  test('in place of the file to be written is refused as a mask, by its name', async () => {
    const { '/lib/netplan/00-network-manager-all.yaml': manager, ...files } = netplan;
    assert.notEqual(manager, '');
    const facts = await factsWith(files, ['/etc/netplan/60-guestwire.yaml']);
    assert.throws(() => planOf(facts), {
      code: 'GW_NETWORK_IMPOSSIBLE',
      message: /writing \/etc\/netplan\/60-guestwire\.yaml, which is masked: it is a link to \/dev\/null/,
    });
  });

  test('is no sign that netplan configures the machine', async () => {
    const { '/etc/netplan/a.yaml': own, ...others } = netplan;
    assert.notEqual(own, '');
    const files = { ...others, '/sbin/ifup': '', '/etc/network/interfaces': 'auto eth0\niface eth0 inet dhcp\n' };
    assert.equal(planOf(await factsWith(files, [mask])).renderer, 'ifupdown');
  });

  test('masks a file of sysctl.d', async () => {
    const files = {
      '/etc/rc.d/rc.inet1': '',
      '/usr/lib/sysctl.d/50-six.conf': 'net.ipv6.conf.all.disable_ipv6 = 1\n',
    };
    const facts = await factsWith(files, ['/etc/sysctl.d/50-six.conf']);
    // A scratch file is no program.
    const access = new Map([...(facts.access ?? [])].filter(([path]) => path !== '/etc/rc.d/rc.inet1'));
    const six = { ...WANTED.interfaces[0]!, ipv6: [{ address: '2001:db8::4', prefix: 64 }] };
    assert.equal(planOf({ ...facts, access, interfaces: [six] }).renderer, 'slackware');
  });

  test('in conf.d keeps NetworkManager from starting: it is refused by its name', async () => {
    const files = {
      '/usr/sbin/NetworkManager': '',
      '/usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf': '[keyfile]\nunmanaged-devices=*\n',
    };
    const path = '/etc/NetworkManager/conf.d/10-globally-managed-devices.conf';
    const facts = await factsWith(files, [path]);
    assert.throws(() => planOf(facts), {
      code: 'GW_NETWORK_IMPOSSIBLE',
      message: new RegExp(`${path} is a link to /dev/null`),
    });
    assert.equal(planOf(await factsWith({ ...files, [path]: '' })).renderer, 'networkmanager');
  });
});
