/** What a running agent makes of records that cannot be used, as nova and dom0's tools leave them: nothing is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Agent } from '../support/agent.js';
import { Dom0, localTools } from '../support/dom0.js';
import { GUEST, startGuestStore } from '../support/guest-store.js';
import { type NovaView, novaReads } from '../support/host-view.js';
import { suites } from '../support/debian-root.js';
import { ETH0, ETH1, Namespace } from './namespace.js';
import { STACKS } from './stacks.js';

const [RELEASE = ''] = suites();
const A = 'vm-data/networking/525400AA0001';
const B = 'vm-data/networking/525400AA0002';
const C = 'vm-data/networking/C';
const [FIRST, SECOND] = ['192.0.2.4', '192.0.2.14'].map((ip) => ({ ip, netmask: '255.255.255.0', enabled: '1' }));

function record(mac: string, ip: string, more: object = {}): object {
  return {
    label: 'private',
    mac: mac.toUpperCase(),
    ips: [{ ip, netmask: '255.255.255.0', enabled: '1' }],
    dns: ['192.0.2.53'],
    ...more,
  };
}

const PUBLIC = record(ETH0, '192.0.2.4', { label: 'public', gateway: '192.0.2.1' });
const ROUTES = [{ route: '10.20.0.0', netmask: '255.255.0.0', gateway: '198.51.100.1' }];
const PRIVATE = record(ETH1, '198.51.100.4', { routes: ROUTES });

/** What nova and the tools of dom0 make of a reset; nova takes 500 for success of it. */
async function reset(dom0: Dom0): Promise<{ readonly view: NovaView | null; readonly message: string }> {
  const printed = await dom0.answer(await dom0.send('{"name": "resetnetwork", "value": ""}'));
  return { view: novaReads(printed, ['0', '500']), message: (JSON.parse(printed) as { message: string }).message };
}

/** Addresses with their lifetimes, routes, and every file of the network. */
function snapshot(namespace: Namespace, device: string): string {
  return namespace.script(`
    ip -o address show dev ${device} scope global | sed 's/^[0-9]*: //'
    ip -4 route show dev ${device}; ip -6 route show dev ${device} | grep -v '^fe80'
    cd /etc && find network resolv.conf hosts hostname -type f | sort | xargs sha256sum`);
}

/** What the tools leave of a record whose label has quotes: each lost its backslash, and the text is no JSON any more. */
const QUOTED = JSON.stringify({ ...PRIVATE, label: 'my "own" net' });
const UNUSABLE: readonly (readonly [what: string, nodes: Readonly<Record<string, string>>, reason: RegExp])[] = [
  ['a label with quotes that lost their escapes', { [B]: QUOTED }, /: not JSON$/],
  [
    'a bad netmask',
    { [B]: JSON.stringify(PRIVATE).replace('"netmask":"255.255.255.0"', '"netmask":"255.0.255.0"') },
    /525400AA0002: 'netmask': expected a mask of IPv4 or a prefix length, got '255\.0\.255\.0'$/,
  ],
  [
    'a netmask of 0',
    { [B]: JSON.stringify(PRIVATE).replace('"netmask":"255.255.255.0"', '"netmask":"0.0.0.0"') },
    /525400AA0002: 'netmask': expected a mask other than 0, got '0\.0\.0\.0' for 198\.51\.100\.4$/,
  ],
  [
    'a second record that says something else',
    { [C]: JSON.stringify(record(ETH1, '198.51.100.5')) },
    /C: a second record for 52:54:00:aa:00:02$/,
  ],
];

test('an interface whose record cannot be used any more keeps addresses, routes and files, by ifupdown', async (t) => {
  const stack = STACKS.find(({ name }) => name === 'ifupdown')!;
  await using namespace = new Namespace(RELEASE, stack.kind);
  await stack.prepare(namespace);
  await using store = await startGuestStore('embedded', namespace.shared);
  const dom0 = new Dom0(localTools(store.dom0), GUEST);
  const good = async (): Promise<void> => {
    await dom0.tool('rm', dom0.path(C)).catch(() => undefined);
    await dom0.publish({ [A]: JSON.stringify(PUBLIC), [B]: JSON.stringify(PRIVATE) });
  };
  await good();
  const program = ['/usr/bin/node', '/guestwire/dist/guestwire.js', 'run', '--log-level', 'trace'];
  const guest = store.guest.replace(namespace.shared, '/shared');
  await using agent = await Agent.of('nsenter', [...namespace.enter(), ...program, '--store', guest]);
  assert.deepEqual((await reset(dom0)).view, { kind: 'ok', message: '' });
  const before = snapshot(namespace, 'eth1');
  assert.match(before, /inet 198\.51\.100\.4\/24 .*\n[^]*10\.20\.0\.0\/16 via 198\.51\.100\.1/);

  for (const [what, nodes, reason] of UNUSABLE) {
    await t.test(what, async () => {
      // As the plugin calls the tool, which takes escapes apart.
      for (const [node, text] of Object.entries(nodes)) await dom0.tool('write', dom0.path(node), text);
      const { view, message } = await reset(dom0);
      assert.equal(view?.kind, 'error', message);
      assert.match(message, /^Configured eth0; not as wanted: /);
      assert.match(message, reason);
      assert.equal(snapshot(namespace, 'eth1'), before);

      // Also when the other interface changes: then the file that both share is written, and programs run.
      await dom0.publish({ [A]: JSON.stringify({ ...PUBLIC, ips: [FIRST, SECOND] }) });
      assert.equal((await reset(dom0)).view?.kind, 'error');
      assert.match(snapshot(namespace, 'eth0'), /inet 192\.0\.2\.14\/24/);
      const kernel = (text: string): string => text.replaceAll(/^[0-9a-f]{64} .*\n/gm, '');
      assert.equal(kernel(snapshot(namespace, 'eth1')), kernel(before));

      await good();
      assert.deepEqual((await reset(dom0)).view, { kind: 'ok', message: '' });
      assert.equal(snapshot(namespace, 'eth1'), before, 'with the good record all is as it was');
    });
  }

  await t.test('a device that is away for longer than it is waited for, and then plugged again', async () => {
    const eth0 = snapshot(namespace, 'eth0');
    namespace.plug(false);
    const { view, message } = await reset(dom0);
    assert.equal(view?.kind, 'error', message);
    assert.match(message, new RegExp(`^Configured eth0; not as wanted: 525400AA0002: Unknown interface MAC ${ETH1}$`));
    assert.equal(snapshot(namespace, 'eth0'), eth0, 'files of both, and what the other one has');
    namespace.plug(true);
    assert.deepEqual((await reset(dom0)).view, { kind: 'ok', message: '' });
    assert.equal(snapshot(namespace, 'eth1'), before);
  });

  await t.test('but one whose record is taken away goes down, and that is a success', async () => {
    await dom0.tool('rm', dom0.path(B));
    assert.deepEqual((await reset(dom0)).view, { kind: 'ok', message: '' });
    assert.doesNotMatch(snapshot(namespace, 'eth1'), /inet /);
    assert.doesNotMatch(namespace.script('cat /etc/network/interfaces'), /198\.51\.100\.4/);
  });
  assert.ok(agent.running);
});
