/** Which definition takes a device, by ifupdown's rules: aliases, logical names, mappings, ports of bridges and bonds. */
import assert from 'node:assert/strict';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { inspect } from '../../../ts/network/act/gather.js';
import type { NetworkFacts } from '../../../ts/network/plan.js';
import { ifupdown } from '../../../ts/network/renderers/linux/ifupdown.js';
import { createScratchHost } from '../../support/scratch-host.js';
import { createScratch } from '../../support/scratch.js';
import { carriedOut, factsOf } from '../cases.js';
import { ETH0 } from '../inputs.js';

const MAIN = '/etc/network/interfaces';
const LO = 'auto lo\niface lo inet loopback\n\n';
const STATIC = 'inet static\n    address 203.0.113.10\n    netmask 255.255.255.0\n';

function factsWith(files: Readonly<Record<string, string>>, present = ['/sbin/ifup']): NetworkFacts {
  const ips = [{ ip: '203.0.113.10', netmask: '255.255.255.0', enabled: '1' }];
  const networking = { A: { label: 'public', mac: ETH0.mac, ips } };
  return factsOf({ networking, present }, new Map(Object.entries(files)));
}

/** What ifup reads once the plan was carried out: no comments. */
function after(files: Readonly<Record<string, string>>, path = MAIN): string {
  const text = carriedOut(factsWith(files)).files.get(path) ?? '';
  return text.replace(/^\s*#.*\n/gm, '');
}

function argvs(files: Readonly<Record<string, string>>, step: 'before' | 'after' | 'restore'): readonly string[] {
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

  test('the block stands where the first line stood that brought the device up, behind the loopback, and stays there', () => {
    const eth1 = `iface eth1 ${STATIC.replace('.10', '.11')}`;
    const orders: Readonly<Record<string, string>> = {
      [`${LO}auto eth0\niface eth0 ${STATIC}\nauto eth1\n${eth1}`]: 'lo eth0 eth1',
      [`${LO}auto eth1\n${eth1}\nallow-hotplug eth0\niface eth0 ${STATIC}`]: 'lo eth1 eth0',
      [`auto lo eth0 eth1\niface lo inet loopback\niface eth0 ${STATIC}${eth1}`]: 'lo eth1 eth0',
      [`${LO}auto eth0 eth1\niface eth0 ${STATIC}${eth1}`]: 'lo eth0 eth1',
      [`${LO}auto eth1\n${eth1}`]: 'lo eth1 eth0',
    };
    for (const [text, order] of Object.entries(orders)) {
      const now = carriedOut(factsWith({ [MAIN]: text })).files.get(MAIN) ?? '';
      const words = [...now.matchAll(/^(?:auto|allow-hotplug) (.*)$/gm)].map(([, names = '']) => names);
      assert.equal(words.join(' '), order, text);
      assert.equal(carriedOut(factsWith({ [MAIN]: now })).files.get(MAIN), now);
      // Other data for it, in the same place.
      const other = now.replace('203.0.113.10', '203.0.113.99');
      assert.equal(carriedOut(factsWith({ [MAIN]: other })).files.get(MAIN), now);
    }
  });

  test('the way back by the docs brings the device up again, where it shared a line with others', () => {
    const body = '    script /etc/network/where\n    map office\n';
    const text =
      'auto lo eth0\nallow-hotplug eth9 eth0:1\niface lo inet loopback\n' +
      `mapping eth0 eth9\n${body}\niface eth0 ${STATIC}iface eth0:1 ${STATIC.replace('.10', '.11')}`;
    const now = carriedOut(factsWith({ [MAIN]: text })).files.get(MAIN) ?? '';
    const back = now.replace(/^# BEGIN guestwire[^]*?^# END guestwire\n?/m, '').replace(/^#guestwire# /gm, '');
    const words = (keyword: string): readonly string[] =>
      [...back.matchAll(new RegExp(`^${keyword} (.*)$`, 'gm'))].flatMap(([, names = '']) => names.split(' ')).sort();
    assert.deepEqual(words('auto'), ['eth0', 'lo']);
    assert.deepEqual(words('allow-hotplug'), ['eth0:1', 'eth9']);
    assert.deepEqual(words('mapping'), ['eth0', 'eth9']);
    assert.equal(back.split(body).length, 3);
    assert.equal(carriedOut(factsWith({ [MAIN]: now })).files.get(MAIN), now);
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

  test("VLANs that Debian's ifdown takes down with their device are brought up again after it, at once and when the change is undone", () => {
    const text = `${LO}auto eth0 eth0.5\niface eth0 ${STATIC}\niface eth0.5 ${STATIC.replace('.113', '.114')}`;
    const state = 'lo=lo\neth0=eth0\neth0.5=eth0.5\neth0.7=office\neth01.5=eth01.5\n';
    const files = { [MAIN]: text, '/run/network/ifstate': state };
    for (const step of ['after', 'restore'] as const) {
      assert.deepEqual(argvs(files, step), ['ifup eth0', 'ifup eth0.5', 'ifup eth0.7=office'], step);
    }
    const ng = ifupdown.render(factsWith(files, ['/usr/sbin/ifup', '/usr/sbin/ifupdown-ng']));
    assert.equal(ng.after.length, 1, 'ifupdown-ng leaves them up');
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

  test('what is up by a mapping or a logical name is taken down by that, and then by its own name for an undo', () => {
    const mapped = `${LO}auto eth0\nmapping eth0\n    script /bin/where\niface office inet dhcp\n`;
    const logical = `${LO}auto eth0=office\niface office inet dhcp\n`;
    for (const text of [mapped, logical]) {
      const files = { [MAIN]: text, '/run/network/ifstate': 'lo=lo\neth0=office\n' };
      const down = argvs(files, 'before').filter((argv) => argv.startsWith('ifdown'));
      assert.deepEqual(down, ['ifdown --force eth0=office', 'ifdown --force eth0']);
      assert.deepEqual(argvs(files, 'restore'), ['ifup eth0=office']);
    }
  });

  test('what was up comes up in the same order when the change is undone', () => {
    for (const state of ['lo=lo\neth0:1=eth0:1\neth0=eth0\n', 'lo=lo 1 explicit\neth0:1=eth0:1 1\neth0=eth0 2\n']) {
      const files = { [MAIN]: aliases, '/run/network/ifstate': state };
      assert.deepEqual(argvs(files, 'restore'), ['ifup eth0:1', 'ifup eth0']);
    }
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
    ['a bridge', 'iface br0 inet dhcp\n    bridge_ports eth9 eth0\n', /line 5\): it belongs on br0/],
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

  for (const [what, text, message] of [
    ['a rename', 'rename eth0=wan0\n', /"rename eth0=wan0"/],
    ['a rename by pattern', 'rename /eth?/1=wan0\n', /"rename \/eth\?\/1=wan0"/],
    ['a logical name by MAC', 'auto mac/52:54:00:aa:00:01=office\n', /"auto mac\//],
    ['another that inherits from the device', 'iface eth9 inet static inherits eth0\n', /what eth9 inherits from/],
    ["ifupdown-ng's inherit", 'iface eth9\n    inherit eth0\n', /what eth9 inherits from/],
    ['a class of egrep', 'iface br0 inet dhcp\n    bridge_ports regex eth[[:digit:]]+\n', /port of br0/],
    ['what only egrep judges', 'iface br0 inet dhcp\n    bridge_ports regex []e]th[[=0=]]\n', /port of br0/],
    ['a source by variable', 'source $HOME/interfaces\n', /following a "source" line .*, line 4\)/],
  ] as const) {
    test(`${what} is named in the refusal`, () => {
      const code = 'GW_NETWORK_IMPOSSIBLE';
      assert.throws(() => ifupdown.render(factsWith({ [MAIN]: LO + text })), { code, message });
    });
  }

  test('`all` takes the devices that bridge-utils or ifupdown-ng mean by it, and nothing after it is a pattern', () => {
    const nics = [{ name: 'wan0', mac: ETH0.mac }];
    const networking = { A: { mac: ETH0.mac, ips: [{ ip: '203.0.113.10', netmask: '255.255.255.0', enabled: '1' }] } };
    const files = new Map([[MAIN, `${LO}iface br0 inet dhcp\n    bridge_ports all wan.\n`]]);
    const render = (program: string): unknown =>
      ifupdown.render(factsOf({ networking, nics, present: ['/sbin/ifup', program] }, files));
    assert.ok(render('/usr/sbin/ifup'));
    assert.throws(() => render('/sbin/ifupdown-ng'), { message: /port of br0/ });
  });

  test('a class of egrep that does not meet the device is no reason to refuse', () => {
    const text = 'iface br0 inet dhcp\n    bridge_ports regex eth[[:alpha:]]+ veth[^[:digit:]]\n';
    assert.match(after({ [MAIN]: LO + text }), /^iface eth0 inet static$/m);
  });

  test('words on the continued lines of `auto` and `mapping` go, and those of others stay', () => {
    const text = `${LO}auto eth9 \\\n    eth0:1 \\\n    eth8\nmapping eth0 \\\n  eth9\n    script /bin/x\nauto eth0 \\\n  eth0:2\n`;
    const kept = after({ [MAIN]: text });
    assert.match(kept, /^auto eth9 eth8\nmapping eth9\n {4}script \/bin\/x$/m);
    assert.doesNotMatch(kept, /eth0:|\\/);
  });

  test("options of ifupdown-ng's `auto` go with it, and what only requires the device stays", () => {
    const text = `${LO}auto eth0\n    use dhcp\n    requires eth9\n\nauto br9\n    use bridge\n    requires eth0\n`;
    const kept = after({ [MAIN]: text });
    assert.doesNotMatch(kept, /use dhcp|requires eth9/);
    assert.match(kept, /^auto br9\n {4}use bridge\n {4}requires eth0$/m);
  });

  test("a stanza's name is no pattern, and stays", () => {
    const text = 'iface eth* inet dhcp\n';
    assert.ok(after({ [MAIN]: LO + text }).includes(text));
  });

  test('a stanza that a source line leads to goes, one inside the other, and relative to its own file', () => {
    const files = {
      [MAIN]: `source net/*.cfg /srv/[a-c]?\nsource-directory more.d\n${LO}`,
      '/etc/network/net/first.cfg': 'source ../net/deep/x.conf\n',
      '/etc/network/net/deep/x.conf': `auto eth0\niface eth0 ${STATIC}`,
      '/etc/network/net/.hidden.cfg': 'iface br1 inet dhcp\n    bridge_ports eth0\n',
      '/srv/b1': 'iface eth0 inet dhcp\n',
      '/etc/network/more.d/eth0': 'iface eth0 inet dhcp\n',
      '/etc/network/more.d/eth0.bak': 'iface br2 inet dhcp\n    bridge_ports eth0\n',
    };
    for (const path of ['/etc/network/net/deep/x.conf', '/srv/b1', '/etc/network/more.d/eth0']) {
      assert.equal(after(files, path).trim(), '', path);
    }
    const { files: changed } = carriedOut(factsWith(files));
    for (const path of ['/etc/network/net/.hidden.cfg', '/etc/network/more.d/eth0.bak'] as const) {
      assert.equal(changed.get(path), files[path]);
    }
  });

  test('a rival that a source line leads to is named by its own file and line', () => {
    const path = '/opt/site/bridge';
    const files = {
      [MAIN]: `${LO}source /opt/*/bridge\n`,
      [path]: '# ours\niface br0 inet dhcp\n    bridge_ports eth0\n',
    };
    const message = /port of br0 \(\/opt\/site\/bridge, line 3\)/;
    assert.throws(() => ifupdown.render(factsWith(files)), { message });
  });

  test("a name with a dot below source-directory counts where it is not Debian's ifupdown", () => {
    const path = '/etc/network/more.d/a.b';
    const files = { [MAIN]: `${LO}source-directory more.d\n`, [path]: 'iface br0\n    bridge-ports eth0\n' };
    assert.ok(ifupdown.render(factsWith(files)));
    const message = /more\.d\/a\.b, line 2/;
    assert.throws(() => ifupdown.render(factsWith(files, ['/sbin/ifup', '/sbin/ifupdown-ng'])), { message });
  });
});

suite('ifupdown: the files that source lines lead to', () => {
  async function read(files: Readonly<Record<string, string>>, links: Readonly<Record<string, string>> = {}) {
    await using scratch = await createScratch();
    const host = createScratchHost(scratch);
    const network = { ...host.network, hostname: () => Promise.resolve('old') };
    const all = { ...files, '/sbin/ifup': '' };
    for (const [path, text] of Object.entries(all)) await scratch.write(path, text);
    for (const [path, target] of Object.entries(links)) await symlink(target, join(scratch.root, path));
    return await inspect({ ...host, network }, [ifupdown]);
  }

  test('are read, through patterns in any part of the path, hidden names apart', async () => {
    const { files } = await read({
      [MAIN]: `${LO}source /opt/*/net?/[ab]*\nsource-directory ../site\n`,
      '/opt/one/net1/a': 'source deep/*\n',
      '/opt/one/net1/deep/last~': 'auto eth9\n',
      '/opt/one/net1/c': '',
      '/opt/.two/net1/a': '',
      '/etc/site/eth0': 'auto eth0\n',
    });
    const seen = [...files.keys()].filter((path) => /^\/(?:opt|etc\/site)/.test(path)).sort();
    assert.deepEqual(seen, ['/etc/site/eth0', '/opt/one/net1/a', '/opt/one/net1/deep/last~']);
  });

  test('that lead to themselves by a link end, and are refused', async () => {
    const facts = await read({ [MAIN]: `${LO}source loop/interfaces\n` }, { '/etc/network/loop': '/etc/network' });
    const { interfaces } = factsWith({});
    const message = /following a "source" line/;
    assert.throws(() => ifupdown.render({ ...facts, interfaces, hostname: null }), { message });
  });
});
