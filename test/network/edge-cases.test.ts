/**
 * What real users have run into, in the numbers of the project's research (25 cases), and what the agent before this one
 * got wrong. Cases about passwords are elsewhere:
 *
 * - 14, a shadow file that lost its SELinux label: `an existing file keeps its mode, owner and attributes` in
 *   test/host/unix/files.test.ts, and `extended attributes and ACLs are copied` in test/binding/system.test.ts.
 * - 24, hashes that crypt(3) does not take: `hashes are those of crypt(3), for any password` in
 *   test/binding/system.test.ts.
 * - A moment without /etc/shadow: `a crash at any point of a change leaves the old state or, once confirmed, the new` in
 *   test/host/unix/files.test.ts; shadow is written by the same function.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parse } from 'yaml';
import { AgentError } from '../../ts/api/errors.js';
import type { FileStatus, Host, Nic } from '../../ts/api/host.js';
import { decide } from '../../ts/network/decide.js';
import { gather } from '../../ts/network/act/gather.js';
import { type NetworkFacts, type NetworkPlan, type Resolver, withChanges } from '../../ts/network/plan.js';
import { RENDERERS } from '../../ts/network/renderers/index.js';
import { compare } from '../../ts/network/act/verify.js';
import { compareBoot } from '../../ts/network/proof.js';
import { casesOf, factsOf } from './cases.js';
import { ETH0, ETH1, nic, publishedBy, readInput } from './inputs.js';
import { READERS } from './readers/index.js';

type Files = Readonly<Record<string, string>>;
type Given = Parameters<typeof factsOf>[0];

interface Setting extends Omit<Given, 'input'> {
  /** Instead of those of the renderer's golden cases, or besides. */
  readonly files?: Files;
  readonly only?: Files;
}

interface Planned {
  readonly facts: NetworkFacts;
  readonly plan: NetworkPlan;
  /** Once the plan was carried out. */
  readonly files: ReadonlyMap<string, string>;
  readonly after: NetworkFacts;
}

/** `name`'s plan for a machine of its golden cases. */
function planned(name: string, { files = {}, only, ...given }: Setting): Planned {
  const { facts: start } = casesOf(name).find((one) => one.name === 'public-and-private')!;
  const before = new Map([...(only === undefined ? start.files : Object.entries(only)), ...Object.entries(files)]);
  const facts = factsOf({ present: [...start.present], resolver: start.resolver, ...given }, before);
  return outcome(facts, name);
}

function outcome(facts: NetworkFacts, name: string): Planned {
  const plan = decide(facts, RENDERERS);
  assert.equal(plan.renderer, name);
  const after = withChanges(facts, plan.files);
  return { facts, plan, files: after.files, after };
}

function forInput(name: string, input: string): Planned {
  const { networking = {}, networks = {} } = readInput(input);
  return planned(name, { networking, networks });
}

/** Renderers with golden cases. */
const BIG = RENDERERS.map(({ name }) => name).filter((name) => name !== 'direct');

/** The texts of the files that `plan` writes, one after the other. */
function written({ plan }: Planned): string {
  return plan.files
    .map((change) => (change.type === 'write' ? Buffer.from(change.content).toString('utf8') : ''))
    .join('\n');
}

function commands(plan: NetworkPlan): readonly string[] {
  return [...plan.before, ...plan.after, ...plan.restore].flatMap((action) =>
    action.type === 'run' ? [action.argv.join(' ')] : [],
  );
}

function record(mac: string, address: string, more: Readonly<Record<string, unknown>> = {}): unknown {
  const [ip, netmask] = address.split('/');
  const key = address.includes(':') ? 'ip6s' : 'ips';
  return { mac, [key]: [{ ip, netmask, enabled: '1' }], ...more };
}

const ONE = { A: record(ETH0.mac, '192.0.2.4/24') };

interface FakeMachine {
  readonly store: Files;
  readonly files?: Files;
  readonly links?: Files;
  readonly nics?: readonly Nic[];
}

/** A machine that is only looked at. */
function fakeHost({ store, files = {}, links = {}, nics = [ETH0, ETH1] }: FakeMachine): Host {
  const never = (): never => {
    throw new Error('nothing may be changed');
  };
  const status = (type: 'file' | 'link', target: string | null): FileStatus => {
    return { type, mode: 0o644, uid: 0, gid: 0, size: 0, target };
  };
  const children = (paths: readonly string[], directory: string): string[] => {
    const inside = paths.filter((path) => path.startsWith(directory)).map((path) => path.slice(directory.length));
    return [...new Set(inside.map((path) => path.split('/')[0]!))].sort();
  };
  return {
    live: false,
    files: {
      read: (path) => {
        const text = files[links[path] ?? path];
        return Promise.resolve(text === undefined ? null : Buffer.from(text));
      },
      readInHome: never,
      readPart: never,
      readText: never,
      list: (path) => Promise.resolve(children(Object.keys(files), path.endsWith('/') ? path : `${path}/`)),
      status: (path) => {
        const target = links[path];
        if (target !== undefined) return Promise.resolve(status('link', target));
        return Promise.resolve(path in files ? status('file', null) : null);
      },
      resolve: (path) => {
        const target = links[path] ?? path;
        return Promise.resolve(target in files ? target : null);
      },
      sealed: () => Promise.resolve(null),
      commit: never,
      check: never,
      recover: never,
    },
    processes: { run: never },
    store: {
      read: (path) => Promise.resolve(store[path] ?? null),
      list: (path) => Promise.resolve(children(Object.keys(store), `${path}/`)),
    },
    network: {
      nics: () => Promise.resolve(nics),
      live: never,
      change: never,
      ipv6Settings: never,
      setIpv6: never,
      hostname: () => Promise.resolve('old'),
      setHostname: never,
    },
    state: {
      // Nothing is remembered.
      read: () => Promise.resolve(null),
      write: never,
      remove: never,
      list: never,
      readBytes: never,
      writeBytes: never,
      exclusively: never,
    },
    accounts: { hashPassword: never, lock: never, setPassword: never, loginState: never },
    system: { kernel: never },
  };
}

/** By renderer, what has to stand in a file of that name. */
type Expected = Readonly<Record<string, readonly [path: string, text: string | RegExp]>>;

function expect(expected: Expected, planOf: (name: string) => Planned): void {
  for (const name of BIG) {
    const [path, text] = expected[name] ?? assert.fail(`nothing is expected of ${name}`);
    const found = planOf(name).files.get(path) ?? '';
    const holds = typeof text === 'string' ? found.includes(text) : text.test(found);
    assert.ok(holds, `${name}: ${path} has no ${String(text)}:\n${found}`);
  }
}

