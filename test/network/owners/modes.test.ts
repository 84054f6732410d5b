/** Modes and owners with which a daemon passes a file over: they are facts like its text. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { inspect } from '../../../ts/network/act/gather.js';
import type { NetworkFacts, NetworkPlan } from '../../../ts/network/plan.js';
import { RENDERERS } from '../../../ts/network/renderers/index.js';
import { type FakeHost, fakeHost } from '../../../ts/testing/fake-host.js';
import type { MemoryFile } from '../../../ts/testing/memory-files.js';
import { factsOf, planOf } from '../cases.js';
import { ETH0 } from '../inputs.js';

const ips = [{ ip: '203.0.113.10', netmask: '255.255.255.0', enabled: '1' }];
const gateway = '203.0.113.1';
const WANTED = factsOf({ networking: { A: { mac: ETH0.mac, ips, gateway } } }, new Map());
const PROFILES = '/etc/NetworkManager/system-connections/';

async function factsIn(host: FakeHost): Promise<NetworkFacts> {
  return { ...WANTED, ...(await inspect(host, RENDERERS)) };
}

async function carryOut(host: FakeHost): Promise<NetworkPlan> {
  const plan = planOf(await factsIn(host));
  await (await host.files.commit(plan.files)).confirm();
  return plan;
}

function pathsOf({ files }: NetworkPlan): readonly string[] {
  return files.map(({ path }) => path);
}

const MACHINES = [
  {
    stack: 'networkmanager',
    files: { '/usr/sbin/NetworkManager': '' },
    own: `${PROFILES}guestwire-eth0.nmconnection`,
    mode: 0o600,
    wrong: [0o644, 0o640],
  },
  {
    stack: 'networkd',
    files: {
      '/etc/systemd/network/80-any.network': '[Match]\nName=*\n[Network]\nDHCP=yes\n',
      '/etc/systemd/system/multi-user.target.wants/systemd-networkd.service': '',
    },
    own: '/etc/systemd/network/05-guestwire-eth0.network',
    mode: 0o644,
    wrong: [0o600],
  },
  {
    stack: 'netplan',
    files: { '/usr/sbin/netplan': '', '/etc/netplan/a.yaml': 'network: {ethernets: {eth0: {dhcp4: true}}}\n' },
    own: '/etc/netplan/60-guestwire.yaml',
    mode: 0o600,
    wrong: [0o644],
  },
] as const;

suite('the mode of a file of ours', () => {
  for (const { stack, files, own, mode, wrong } of MACHINES) {
    for (const other of wrong) {
      test(`${stack}: with ${other.toString(8)} it is not right already, and is put right`, async () => {
        const host = fakeHost({ files });
        assert.equal((await carryOut(host)).renderer, stack);
        assert.deepEqual(pathsOf(await carryOut(host)), []);
        const content = (await host.files.readText(own)) ?? '';
        host.files.put(own, { content, mode: other });
        assert.deepEqual(pathsOf(await carryOut(host)), [own]);
        assert.equal((await host.files.status(own))?.mode, mode);
        assert.equal(await host.files.readText(own), content);
        assert.deepEqual(pathsOf(await carryOut(host)), []);
      });
    }
  }

  test('NetworkManager reads only what is root’s', async () => {
    const [{ files, own }] = MACHINES;
    const host = fakeHost({ files });
    await carryOut(host);
    host.files.put(own, { content: (await host.files.readText(own)) ?? '', mode: 0o600, uid: 1000 });
    assert.deepEqual(pathsOf(await carryOut(host)), [own]);
    assert.equal((await host.files.status(own))?.uid, 0);
    assert.deepEqual(pathsOf(await carryOut(host)), []);
  });
});

suite('a profile that NetworkManager passes over', () => {
  const content =
    '[connection]\nid=top\nuuid=11111111-2222-4333-8444-555555555555\ntype=ethernet\ninterface-name=eth0\n' +
    'autoconnect-priority=999\n[ipv4]\nmethod=auto\n[ipv6]\nmethod=auto\n';
  const vendor = '/usr/lib/NetworkManager/system-connections/top.nmconnection';
  const host = (path: string, file: Omit<MemoryFile, 'content'>): FakeHost => {
    return fakeHost({ files: { '/usr/sbin/NetworkManager': '', [path]: { content, ...file } } });
  };

  for (const [why, file] of [
    ['others may read it', { mode: 0o644 }],
    ['its group may', { mode: 0o640 }],
    ['it is not root’s', { mode: 0o600, uid: 1000 }],
  ] as const) {
    test(`is no rival (${why}), and stays as it is`, async () => {
      for (const path of [vendor, `${PROFILES}top`]) {
        const machine = host(path, file);
        assert.ok(!pathsOf(await carryOut(machine)).includes(path));
        assert.equal(await machine.files.readText(path), content);
      }
    });
  }

  test('with 0600 it is one, and refused where it cannot be changed', async () => {
    const facts = await factsIn(host(vendor, { mode: 0o600 }));
    assert.throws(() => planOf(facts), { code: 'GW_NETWORK_IMPOSSIBLE', message: /priority 999/ });
  });

  test('on a copy it is whoever’s who has unpacked it, and only its mode counts', async () => {
    const files = { '/usr/sbin/NetworkManager': '', [vendor]: { content, mode: 0o600, uid: 1000 } };
    const facts = await factsIn(fakeHost({ files, live: false }));
    assert.throws(() => planOf(facts), { code: 'GW_NETWORK_IMPOSSIBLE', message: /priority 999/ });
  });
});
