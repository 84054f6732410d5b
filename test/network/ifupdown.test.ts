/** Which definition takes a device, by ifupdown's rules: aliases, logical names, mappings, ports of bridges and bonds. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { NetworkFacts } from '../../ts/network/plan.js';
import { ifupdown } from '../../ts/network/renderers/ifupdown.js';
import { carriedOut, factsOf } from './cases.js';
import { ETH0 } from './inputs.js';

const MAIN = '/etc/network/interfaces';
const LO = 'auto lo\niface lo inet loopback\n\n';
const STATIC = 'inet static\n    address 203.0.113.10\n    netmask 255.255.255.0\n';

function factsWith(files: Readonly<Record<string, string>>): NetworkFacts {
  const ips = [{ ip: '203.0.113.10', netmask: '255.255.255.0', enabled: '1' }];
  const networking = { A: { label: 'public', mac: ETH0.mac, ips } };
  return factsOf({ networking, present: ['/sbin/ifup'] }, new Map(Object.entries(files)));
}

/** What ifup reads once the plan was carried out: no comments. */
function after(files: Readonly<Record<string, string>>, path = MAIN): string {
  const text = carriedOut(factsWith(files)).files.get(path) ?? '';
  return text.replace(/^\s*#.*\n/gm, '');
}

function argvs(files: Readonly<Record<string, string>>, step: 'before' | 'restore'): readonly string[] {
  const actions = ifupdown.render(factsWith(files))[step];
  return actions.map((action) => (action.type === 'run' ? action.argv.join(' ') : action.type));
}

suite('ifupdown: which definition takes a device', () => {
  const aliases = `${LO}auto eth0 eth0:1\niface eth0 ${STATIC}\niface eth0:1 ${STATIC.replace('.10', '.11')}`;

  test('an alias of the device goes with it, and so does its word of `auto`', () => {
    const text = after({ [MAIN]: aliases });
    assert.doesNotMatch(text, /eth0:|203\.0\.113\.11/);
    assert.equal(text.match(/^auto .*eth0/gm)?.length, 1);
  });

  test('aliases of IPv6, with two digits, and in other files go, and the words of others stay', () => {
    const part = '/etc/network/interfaces.d/more';
    const files = {
      [MAIN]: `${LO}auto eth9 eth0:12 eth9:1\niface eth9 inet manual\niface eth0:12 inet6 static\n    address 2001:db8::1/64\n`,
      [part]: `allow-hotplug eth0:3\niface eth0:3 ${STATIC}`,
    };
    assert.match(after(files), /^auto eth9 eth9:1$/m);
    assert.doesNotMatch(after(files) + after(files, part), /eth0:|2001:db8/);
  });

  test('an alias is taken down before its device, and brought up again after it when the change is undone', () => {
    assert.deepEqual(argvs({ [MAIN]: aliases }, 'before'), ['ifdown --force eth0:1', 'ifdown --force eth0']);
    assert.deepEqual(argvs({ [MAIN]: aliases }, 'restore'), ['ifup eth0', 'ifup eth0:1']);
  });

  test('what the helper of Debian cloud images wrote below /run goes, and comes back when the change is undone', () => {
    const path = '/run/network/interfaces.d/eth0';
    const main = `source-directory /etc/network/interfaces.d\nsource-directory /run/network/interfaces.d\n${LO}`;
    const files = { [MAIN]: main, [path]: 'auto eth0\nallow-hotplug eth0\n\niface eth0 inet dhcp\n' };
    assert.equal(after(files, path).trim(), '');
    assert.match(after(files), /^iface eth0 inet static$/m);
    assert.deepEqual(argvs(files, 'restore'), ['ifup eth0']);
  });

  test('a logical name of the device goes, and is the one brought up when the change is undone', () => {
    const files = { [MAIN]: `${LO}auto eth0=office eth9\niface office inet dhcp\niface eth9 inet manual\n` };
    assert.match(after(files), /^auto eth9$/m);
    assert.doesNotMatch(after(files), /eth0=/);
    assert.deepEqual(argvs(files, 'restore'), ['ifup eth0=office']);
  });

  test('a mapping of the device alone goes, and one with others loses its name', () => {
    const mapping = 'mapping eth0\n    script /usr/local/bin/where\n    map home\n';
    assert.doesNotMatch(after({ [MAIN]: `${LO}${mapping}` }), /mapping|script|map home/);
    const shared = after({ [MAIN]: `${LO}${mapping.replace('eth0', 'eth0 eth9')}` });
    assert.match(shared, /^mapping eth9\n {4}script /m);
  });

  test('a VLAN and a macvlan on the device stay as they are', () => {
    const upper = `auto eth0.40 vlan7\niface eth0.40 ${STATIC}\niface vlan7 inet manual\n    vlan-raw-device eth0\n`;
    assert.ok(after({ [MAIN]: LO + upper }).includes(upper));
  });

  for (const [what, text, message] of [
    ['a mapping by pattern', 'mapping eth*\n    script /bin/x\n', /given another name by "mapping eth\*"/],
    ['a logical name by pattern', 'auto /eth*=office\niface office inet dhcp\n', /"auto \/eth\*=office"/],
    ['a bridge', 'iface br0 inet dhcp\n    bridge_ports eth9 eth0\n', /line 5\): the host's address belongs on br0/],
    ["ifupdown-ng's bridge", 'iface br0\n    bridge-ports eth0\n', /port of br0/],
    ['a bridge by regex', 'iface br0 inet dhcp\n    bridge_ports regex eth[0-3]\n', /port of br0/],
    ['a bridge of all', 'iface br0 inet dhcp\n    bridge_ports all\n', /port of br0/],
    ['a bridge over two lines', 'iface br0 inet dhcp\n    bridge_ports \\\n    eth0\n', /line 5\)/],
    ['a bond', 'iface bond0 inet dhcp\n    bond-slaves eth0 eth9\n', /port of bond0/],
    ['a bond named by the port', 'iface eth0 inet manual\n    bond-master bond0\n', /belongs on bond0/],
  ] as const) {
    test(`${what} that takes the device is named in the refusal`, () => {
      const code = 'GW_NETWORK_IMPOSSIBLE';
      assert.throws(() => ifupdown.render(factsWith({ [MAIN]: LO + text })), { code, message });
    });
  }

  test('a bridge of other devices is no reason to refuse', () => {
    const text = 'iface br0 inet dhcp\n    bridge_ports eth9 regex veth.* noregex eth.\n';
    assert.match(after({ [MAIN]: LO + text }), /^iface eth0 inet static$/m);
  });
});