const [INTERFACES, RC_CONF, CONF_D_NET] = ['/etc/network/interfaces', '/etc/rc.conf', '/etc/conf.d/net'];
const OUR_NETPLAN = '/etc/netplan/60-guestwire.yaml';
const networkFile = (name: string): string => `/etc/systemd/network/05-guestwire-${name}.network`;
const profile = (name: string): string => `/etc/NetworkManager/system-connections/guestwire-${name}.nmconnection`;
const script = (name: string): string => `/etc/sysconfig/network-scripts/${name}`;
const suse = (name: string): string => `/etc/sysconfig/network/${name}`;
const netctlProfile = (name: string): string => `/etc/netctl/guestwire-${name}`;
const [RC_INET1, RC_LOCAL] = ['/etc/rc.d/rc.inet1.conf', '/etc/rc.d/rc.local'];

suite('cases that real users hit', () => {
  test('1: a gateway outside the subnet gets a way to it, in the form that each stack takes', () => {
    const gateway = '198.51.100.1';
    const expected: Expected = {
      netplan: [
        OUR_NETPLAN,
        new RegExp(`via: "${gateway}"\n +on-link: true|to: "${gateway}/32"\n +scope: link\n[^]*via: "${gateway}"\n`),
      ],
      networkd: [
        networkFile('eth0'),
        new RegExp(`Gateway=${gateway}\nGatewayOnLink=yes|=${gateway}/32\nScope=link[^]*\nGateway=${gateway}\n`),
      ],
      networkmanager: [profile('eth0'), `gateway=${gateway}\n`],
      ifupdown: [
        INTERFACES,
        new RegExp(`replace ${gateway}/32 dev eth0 scope link .*[^]*replace default via ${gateway} dev eth0`),
      ],
      ifcfg: [script('route-eth0'), `${gateway}/32 dev eth0 scope link\ndefault via ${gateway} dev eth0\n`],
      wicked: [suse('ifroute-eth0'), `${gateway}/32 - - eth0\ndefault ${gateway} - eth0\n`],
      netifrc: [CONF_D_NET, `default via ${gateway} onlink`],
      netctl: [netctlProfile('eth0'), `Routes=('default via ${gateway} onlink')`],
      slackware: [RC_LOCAL, `ip -4 route replace default via ${gateway} dev eth0 onlink\n`],
      rcconf: [
        RC_CONF,
        new RegExp(
          `static_routes=".*guestwire0:eth0"[^]*defaultrouter="${gateway}"[^]*"-host ${gateway} -interface eth0"`,
        ),
      ],
    };
    expect(expected, (name) => forInput(name, 'gateway-outside-the-subnet'));
    const { facts } = forInput('networkd', 'gateway-outside-the-subnet');
    const addresses = [{ nic: 'eth0', address: '203.0.113.10', prefix: 32, unusable: false, dynamic: false }];
    // A stack that has never set it, such as networkd without the keyword, is found out.
    const mismatch = compare(facts.interfaces, { nics: [ETH0], addresses, routes: [] });
    assert.deepEqual(mismatch, { wanted: `default via ${gateway} on eth0`, got: 'none' });
  });

  test('1: a gateway in the network of any of the addresses needs no way to it', () => {
    for (const name of BIG) {
      assert.doesNotMatch(
        written(forInput(name, 'gateway-in-the-second-subnet')),
        /on-?link\b|scope:? link|Scope=link| - - |-iface/i,
        name,
      );
    }
  });

  test('2: a link-local gateway goes with its device, and link-local addresses stay on', () => {
    const expected: Expected = {
      netplan: [OUR_NETPLAN, 'to: "::/0"\n          via: "fe80::1"\n'],
      networkd: [networkFile('eth0'), /LinkLocalAddressing=ipv6\n[^]*\nGateway=fe80::1\n$/],
      networkmanager: [profile('eth0'), 'method=manual\naddress1=2001:db8:10::10/64\ngateway=fe80::1\n'],
      ifupdown: [INTERFACES, 'post-up ip -6 route replace default via fe80::1 dev eth0'],
      ifcfg: [script('ifcfg-eth0'), 'IPV6_DEFAULTGW=fe80::1%eth0\n'],
      wicked: [suse('ifroute-eth0'), 'default fe80::1 - eth0\n'],
      netifrc: [CONF_D_NET, 'default via fe80::1'],
      netctl: [netctlProfile('eth0'), /Gateway6=fe80::1\n|default via fe80::1/],
      slackware: [RC_LOCAL, 'ip -6 route replace default via fe80::1 dev eth0\n'],
      rcconf: [RC_CONF, 'ipv6_defaultrouter="fe80::1%eth0"\n'],
    };
    expect(expected, (name) => forInput(name, 'public-and-private'));
    for (const name of BIG) {
      assert.doesNotMatch(written(forInput(name, 'ipv6-link-local-gateway')), /fe80::1\/128|onlink/i, name);
    }
  });

  test('3: netplan joins the lists of all files, so our devices are defined in one of them only', () => {
    const foreign = `network:
  version: 2
  ethernets:
    eth0: {addresses: [192.0.2.99/24], routes: [{to: 0.0.0.0/0, via: 192.0.2.254}]}
    second: {match: {macaddress: "52:54:00:AA:00:02"}, dhcp4: true}
    third: {match: {name: eth1}, set-name: eth1}
    kept0: {dhcp4: true}
`;
    const only = { '/etc/netplan/50-cloud-init.yaml': foreign };
    const { files } = planned('netplan', { networking: readInput('public-and-private').networking!, only });
    const definitions = [...files.values()].map((text) => parse(text) as { network: { ethernets: object } });
    const names = definitions.flatMap(({ network }) => Object.keys(network.ethernets)).sort();
    assert.deepEqual(names, ['eth0', 'eth1', 'kept0']);
    const all = [...files.values()].join('\n');
    assert.equal(all.match(/0\.0\.0\.0\/0/g)?.length, 1);
    assert.doesNotMatch(all, /192\.0\.2\.(99|254)/);
  });

  test("4: netplan's file is root's alone, and files of others keep the mode they have", () => {
    const { plan } = forInput('netplan', 'one-address');
    const modes = plan.files.map((change) => [change.path, change.type === 'write' ? change.exactMode : null]);
    assert.deepEqual(modes, [
      ['/etc/netplan/50-cloud-init.yaml', undefined],
      [OUR_NETPLAN, true],
    ]);
    assert.ok(plan.files.every((change) => change.type === 'write' && change.mode === 0o600));
  });

  test("5: NetworkManager's profile is root's alone before it is loaded, and loaded before it is activated", () => {
    const { plan } = forInput('networkmanager', 'one-address');
    const change = plan.files.find(({ path }) => path === profile('eth0'));
    assert.ok(change?.type === 'write' && change.mode === 0o600 && change.exactMode === true);
    const run = plan.after.flatMap((action) => (action.type === 'run' ? [action.argv.join(' ')] : []));
    const load = run.findIndex((text) => text.includes('connection load') && text.includes(profile('eth0')));
    assert.ok(load >= 0 && load < run.findIndex((text) => text.includes('connection up')));
  });

  const NM_PRESENT = ['/usr/sbin/NetworkManager', '/etc/systemd/system/multi-user.target.wants/NetworkManager.service'];

  test('6: where NetworkManager runs, a keyfile is written, and ifcfg files of the device start nothing any more', () => {
    const only = {
      [script('ifcfg-eth0')]: 'DEVICE=eth0\nBOOTPROTO=dhcp\nONBOOT=yes\n',
      [script('ifcfg-eth0:1')]: 'DEVICE=eth0:1\nIPADDR=192.0.2.77\n',
      [script('ifcfg-eth1')]: 'DEVICE=eth1\nBOOTPROTO=dhcp\n',
      '/run/NetworkManager/devices/2': '[device]\nmanaged=true\n',
    };
    const present = [...NM_PRESENT, script('ifup-eth'), '/etc/rc.d/rc3.d/S10network'];
    const { plan, files } = planned('networkmanager', { networking: ONE, only, present });
    assert.ok(plan.files.some(({ path }) => path === profile('eth0')));
    assert.equal(files.get(script('ifcfg-eth0')), 'DEVICE=eth0\nBOOTPROTO=dhcp\nONBOOT=no\n');
    assert.equal(files.get(script('ifcfg-eth0:1')), 'DEVICE=eth0:1\nIPADDR=192.0.2.77\nONBOOT=no\n');
    assert.equal(files.get(script('ifcfg-eth1')), only[script('ifcfg-eth1')]);
    const port = { ...only, [script('ifcfg-eth0')]: 'DEVICE=eth0\nBRIDGE=br0\n' };
    assert.throws(
      () => planned('networkmanager', { networking: ONE, only: port, present }),
      /which \/etc\/sysconfig\/network-scripts\/ifcfg-eth0 makes a port of br0: it belongs on br0/,
    );
  });

  test('7: on SUSE all routes of both families stand in ifroute, and no gateway in ifcfg', () => {
    const networking = {
      A: {
        ...(record(ETH0.mac, '192.0.2.4/24') as object),
        ip6s: [{ ip: '2001:db8::4', netmask: 64 }],
        gateway: '192.0.2.1',
        gateway_v6: 'fe80::1',
        routes: [
          { route: '10.0.0.0', netmask: '255.0.0.0', gateway: '192.0.2.9' },
          { route: '2001:db8:1::', netmask: 'ffff:ffff:ffff::', gateway: '2001:db8::9' },
        ],
      },
    };
    const { files } = planned('wicked', { networking });
    const routes = (files.get(suse('ifroute-eth0')) ?? '').split('\n').filter((line) => /^[^#]/.test(line));
    assert.deepEqual(routes.sort(), [
      '10.0.0.0/8 192.0.2.9 - eth0',
      '2001:db8:1::/48 2001:db8::9 - eth0',
      'default 192.0.2.1 - eth0',
      'default fe80::1 - eth0',
    ]);
    assert.doesNotMatch(files.get(suse('ifcfg-eth0')) ?? '', /GATEWAY/);
  });

  for (const name of BIG) {
    test(`8: a device that has another name since the last time is found by its MAC: ${name}`, () => {
      const { after, facts } = planned(name, { networking: ONE });
      const { interfaces } = factsOf({ networking: ONE, nics: [nic('enX0', ETH0.mac, { index: 7 })] }, new Map());
      const { files } = outcome({ ...after, interfaces }, name);
      const speaking = (texts: ReadonlyMap<string, string>): readonly string[] =>
        [...texts].flatMap(([path, text]) =>
          text
            .split('\n')
            // What somebody has called it is no name of a device.
            .filter((line) => /\beth0\b/.test(line) && !/^\s*[#;]|^NAME=/.test(line))
            .map((line) => (path.includes('eth0') ? `${path}: ${line}` : line)),
        );
      const foreign = speaking(facts.files);
      assert.deepEqual(
        speaking(files).filter((line) => !foreign.includes(line)),
        [],
      );
      assert.ok([...files].some(([path, text]) => path.includes('enX0') || /\benX0\b/.test(text)));
    });
  }

  test('9: a device is matched by its MAC only where that is burnt in, or else by its name', () => {
    const nics = (permanentMac: string | null): Given['nics'] => [{ ...ETH0, permanentMac }];
    for (const [permanentMac, isMatched] of [
      [null, false],
      ['52:54:00:ff:ff:ff', false],
      [ETH0.mac, true],
    ] as const) {
      const setting = { networking: ONE, nics: nics(permanentMac)! };
      const text = (name: string, path: string): string => planned(name, setting).files.get(path) ?? '';
      assert.equal(text('netplan', OUR_NETPLAN).includes('macaddress'), isMatched);
      assert.equal(text('networkd', networkFile('eth0')).includes('MACAddress='), isMatched);
      assert.equal(text('networkmanager', profile('eth0')).includes('mac-address='), isMatched);
      if (isMatched) continue;
      assert.match(text('netplan', OUR_NETPLAN), /^ {4}"eth0":$/m);
      assert.match(text('networkd', networkFile('eth0')), /^Name=eth0$/m);
      assert.match(text('networkmanager', profile('eth0')), /^interface-name=eth0$/m);
    }
  });

  test('10: a VLAN, bridge or bond with the MAC of the device is not configured in its place', async () => {
    const { store } = { store: { 'vm-data/networking/A': JSON.stringify(ONE.A) } };
    const borrowed = ['vlan', 'bridge', 'bond'].map((kind) =>
      nic(`${kind}0`, ETH0.mac, { kind, physical: false, driver: null }),
    );
    const { facts } = await gather(fakeHost({ store, nics: [...borrowed, ETH0] }), RENDERERS, 0);
    assert.deepEqual(
      facts.interfaces.map((config) => config.nic.name),
      ['eth0'],
    );
    // networkd's match by MAC would meet them too.
    const nics = [{ ...ETH0, permanentMac: ETH0.mac }];
    assert.match(written(planned('networkd', { networking: ONE, nics })), /^\[Match\]\n([^[]*\n)?(Name|Type)=/m);
    const enslaved = gather(fakeHost({ store, nics: [{ ...ETH0, master: 'br0' }] }), RENDERERS, 0);
    await assert.rejects(enslaved, { code: 'GW_NETWORK_INVALID', message: /eth0 is part of br0/ });
  });

  test('11: resolv.conf is never written where it is a link, and its maker is told', async () => {
    const store = {
      'vm-data/networking/A': JSON.stringify(record(ETH0.mac, '192.0.2.4/24', { dns: ['192.0.2.53'] })),
    };
    const files = {
      '/etc/network/interfaces': 'auto lo\niface lo inet loopback\n',
      '/sbin/ifup': '',
      '/sbin/resolvconf': '',
      '/run/systemd/resolve/stub-resolv.conf': 'nameserver 127.0.0.53\n',
      '/run/resolvconf/resolv.conf': '# Generated by resolvconf\n',
      '/run/mine': 'nameserver 192.0.2.1\n',
    };
    for (const [target, resolver] of [
      ['/run/systemd/resolve/stub-resolv.conf', 'resolved'],
      ['/run/resolvconf/resolv.conf', 'resolvconf'],
      ['/run/mine', 'other'],
    ] as const) {
      const host = fakeHost({ store, files, links: { '/etc/resolv.conf': target } });
      const { facts } = await gather(host, RENDERERS, 0);
      assert.equal(facts.resolver, resolver);
      const { plan } = outcome(facts, 'ifupdown');
      assert.ok(!plan.files.some(({ path }) => path === '/etc/resolv.conf' || path.startsWith('/run/')));
      assert.equal(
        plan.files.some(({ path }) => path.startsWith('/etc/systemd/resolved.conf.d/')),
        resolver === 'resolved',
      );
    }
  });

  test("12: ifupdown's servers reach resolved, which does not hear of them from ifupdown", () => {
    const networking = { A: record(ETH0.mac, '192.0.2.4/24', { dns: ['192.0.2.53'] }) };
    const { files, plan } = planned('ifupdown', { networking, resolver: 'resolved' });
    assert.match(files.get('/etc/systemd/resolved.conf.d/60-guestwire.conf') ?? '', /^DNS=192\.0\.2\.53$/m);
    assert.ok(commands(plan).includes('systemctl try-restart systemd-resolved.service'));
  });

  test('13: cloud-init does not undo the network and the name at the next boot', () => {
    for (const name of BIG) {
      const files = { '/etc/cloud/cloud.cfg': 'preserve_hostname: false\n' };
      const after = planned(name, { networking: ONE, files, hostname: 'web1' }).files;
      const told = ['disable-network-config', 'preserve-hostname'].map(
        (what) => parse(after.get(`/etc/cloud/cloud.cfg.d/99-guestwire-${what}.cfg`) ?? '') as unknown,
      );
      assert.deepEqual(told, [
        { network: { config: 'disabled' } },
        { preserve_hostname: true, manage_etc_hosts: false },
      ]);
    }
  });

  test('15: of two stacks on one image the one that holds the device is used, and the other never touched', () => {
    const files = {
      '/etc/network/interfaces': 'auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n',
      '/etc/netplan/50-cloud-init.yaml': 'network: {version: 2, ethernets: {eth0: {dhcp4: true}}}\n',
    };
    const present = ['/usr/sbin/ifup', ...NM_PRESENT];
    const networking = '/etc/systemd/system/multi-user.target.wants/networking.service';
    const link = 'ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-netplan-eth0.network\n';
    const owners = [
      ['netplan', '/run/systemd/netif/links/2', link, '/usr/sbin/netplan'],
      ['ifupdown', '/run/network/ifstate', 'lo=lo\neth0=eth0\n', networking],
      ['networkmanager', '/run/NetworkManager/devices/2', '[device]\nmanaged=true\n', NM_PRESENT[0]],
    ] as const;
    for (const [name, path, text, program] of owners) {
      // Debian's, by which NetworkManager leaves alone what stands in interfaces(5).
      const debian = { '/etc/NetworkManager/NetworkManager.conf': '[main]\nplugins=ifupdown,keyfile\n' };
      const only = { ...files, [path]: text, ...(name === 'ifupdown' ? debian : {}) };
      const { plan } = planned(name, { networking: ONE, only, present: [...present, program ?? ''] });
      const own = { netplan: /netplan/, ifupdown: /\/network\/interfaces/, networkmanager: /NetworkManager/ }[name];
      assert.deepEqual(
        plan.files.map((change) => change.path).filter((changed) => !own.test(changed)),
        [],
      );
      assert.deepEqual(
        commands(plan).filter((command) => /\b(en|dis|un)?(able|mask)\b/.test(command)),
        [],
      );
      // Another one that starts at a boot, too, would bring its own network besides.
      for (const other of ['/usr/sbin/netplan', networking]) {
        if (other === program || (name === 'networkmanager' && other !== networking)) continue;
        const both = { networking: ONE, only, present: [...present, program ?? '', other] };
        assert.throws(
          () => planned(name, both),
          /alone, got DHCP from (netplan|ifupdown) too, which starts at boot, by \/etc\//,
        );
      }
    }
  });

  test('16: on FreeBSD addresses are numbered without a gap, each with its family, and none overwrites another', () => {
    const { networking = {} } = readInput('many-addresses');
    const text = planned('rcconf', { networking, nics: [nic('xn0', ETH0.mac)] }).files.get(RC_CONF) ?? '';
    const aliases = [...text.matchAll(/^ifconfig_xn0_alias(\d+)="(inet6? \S+)/gm)];
    assert.deepEqual(
      aliases.map(([, number]) => Number(number)),
      aliases.map((_, index) => index),
    );
    const all = [...text.matchAll(/^ifconfig_xn0\w*="(inet6?) ([^/\s]+)\/(\d+)/gm)].map(([, ...parts]) => parts);
    const { eth0 } = readInput('many-addresses').wanted;
    assert.deepEqual(
      all.map(([, address]) => address).sort(),
      eth0!.addresses.map((address) => address.replace(/\/.*/, '')).sort(),
    );
    assert.ok(all.every(([family, address]) => (family === 'inet6') === address!.includes(':')));
    // A second address of one network has a mask of its own, or ifconfig(8) would refuse it.
    const masks = all.filter(([family]) => family === 'inet').map(([, address, prefix]) => `${address!}/${prefix!}`);
    const inFull = masks.filter((mask) => !mask.endsWith('/32')).map((mask) => mask.replace(/\.\d+\//, '.0/'));
    assert.equal(new Set(inFull).size, inFull.length);
    assert.match(text, /^ifconfig_xn0="inet /m);
    assert.match(text, /^ifconfig_xn0_ipv6="inet6 /m);
  });

  test('17: busybox takes neither a prefix beside an address nor a second stanza of a family nor accept_ra', () => {
    const { networking = {} } = readInput('many-addresses');
    const text = planned('ifupdown', { networking }).files.get(INTERFACES) ?? '';
    const ours = text.slice(text.indexOf('# BEGIN guestwire'));
    assert.doesNotMatch(ours, /^\s*address \S+\//m);
    assert.doesNotMatch(ours, /^\s*(accept_ra|autoconf|privext)/m);
    const stanzas = ours.match(/^iface \S+ \S+/gm) ?? [];
    assert.equal(new Set(stanzas).size, stanzas.length);
    assert.ok(stanzas.length >= 2);
  });

  test('18: router advertisements are off on every device of ours, also without any IPv6', () => {
    const expected: Expected = {
      netplan: [OUR_NETPLAN, /"eth1":[^]*accept-ra: false/],
      networkd: [networkFile('eth1'), 'IPv6AcceptRA=no'],
      networkmanager: [profile('eth1'), /\[ipv6\][^[]*method=link-local/],
      ifupdown: [INTERFACES, 'pre-up echo 0 > /proc/sys/net/ipv6/conf/eth1/accept_ra || true'],
      ifcfg: [script('ifcfg-eth1'), 'IPV6INIT=yes\nIPV6_AUTOCONF=no\nIPV6_FORCE_ACCEPT_RA=no\n'],
      wicked: [suse('ifsysctl-eth1'), 'net.ipv6.conf.$INTERFACE.accept_ra = 0'],
      netifrc: ['/etc/sysctl.d/60-guestwire.conf', 'net.ipv6.conf.eth1.accept_ra = 0'],
      netctl: [netctlProfile('eth1'), 'IP6=static'],
      slackware: [RC_INET1, 'USE_SLAAC[1]=""\n'],
      // An assignment of its own, or that of ifconfig_DEFAULT would count.
      rcconf: [RC_CONF, 'ifconfig_eth1_ipv6=""\n'],
    };
    expect(expected, (name) => forInput(name, 'public-and-private'));
    const facts = factsOf({ networking: ONE, present: ['/proc/sys/kernel/ostype'] }, new Map());
    assert.deepEqual(outcome(facts, 'direct').plan.after[0], {
      type: 'ipv6',
      nic: 'eth0',
      settings: { advertisements: 'ignored', autoconfiguration: false },
    });
  });

  const TWO_GATEWAYS = {
    A: record(ETH0.mac, '10.1.2.4/16', {
      gateway: '10.1.0.1',
      label: 'private',
      routes: [{ route: '10.200.0.0', netmask: '255.255.0.0', gateway: '10.1.0.1' }],
    }),
    B: record(ETH1.mac, '192.0.2.4/24', { gateway: '192.0.2.1', label: 'public' }),
  };

  for (const [name, without] of [
    ['networkd', /^LinkLocalAddressing=no$/m],
    ['netplan', /^ {6}link-local: \[\]$/m],
    ['networkmanager', /^\[ipv6\]\n[^[]*^method=disabled$/m],
  ] as const) {
    test(`${name} is to have no IPv6 where the MTU is too small for it, which would raise the MTU`, () => {
      for (const mtu of [1279, 1280]) {
        const text = written(planned(name, { networking: { A: record(ETH0.mac, '192.0.2.4/24', { mtu }) } }));
        assert.equal(without.test(text), mtu === 1279, text);
      }
    });
  }

  for (const name of ['ifupdown', 'netplan', 'networkd', 'networkmanager']) {
    test(`${name}: an MTU goes from a device that is to have none, or is taken down, whatever the other one has`, () => {
      const networkOf = (mtu0: number | null, mtu1: number | null): Record<string, unknown> => ({
        A: record(ETH0.mac, '192.0.2.4/24', { mtu: mtu0 }),
        B: record(ETH1.mac, '10.1.0.4/24', { mtu: mtu1 }),
      });
      const { facts: old, files } = planned(name, { networking: networkOf(null, 9000) });
      const restored = (networking: Record<string, unknown>, ...live: readonly string[]): readonly string[] => {
        const now = {
          ...factsOf({ networking, nics: [ETH0, { ...ETH1, mtu: 9000 }], present: [...old.present] }, files),
          configured: old.interfaces,
          live: live.map((nic) => ({ nic, address: '10.1.0.4' })),
        };
        return decide(now, RENDERERS).after.flatMap((action) =>
          action.type === 'mtu' ? [`${action.nic} ${action.mtu}`] : [],
        );
      };
      const { A, B } = networkOf(9000, null);
      assert.deepEqual(restored({ A, B }, 'eth0', 'eth1'), ['eth1 1500']);
      assert.deepEqual(restored({ A }, 'eth0', 'eth1'), ['eth1 1500']);
      assert.deepEqual(restored({ A }, 'eth0'), [], 'a device that is away');
    });
  }

  test('an MTU of the old definition goes with it, now as at the next boot, and one that a boot has all the same stays', () => {
    const lan = '[Match]\nName=eth0\n[Network]\nDHCP=yes\n[Link]\nMTUBytes=1400\n';
    const eni = 'auto eth0\niface eth0 inet dhcp\n    mtu 1400\n';
    const profile = '[connection]\nid=a\nuuid=a\ntype=ethernet\ninterface-name=eth0\n[ethernet]\nmtu=1400\n';
    const by = 'auto eth1\niface eth1 inet manual\n    up ip link set eth0 mtu 1400\n';
    for (const [present, path, text, ...wanted] of [
      [
        '/etc/systemd/system/multi-user.target.wants/systemd-networkd.service',
        '/etc/systemd/network/lan.network',
        lan,
        'eth0 1500',
      ],
      ['/sbin/ifup', '/etc/network/interfaces', eni, 'eth0 1500'],
      ['/usr/sbin/NetworkManager', '/etc/NetworkManager/system-connections/a', profile, 'eth0 1500'],
      ['/sbin/ifup', '/etc/network/interfaces', `${eni}${by}`],
    ] as const) {
      const networking = { A: record(ETH0.mac, '192.0.2.4/24') };
      const nics = [{ ...ETH0, mtu: 1400 }];
      const facts = factsOf({ networking, nics, present: [present] }, new Map([[path, text]]));
      const mtus = decide(facts, RENDERERS).after.flatMap((action) =>
        action.type === 'mtu' ? [`${action.nic} ${action.mtu}`] : [],
      );
      assert.deepEqual(mtus, wanted, text);
    }
  });

  test("19: of two gateways the public one's is the default, and the other is used by its routes only", () => {
    for (const name of BIG) {
      const { files } = planned(name, { networking: TWO_GATEWAYS });
      const found = READERS[name]!.read(files);
      assert.deepEqual(found.get('eth0')?.routes, ['10.200.0.0/16 via 10.1.0.1'], name);
      assert.deepEqual(found.get('eth1')?.routes, ['default via 192.0.2.1'], name);
    }
  });

  test('20: nothing is configured for a device that is not there, which a boot would wait for', () => {
    const absent = '52:54:00:00:00:09';
    const networking = { ...ONE, B: record(absent, '198.51.100.4/24') };
    const { interfaces } = factsOf({ networking: ONE }, new Map());
    for (const name of BIG) {
      const { facts, plan } = planned(name, { networking: ONE });
      assert.deepEqual(facts.interfaces, interfaces);
      assert.doesNotMatch(JSON.stringify(plan), new RegExp(`198\\.51\\.100\\.4|${absent}`, 'i'));
    }
    assert.throws(() => planned('networkd', { networking }), /Unknown interface MAC 52:54:00:00:00:09/);
  });

  test("21: Red Hat's routes are lines of ip route, each family in its own file", () => {
    const networking = {
      A: {
        ...(record(ETH0.mac, '192.0.2.4/24') as object),
        ip6s: [{ ip: '2001:db8::4', netmask: 64 }],
        routes: [
          { route: '10.0.0.0', netmask: 8, gateway: '192.0.2.9' },
          { route: '2001:db8:1::', netmask: 48, gateway: '2001:db8::9' },
          { route: '10.1.0.0', netmask: 16, gateway: '192.0.2.9', metric: 5 },
        ],
      },
    };
    const { files } = planned('ifcfg', { networking });
    const lines = (name: string): readonly string[] =>
      (files.get(script(name)) ?? '').split('\n').filter((line) => /^[^#]/.test(line));
    assert.deepEqual(lines('route-eth0'), [
      '10.0.0.0/8 via 192.0.2.9 dev eth0',
      '10.1.0.0/16 via 192.0.2.9 dev eth0 metric 5',
    ]);
    assert.deepEqual(lines('route6-eth0'), ['2001:db8:1::/48 via 2001:db8::9 dev eth0']);
  });

  test('22: a server stands in the section of its family, and in none whose method takes no servers', () => {
    const networking = { A: record(ETH0.mac, '192.0.2.4/24', { dns: ['2001:db8:53::53', '192.0.2.53'] }) };
    const text = planned('networkmanager', { networking, resolver: 'networkmanager' }).files.get(profile('eth0')) ?? '';
    const [, v4 = '', v6 = ''] = /\[ipv4\]([^[]*)\[ipv6\]([^[]*)/.exec(text) ?? [];
    assert.match(v4, /^dns=192\.0\.2\.53;$/m);
    assert.match(v6, /^method=link-local$/m);
    assert.doesNotMatch(v6, /^dns=/m);
    const both = { A: { ...(networking.A as object), ip6s: [{ ip: '2001:db8::4', netmask: 64 }] } };
    const more =
      planned('networkmanager', { networking: both, resolver: 'networkmanager' }).files.get(profile('eth0')) ?? '';
    assert.match(more, /\[ipv4\][^[]*\ndns=192\.0\.2\.53;\n[^[]*\[ipv6\][^[]*\ndns=2001:db8:53::53;\n/);
  });

  test('a plain resolv.conf has the servers first to which a way leads, as it has no room for all', () => {
    const networking = {
      A: record(ETH0.mac, '192.0.2.4/24', { gateway: '192.0.2.1', dns: ['2001:db8::53', '192.0.2.51', '192.0.2.52'] }),
      B: record(ETH1.mac, '10.1.0.4/24', { dns: ['192.0.2.53'] }),
    };
    const text = planned('ifupdown', { networking, resolver: 'file' }).files.get('/etc/resolv.conf') ?? '';
    assert.match(text, /^nameserver 192\.0\.2\.51\nnameserver 192\.0\.2\.52\nnameserver 192\.0\.2\.53\n$/m);
  });

  test("NetworkManager gives systemd-resolved an interface's own servers, also where it does not lead out", () => {
    const domains = (resolver: Resolver, ...dns: readonly string[]): readonly boolean[] => {
      const networking = {
        A: record(ETH0.mac, '192.0.2.4/24', { gateway: '192.0.2.1', dns: ['192.0.2.51'] }),
        B: record(ETH1.mac, '10.1.0.4/24', { dns }),
      };
      const { files } = planned('networkmanager', { networking, resolver });
      return ['eth0', 'eth1'].map((name) => /^dns-search=~\.;$/m.test(files.get(profile(name)) ?? ''));
    };
    assert.deepEqual(domains('resolved', '192.0.2.51', '192.0.2.53'), [true, true]);
    assert.deepEqual(domains('resolved', '192.0.2.51'), [false, false], 'which the other one has, too');
    assert.deepEqual(domains('networkmanager', '192.0.2.53'), [false, false], 'where it writes resolv.conf itself');
  });

  test("a device that systemd-networkd is to leave alone does not get somebody else's network, now or at a boot", () => {
    const wired = '/etc/systemd/network/20-wired.network';
    const other = { [wired]: '[Match]\nName=eth*\n\n[Network]\nAddress=198.51.100.250/24\n' };
    const ours = '/etc/systemd/network/05-guestwire-eth1.network';
    const after = (only: Files): string | undefined => {
      const both = planned('networkd', { networking: { ...ONE, B: record(ETH1.mac, '10.1.0.4/24') }, only });
      const one = planned('networkd', { networking: ONE, only: Object.fromEntries(both.files) });
      const again = planned('networkd', { networking: ONE, only: Object.fromEntries(one.files) });
      assert.deepEqual(again.plan.files, []);
      return one.files.get(ours);
    };
    assert.match(after(other) ?? '', /\n\[Network\]\nDHCP=no\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n$/);
    assert.equal(after({}), undefined);
  });

  test('23: no backup is left where it would be read, and backups of others are not edited', async () => {
    for (const name of BIG) {
      const { plan } = forInput(name, 'public-and-private');
      assert.deepEqual(
        plan.files.map(({ path }) => path).filter((path) => /~|\.(bak|old|orig|save)|\d{9}/.test(path)),
        [],
      );
    }
    const store = { 'vm-data/networking/A': JSON.stringify(ONE.A) };
    const files = { '/etc/network/interfaces.d/a~': 'iface eth0 inet dhcp\n', '/etc/network/interfaces.d/.b': 'x\n' };
    const { facts } = await gather(fakeHost({ store, files }), RENDERERS, 0);
    assert.deepEqual([...facts.files.keys()], []);
  });

  test('25: a clone gets the MACs that it has, and those of nobody are named in the error', async () => {
    const mac = '52:54:00:cc:00:01';
    const old = { [script('ifcfg-eth0')]: 'DEVICE=eth0\nHWADDR=52:54:00:AA:00:01\nBOOTPROTO=dhcp\n' };
    const networking = { A: record(mac, '192.0.2.4/24') };
    const text = planned('ifcfg', { networking, nics: [nic('eth0', mac)], only: old }).files.get(script('ifcfg-eth0'));
    assert.match(text ?? '', /^HWADDR=52:54:00:CC:00:01$/m);
    assert.doesNotMatch(text ?? '', /AA:00:01/);
    const nobody = { ...networking, B: record('52:54:00:cc:00:02', '192.0.2.5/24') };
    const store = Object.fromEntries(
      [...publishedBy({ networking: nobody }).networking].map(([id, one]) => [`vm-data/networking/${id}`, one]),
    );
    const { facts, recordErrors } = await gather(fakeHost({ store, nics: [nic('eth0', mac)] }), RENDERERS, 0);
    assert.equal(facts.interfaces.length, 1);
    assert.deepEqual(recordErrors, ['B: Unknown interface MAC 52:54:00:cc:00:02']);
    await assert.rejects(gather(fakeHost({ store, nics: [] }), RENDERERS, 0), {
      code: 'GW_NETWORK_INVALID',
      message: /Unknown interface MAC 52:54:00:cc:00:01; .*Unknown interface MAC 52:54:00:cc:00:02/,
    });
  });
});

suite('addresses that only the link knows', () => {
  for (const name of RENDERERS.map((renderer) => renderer.name)) {
    test(`${name}: that of XenServer's management network is set as wanted, and one that nobody wants is no other network`, () => {
      const both = [record(ETH0.mac, '192.0.2.4/24'), record(ETH1.mac, '169.254.0.9/255.255.0.0')];
      const networking = { A: both[0], B: both[1] };
      const setting = { networking, ...(name === 'direct' ? { present: ['/proc/sys/kernel/ostype'] } : {}) };
      const { after } = name === 'direct' ? outcome(factsOf(setting, new Map()), name) : planned(name, setting);
      const renderer = RENDERERS.find((one) => one.name === name)!;
      assert.deepEqual(renderer.boot(after, ETH1)?.addresses, [{ address: '169.254.0.9', prefix: 16 }]);
      assert.equal(compareBoot(after, renderer), null);
      const [first, second] = after.interfaces;
      const interfaces = [first!, { ...second!, ipv4: [{ address: '198.51.100.4', prefix: 24 }] }];
      assert.match(compareBoot({ ...after, interfaces }, renderer)?.wanted ?? '', /^198\.51\.100\.4\/24 on eth1/);
      assert.equal(compareBoot({ ...after, interfaces: [first!, { ...second!, ipv4: [] }] }, renderer), null);
    });
  }
});

suite('what the agent before this one got wrong', () => {
  test('stale route files of Red Hat were kept', () => {
    const routes = [{ route: '10.0.0.0', netmask: 8, gateway: '192.0.2.9' }];
    const files = { [script('route-eth0')]: 'ADDRESS1=10.0.0.0\nNETMASK1=255.0.0.0\nGATEWAY1=192.0.2.9\n' };
    assert.ok(!planned('ifcfg', { networking: ONE, files }).files.has(script('route-eth0')));
    const { after } = planned('ifcfg', { networking: { A: record(ETH0.mac, '192.0.2.4/24', { routes }) } });
    assert.ok(after.files.has(script('route-eth0')));
    const { interfaces } = factsOf({ networking: ONE }, new Map());
    assert.ok(!outcome({ ...after, interfaces }, 'ifcfg').files.has(script('route-eth0')));
  });

  test('routes of an alias went to the file of the alias', () => {
    const { plan } = forInput('ifcfg', 'many-addresses');
    const paths = plan.files.filter(({ type }) => type === 'write').map(({ path }) => path);
    assert.deepEqual(
      paths.filter((path) => path.includes(':')),
      [],
    );
  });

  test('two defaults of one family were refused on two systems only', () => {
    const networking = {
      A: record(ETH0.mac, '192.0.2.4/24', { gateway: '192.0.2.1' }),
      B: record(ETH1.mac, '198.51.100.4/24', { gateway: '198.51.100.1' }),
    };
    for (const name of BIG) {
      const found = READERS[name]!.read(planned(name, { networking }).files);
      const defaults = ['eth0', 'eth1'].map((one) =>
        found.get(one)?.routes.filter((route) => route.startsWith('default')),
      );
      assert.deepEqual(defaults, [['default via 192.0.2.1'], []], name);
    }
  });

  test('every interface was taken down before the files were known to be good', () => {
    const text = 'auto lo eth0 tun0\niface lo inet loopback\niface eth0 inet dhcp\niface tun0 inet manual\n';
    const { plan } = planned('ifupdown', { networking: ONE, only: { [INTERFACES]: text } });
    assert.deepEqual(
      plan.before.flatMap((action) => (action.type === 'run' ? [action.argv.join(' ')] : [])),
      ['ifdown --force eth0', 'ip addr flush dev eth0 scope global'],
    );
    // A file that cannot be read stops everything while nothing has been run.
    const only = { '/etc/netplan/01-broken.yaml': 'network: {ethernets: [' };
    assert.throws(() => planned('netplan', { networking: ONE, only }), { code: 'GW_NETWORK_INVALID' });
  });

  test('nothing was left but loopback when there was no data, or none that was any good', async () => {
    const nothing = gather(fakeHost({ store: {} }), RENDERERS, 0);
    await assert.rejects(nothing, { code: 'GW_NETWORK_EMPTY', message: /nothing was changed/ });
    const ips = [{ ip: '192.0.2.4', netmask: '255.255.255.0', enabled: '0' }];
    for (const text of ['', 'x', '[]', JSON.stringify({ mac: ETH0.mac, ips }), JSON.stringify({ mac: ETH0.mac })]) {
      const host = fakeHost({ store: { 'vm-data/networking/A': text } });
      await assert.rejects(gather(host, RENDERERS, 0), (error: unknown) => {
        return error instanceof AgentError && error.code === 'GW_NETWORK_INVALID';
      });
    }
  });

  test('a bad host name went to the files, and an empty one', async () => {
    for (const name of ['bad;touch /x', '', 'UPPER_case', 'a'.repeat(70)]) {
      const store = { 'vm-data/networking/A': JSON.stringify(ONE.A), 'vm-data/hostname': name };
      await assert.rejects(gather(fakeHost({ store }), RENDERERS, 0), {
        code: 'GW_NETWORK_INVALID',
        message: /vm-data\/hostname: /,
      });
    }
  });

  test('the machine was named after its distribution when the host wanted no name', async () => {
    const store = { 'vm-data/networking/A': JSON.stringify(ONE.A) };
    const { facts } = await gather(fakeHost({ store }), RENDERERS, 0);
    assert.equal(facts.hostname, null);
    for (const name of BIG) {
      const { plan } = planned(name, { networking: ONE });
      const naming = /hostname|HOSTNAME|\/etc\/hosts/;
      assert.deepEqual(
        plan.files.map(({ path }) => path).filter((path) => naming.test(path)),
        [],
      );
      assert.ok(!plan.after.some(({ type }) => type === 'set-hostname'));
    }
  });

  test('on Gentoo routes via the default gateway were dropped', () => {
    const networking = {
      A: record(ETH0.mac, '192.0.2.4/24', {
        gateway: '192.0.2.1',
        routes: [{ route: '10.0.0.0', netmask: 8, gateway: '192.0.2.1' }],
      }),
    };
    for (const name of BIG) {
      const found = READERS[name]!.read(planned(name, { networking }).files).get('eth0');
      assert.deepEqual([...(found?.routes ?? [])].sort(), ['10.0.0.0/8 via 192.0.2.1', 'default via 192.0.2.1'], name);
    }
  });

  test('on FreeBSD IPv6 had the names of before 9.0, which are read no more', () => {
    const files = { [RC_CONF]: 'ipv6_enable="YES"\nipv6_ifconfig_xn0="2001:db8::99/64"\n' };
    const networking = { A: { ...(record(ETH0.mac, '2001:db8::4/64', { gateway_v6: 'fe80::1' }) as object) } };
    const text = planned('rcconf', { networking, nics: [nic('xn0', ETH0.mac)], only: files }).files.get(RC_CONF) ?? '';
    assert.doesNotMatch(text, /ipv6_enable|ipv6_ifconfig_|2001:db8::99/);
    assert.match(text, /^ifconfig_xn0_ipv6="inet6 2001:db8::4\/64/m);
    assert.match(text, /^ipv6_defaultrouter="fe80::1%xn0"$/m);
  });

  test("on Gentoo the name's key was in capitals, which OpenRC does not read", () => {
    const files = { '/etc/conf.d/hostname': 'hostname="old"\n' };
    const after = planned('netifrc', { networking: ONE, files, hostname: 'web1' }).files;
    assert.equal(after.get('/etc/conf.d/hostname'), 'hostname="web1"\n');
  });

  test('on SUSE stale ifroute files were kept', () => {
    const files = { [suse('ifroute-eth0')]: '10.0.0.0/8 192.0.2.9 - eth0\n' };
    assert.doesNotMatch(planned('wicked', { networking: ONE, files }).files.get(suse('ifroute-eth0')) ?? '', /^10\./m);
    assert.ok(planned('wicked', { networking: ONE, files }).files.has(suse('ifroute-eth2')));
  });

  test("on SUSE further addresses had labels that are none, such as LABEL_0='0'", () => {
    const text = forInput('wicked', 'many-addresses').files.get(suse('ifcfg-eth0')) ?? '';
    assert.ok((text.match(/^IPADDR/gm)?.length ?? 0) >= 5);
    assert.doesNotMatch(text, /LABEL/);
  });

  test('resolv.conf was moved away, and lost where there was no resolvconf', () => {
    const networking = { A: record(ETH0.mac, '192.0.2.4/24', { dns: ['192.0.2.53'] }) };
    const files = { '/etc/resolv.conf': 'search example.org\nnameserver 192.0.2.1\n' };
    for (const resolver of ['file', 'resolved', 'resolvconf', 'networkmanager', 'netconfig', 'other'] as const) {
      for (const name of BIG) {
        const { plan, files: after } = planned(name, { networking, files, resolver });
        assert.match(after.get('/etc/resolv.conf') ?? '', /^search example\.org$/m);
        assert.ok(!plan.files.some(({ path }) => path.startsWith('/etc/resolvconf/')));
        assert.ok(!plan.files.some((change) => change.type === 'remove' && change.path.includes('resolv')));
      }
    }
  });

  test('servers of names stood in disorder, and further ones than three', () => {
    const servers = ['2001:db8::53', '192.0.2.54', '192.0.2.53', '192.0.2.55', '192.0.2.53'];
    const networking = { A: record(ETH0.mac, '192.0.2.4/24', { dns: servers }) };
    const files = { '/etc/resolv.conf': '' };
    const after = planned('ifupdown', { networking, files, resolver: 'file' }).files.get('/etc/resolv.conf');
    assert.equal(after, 'nameserver 192.0.2.53\nnameserver 192.0.2.54\nnameserver 192.0.2.55\n');
  });

  test('a label could end a comment and start a line of its own', () => {
    const label = 'a\npost-up touch /tmp/x\r\n"; $(reboot) `reboot`';
    for (const name of BIG) {
      const outcomes = planned(name, { networking: { A: record(ETH0.mac, '192.0.2.4/24', { label }) } });
      const lines = written(outcomes).split(/[\r\n]/);
      assert.deepEqual(
        lines.filter((line) => /touch|reboot/.test(line) && !/^\s*#/.test(line)),
        [],
        name,
      );
    }
  });
});
