/** Which profile a boot takes, by NetworkManager's rules: priorities, matches, folders, ports, and parents by UUID. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { carriedOut, factsOf, planOf } from '../cases.js';
import { ETH0 } from '../inputs.js';

const ETC = '/etc/NetworkManager/system-connections/';
const VENDOR = '/usr/lib/NetworkManager/system-connections/';
const OURS = `${ETC}guestwire-eth0.nmconnection`;
const WIRED = '11111111-2222-4333-8444-555555555555';
const OTHER = '11111111-2222-4333-8444-666666666666';

type Files = Readonly<Record<string, string>>;

function factsWith(files: Files): Parameters<typeof planOf>[0] {
  const ips = [{ ip: '203.0.113.10', netmask: '255.255.255.0', enabled: '1' }];
  const networking = { A: { label: 'public', mac: ETH0.mac, ips } };
  return factsOf({ networking, present: ['/usr/sbin/NetworkManager'] }, new Map(Object.entries(files)));
}

function after(files: Files): ReadonlyMap<string, string> {
  return carriedOut(factsWith(files)).files;
}

function refusal(files: Files): string {
  try {
    const { renderer } = planOf(factsWith(files));
    return `planned by ${renderer}`;
  } catch (error) {
    return String(error);
  }
}

function priority(files: Files): string | undefined {
  return /^autoconnect-priority=(.*)$/m.exec(after(files).get(OURS) ?? '')?.[1];
}

function profile(connection: string, more = '', uuid = OTHER): string {
  return `[connection]\nid=other\nuuid=${uuid}\ntype=ethernet\n${connection}\n${more}`;
}

const eth0 = profile('interface-name=eth0', '', WIRED);

suite('NetworkManager: which profile takes a device', () => {
  test('ours goes above a profile of any device', () => {
    assert.equal(priority({ [`${ETC}any`]: profile('autoconnect-priority=500') }), '501');
  });

  test('ours stays above a profile of the same priority, which would win by its last use', () => {
    assert.equal(priority({ [`${ETC}any`]: profile('autoconnect-priority=120') }), '121');
  });

  test('a profile of the distribution for this very device is passed by priority', () => {
    const path = `${VENDOR}wired.nmconnection`;
    const text = profile('interface-name=eth0\nautoconnect-priority=300');
    assert.equal(priority({ [path]: text }), '301');
    assert.equal(after({ [path]: text }).get(path), text);
  });

  test('a profile without a section [connection] stays one that NetworkManager reads', () => {
    const path = `${ETC}office.nmconnection`;
    const text = `[ethernet]\nmac-address=${ETH0.mac.toUpperCase()}\n\n[ipv4]\nmethod=auto\n`;
    const now = after({ [path]: text }).get(path);
    assert.equal(now, `[connection]\nautoconnect=false\n\n${text}`);
  });

  test('a profile that one of a folder before it shadows by its UUID does not count', () => {
    const vendor = { [`${VENDOR}a.nmconnection`]: profile('autoconnect-priority=400') };
    assert.equal(priority({ ...vendor, [`${ETC}a`]: profile('autoconnect-priority=200') }), '201');
    assert.equal(priority({ ...vendor, [`${ETC}a`]: profile('autoconnect-priority=200', '', WIRED) }), '401');
  });

  for (const [match, takesIt] of [
    ['interface-name=eth*;!eth1;', true],
    ['interface-name=eth*;!eth0;', false],
    ['interface-name=ens*;eth[01];', true],
    ['interface-name=ens*;', false],
    ['interface-name=|ens*;&eth0;', false],
    ['interface-name=&e*;&*0;', true],
    ['driver=xen_netfront;', true],
    ['kernel-command-line=rescue;', true],
  ] as const) {
    test(`[match] ${match} ${takesIt ? 'may take' : 'does not take'} eth0`, () => {
      const files = { [`${ETC}m`]: profile('autoconnect-priority=200', `[match]\n${match}\n`) };
      assert.equal(priority(files), takesIt ? '201' : '120');
    });
  }

  test('lists of MAC addresses count: those that are the only one, and those that never', () => {
    const given = (line: string): Files => ({
      [`${ETC}m`]: profile('autoconnect-priority=200', `[ethernet]\n${line}\n`),
    });
    assert.equal(priority(given(`mac-address-denylist=${ETH0.mac.toUpperCase()};`)), '120');
    assert.equal(priority(given('mac-address-blacklist=52:54:00:00:00:99;')), '201');
    assert.equal(priority(given('mac-address=52:54:00:00:00:99')), '120');
    // The old form: bytes.
    const taken = (bytes: string): boolean => {
      return /^autoconnect=false$/m.test(after(given(`mac-address=${bytes}`)).get(`${ETC}m`) ?? '');
    };
    assert.deepEqual([taken('82;84;0;170;0;1;'), taken('82;84;0;170;0;9;')], [true, false]);
  });

  test('no priority is higher than 999: the plan refuses, with the name of the profile and its file', () => {
    const path = `${ETC}any`;
    const said = refusal({ [path]: profile('autoconnect-priority=999') });
    assert.match(said, new RegExp(`eth0 .*other \\(${path}, priority 999\\).*nothing was changed`));
    assert.equal(priority({ [path]: profile('autoconnect-priority=999\nautoconnect=false') }), '120');
  });

  const child = (parent: string): string =>
    `[connection]\nid=v\nuuid=${OTHER}\ntype=vlan\ninterface-name=v\n\n[vlan]\nid=9\nparent=${parent}\n`;

  test('a VLAN whose parent is the UUID of the profile of our device gets the name of the device, and nothing else', () => {
    const files = { [`${ETC}eth0`]: eth0, [`${ETC}v`]: child(WIRED) };
    assert.equal(after(files).get(`${ETC}v`), child('eth0'));
    const letters = 'abcdef11-2222-4333-8444-555555555555';
    const capitals = {
      [`${ETC}eth0`]: profile('interface-name=eth0', '', letters.toUpperCase()),
      [`${ETC}v`]: child(letters),
    };
    assert.equal(after(capitals).get(`${ETC}v`), child('eth0'));
    const { after: actions } = planOf(factsWith(files));
    assert.ok(actions.some((one) => one.type === 'run' && one.argv.includes('load') && one.argv.includes(`${ETC}v`)));
  });

  test('a VLAN above another device, by UUID or by name, is left alone', () => {
    for (const parent of [WIRED, 'eth1', '52:54:00:AA:00:01']) {
      const files = { [`${ETC}eth1`]: profile('interface-name=eth1', '', WIRED), [`${ETC}v`]: child(parent) };
      assert.equal(after(files).get(`${ETC}v`), child(parent));
    }
  });

  test('a VLAN of a folder that is not for us, whose parent is the UUID, refuses', () => {
    const path = `${VENDOR}v.nmconnection`;
    assert.match(
      refusal({ [`${ETC}eth0`]: eth0, [path]: child(WIRED) }),
      new RegExp(`eth0: ${path} finds its parent .*nothing was changed`),
    );
  });

  for (const [key, value] of [
    ['controller', 'br0'],
    ['master', 'br0'],
    ['master', OTHER],
  ] as const) {
    test(`a port, by ${key}=${value}, refuses, and the address belongs on br0`, () => {
      const bridge = `[connection]\nid=b\nuuid=${OTHER}\ntype=bridge\ninterface-name=br0\n`;
      const port = profile(`interface-name=eth0\n${key}=${value}\nslave-type=bridge`, '', WIRED);
      const said = refusal({ [`${ETC}b`]: bridge, [`${ETC}p`]: port });
      assert.match(said, /eth0, which .* makes a port of br0: it belongs on br0; nothing was changed/);
    });
  }

  test('a port that is not activated by itself is one when its bridge brings its ports up, and only then', () => {
    const port = profile('interface-name=eth0\nmaster=br0\nautoconnect=false', '', WIRED);
    const bridge = (more: string): string =>
      `[connection]\nid=b\nuuid=${OTHER}\ntype=bridge\ninterface-name=br0\n${more}\n`;
    assert.match(refusal({ [`${ETC}b`]: bridge('autoconnect-slaves=1'), [`${ETC}p`]: port }), /port of br0/);
    assert.equal(refusal({ [`${ETC}b`]: bridge(''), [`${ETC}p`]: port }), 'planned by networkmanager');
  });

  test('a device that NetworkManager is told to leave alone is refused, with the file', () => {
    const [main, image] = ['/etc/NetworkManager/NetworkManager.conf', '/usr/lib/NetworkManager/conf.d/10-image.conf'];
    const list = (devices: string, key = 'unmanaged-devices'): string => `[keyfile]\n${key}=${devices}\n`;
    for (const devices of [
      '*,except:type:wifi',
      'interface-name:eth*;except:interface-name:eth1',
      'mac:52:54:00:AA:00:01',
      'driver:vif',
      'except:type:wifi',
      'eth0',
    ]) {
      assert.ok(refusal({ [image]: list(devices) }).includes(`eth0, which ${image} leaves unmanaged`), devices);
    }
    for (const devices of [
      '',
      '*,except:interface-name:=eth0',
      'interface-name:=eth',
      'type:wifi',
      'except:type:ethernet',
    ]) {
      assert.match(refusal({ [image]: list(devices) }), /^planned by networkmanager$/, devices);
    }
    const section = (name: string, match: string, managed: string): string =>
      `[${name}]\n${match === '' ? '' : `match-device=${match}\n`}managed=${managed}\n`;
    for (const text of [section('device-x', 'interface-name:eth0', '0'), section('device', '', 'false')]) {
      assert.ok(refusal({ [image]: text }).includes(`eth0, which ${image} leaves unmanaged`), text);
    }
    for (const text of [
      section('device-x', 'interface-name:eth1', '0'),
      section('device', '', '1'),
      section('devices', '', '0'),
    ]) {
      assert.match(refusal({ [image]: text }), /^planned by networkmanager$/, text);
    }
    const mine = { [image]: list('eth0'), [main]: list('eth1', 'unmanaged-devices+') };
    assert.ok(refusal(mine).includes(`eth0, which ${main} leaves unmanaged`));
    assert.match(refusal({ ...mine, [main]: list('eth0', 'unmanaged-devices-') }), /^planned/);
    assert.match(refusal({ ...mine, '/etc/NetworkManager/conf.d/10-image.conf': '' }), /^planned/);
  });

  const MAIN = '/etc/NetworkManager/NetworkManager.conf';
  const DEBIAN = { [MAIN]: '[main]\nplugins=ifupdown,keyfile\n\n[ifupdown]\nmanaged=false\n' };

  test("Debian's plugin leaves alone what interfaces(5) defines, also where ifupdown is gone: refused, with the line", () => {
    const [eni, part] = ['/etc/network/interfaces', '/etc/network/interfaces.d/lan'];
    const lo = 'auto lo\niface lo inet loopback\n';
    const refused = (path: string, line: number): RegExp =>
      new RegExp(`eth0, which ${path} leaves unmanaged \\(line ${line}, by the plugin ifupdown with managed=false\\)`);
    assert.match(refusal({ ...DEBIAN, [eni]: `${lo}allow-hotplug eth0\niface eth0 inet dhcp\n` }), refused(eni, 4));
    assert.match(refusal({ ...DEBIAN, [eni]: `${lo}iface eth0 inet manual\n` }), refused(eni, 3));
    assert.match(refusal({ ...DEBIAN, [eni]: `${lo}mapping eth0\n  script /bin/x\n` }), refused(eni, 3));
    const bridge = 'iface br0 inet dhcp\n  bridge_ports eth1 eth0\n';
    assert.match(refusal({ ...DEBIAN, [eni]: `${lo}${bridge}` }), refused(eni, 4));
    const sourced = { [eni]: 'source interfaces.d/*\n', [part]: 'iface eth0 inet6 auto\n' };
    assert.match(refusal({ ...DEBIAN, ...sourced }), refused(part, 1));
    // Without managed= it is the same.
    assert.match(refusal({ [MAIN]: '[main]\nplugins+=ifupdown\n', [eni]: 'iface eth0 inet dhcp\n' }), refused(eni, 1));
    for (const others of [
      { ...DEBIAN, [eni]: lo },
      { ...DEBIAN, [eni]: `${lo}auto eth0\niface eth1 inet dhcp\n#iface eth0 inet dhcp\n` },
      { ...DEBIAN, [part]: 'iface eth0 inet dhcp\n' },
      { ...DEBIAN, '/etc/NetworkManager/conf.d/a.conf': '[ifupdown]\nmanaged=true\n', [eni]: 'iface eth0 inet dhcp\n' },
      { [MAIN]: '[main]\nplugins=keyfile\n', [eni]: 'iface eth0 inet dhcp\n' },
      { [eni]: 'iface eth0 inet dhcp\n' },
    ]) {
      assert.match(refusal(others), /^planned by networkmanager$/, JSON.stringify(others));
    }
  });

  test('networking that is off, as `nmcli networking off` notes it, is refused with the file', () => {
    const state = '/var/lib/NetworkManager/NetworkManager.state';
    const off = { [state]: '[main]\nNetworkingEnabled=false\nWirelessEnabled=true\n' };
    assert.ok(refusal(off).includes(`eth0, which ${state} leaves unmanaged (NetworkingEnabled=false)`));
    // That is no sign of another stack.
    const link = '/etc/systemd/system/multi-user.target.wants/NetworkManager.service';
    const beside = factsWith({ ...off, '/etc/network/interfaces': 'auto lo\niface lo inet loopback\n' });
    const present = new Set([...beside.present, link, '/sbin/ifup']);
    assert.throws(() => planOf({ ...beside, present }), /NetworkingEnabled=false/);
    assert.match(refusal({ [state]: '[main]\nNetworkingEnabled=true\nWirelessEnabled=false\n' }), /^planned/);
  });

  test('a rule of udev that sets NM_UNMANAGED for the device is refused with the file, and no other rule is', () => {
    const rules = '/etc/udev/rules.d/99-nm.rules';
    const rule = (conditions: string, value = '1'): Files => ({
      [rules]: `# a comment\n${conditions}, ENV{NM_UNMANAGED}="${value}"\n`,
    });
    for (const conditions of [
      'SUBSYSTEM=="net", ENV{INTERFACE}=="eth0"',
      'ACTION=="add|change", SUBSYSTEM=="net", KERNEL=="eth*"',
      'KERNEL=="eth1|eth0"',
      `ATTR{address}=="${ETH0.mac}"`,
      'KERNEL!="lo", \\\n  DRIVERS=="vif"',
      'ENV{ID_NET_DRIVER}=="vif"',
    ]) {
      assert.ok(refusal(rule(conditions)).includes(`eth0, which ${rules} leaves unmanaged (NM_UNMANAGED)`), conditions);
    }
    for (const conditions of [
      'KERNEL=="eth1"',
      'SUBSYSTEM=="block", KERNEL=="eth0"',
      'ACTION=="remove", KERNEL=="eth0"',
      'KERNEL=="eth0", ENV{ID_PATH}=="pci-*"',
      'KERNEL=="eth0", PROGRAM=="/bin/false"',
      // A device above it may have another driver.
      'DRIVERS!="virtio_net"',
      '#KERNEL=="eth0"',
    ]) {
      assert.match(refusal(rule(conditions)), /^planned/, conditions);
    }
    assert.match(refusal(rule('KERNEL=="eth0"', '0')), /^planned/);
    const jumping = 'SUBSYSTEM!="block", GOTO="end"\nENV{NM_UNMANAGED}="1"\nLABEL="end"\n';
    assert.match(refusal({ [rules]: jumping }), /^planned/);
    // The last one counts, an empty file masks, and a section of NetworkManager's own has the last word.
    const told = rule('KERNEL=="eth0"');
    const vendor = '/usr/lib/udev/rules.d/99-nm.rules';
    assert.match(refusal({ ...told, [vendor]: '' }), /unmanaged/);
    assert.match(refusal({ [vendor]: told[rules] ?? '', [rules]: '' }), /^planned/);
    assert.ok(refusal({ [vendor]: told[rules] ?? '' }).includes(vendor));
    const managed = {
      '/etc/NetworkManager/conf.d/m.conf': '[device-m]\nmatch-device=interface-name:eth0\nmanaged=1\n',
    };
    assert.match(refusal({ ...rule('KERNEL=="eth0"'), ...managed }), /^planned/);
  });

  test('an ifcfg file with NM_CONTROLLED=no keeps the device from it, as long as the plugin reads these files', () => {
    const path = '/etc/sysconfig/network-scripts/ifcfg-eth0';
    const said = refusal({ [path]: 'DEVICE=eth0\nONBOOT=yes\nNM_CONTROLLED=no\nBOOTPROTO=dhcp\n' });
    assert.ok(said.includes(`eth0, which ${path} leaves unmanaged (NM_CONTROLLED=no)`), said);
    const mac = `HWADDR=${ETH0.mac.toUpperCase()}\nNM_CONTROLLED="no"\n`;
    assert.match(refusal({ [path.replace('eth0', 'lan')]: mac }), /NM_CONTROLLED=no/);
    const off = { [path]: 'DEVICE=eth0\nNM_CONTROLLED=no\n' };
    assert.match(refusal({ ...off, [MAIN]: '[main]\nplugins=keyfile\n' }), /^planned by networkmanager$/);
    assert.match(refusal({ ...off, [MAIN]: '[main]\nplugins=ifcfg-rh,keyfile\n' }), /NM_CONTROLLED=no/);
    assert.match(refusal({ [path]: 'DEVICE=eth1\nNM_CONTROLLED=no\n' }), /^planned/);
  });

  test('what the configuration gives profiles that say nothing does not reach ours: it says the usual value', () => {
    const conf = '/etc/NetworkManager/conf.d/d.conf';
    const lines = (text: string): readonly string[] => {
      const own = after({ [conf]: text }).get(OURS) ?? '';
      return own
        .split('\n')
        .filter((line) => /^(route-table|mtu|cloned-mac-address|link-local|routed-dns)=/.test(line));
    };
    assert.deepEqual(lines('[connection]\nipv4.route-table=77\nipv6.route-table=77\n'), [
      'route-table=254',
      'route-table=254',
    ]);
    assert.deepEqual(lines('[connection]\nethernet.mtu=1300\n'), ['mtu=1500']);
    const others = 'ethernet.cloned-mac-address=random\nipv4.link-local=3\nipv4.routed-dns=1\n';
    assert.deepEqual(lines(`[connection-x]\n${others}`), [
      'cloned-mac-address=preserve',
      'link-local=2',
      'routed-dns=0',
    ]);
    const section = (match: string): string => `[connection-eth]\nmatch-device=${match}\nipv4.route-table=77\n`;
    assert.deepEqual(lines(section('interface-name:eth*')), ['route-table=254']);
    assert.deepEqual(lines(section('type:wifi')), []);
    assert.deepEqual(lines('[connectivity]\nipv4.route-table=77\n'), []);
  });

  test("the firewall's zone of the old profile is that of ours, from Red Hat's files as well", () => {
    const old = { [`${ETC}wired`]: profile('interface-name=eth0\nzone=internal', '', WIRED) };
    const now = after(old);
    assert.match(now.get(OURS) ?? '', /^zone=internal$/m);
    assert.deepEqual(after(Object.fromEntries(now)), now, 'a second plan changes nothing');
    const ifcfg = { '/etc/sysconfig/network-scripts/ifcfg-eth0': 'DEVICE=eth0\nBOOTPROTO=dhcp\nZONE=dmz\n' };
    assert.match(after(ifcfg).get(OURS) ?? '', /^zone=dmz$/m);
    assert.doesNotMatch(after({}).get(OURS) ?? '', /^zone/m);
  });

  test('a profile that somebody has removed from a folder of the distribution is none', () => {
    const vendor = { [`${VENDOR}p.nmconnection`]: profile('interface-name=eth0\nmaster=br0', '', WIRED) };
    const meta = (path: string, uuid = WIRED): string =>
      `[nmmeta]\nuuid=${uuid}\nloaded-path=${path}\nshadowed-storage=x\n`;
    assert.match(refusal(vendor), /port of br0/);
    assert.match(refusal({ ...vendor, [`${ETC}${WIRED}.nmmeta`]: meta('/dev/null') }), /^planned by networkmanager$/);
    const link = factsWith({ ...vendor, [`${ETC}${WIRED}.nmmeta`]: '' });
    assert.equal(planOf({ ...link, access: new Map([[`${ETC}${WIRED}.nmmeta`, 'mask']]) }).renderer, 'networkmanager');
    const others: readonly Files[] = [
      { [`${ETC}${WIRED}.nmmeta`]: meta('/run/x') },
      { [`${ETC}${OTHER}.nmmeta`]: meta('/dev/null') },
      { [`${ETC}${OTHER}.nmmeta`]: meta('/dev/null', OTHER) },
      // Gone at a boot.
      { [`/run/NetworkManager/system-connections/${WIRED}.nmmeta`]: meta('/dev/null') },
    ];
    for (const other of others) assert.match(refusal({ ...vendor, ...other }), /port of br0/, JSON.stringify(other));
  });

  test('where profiles lie in another folder, ours would be read by nobody', () => {
    const main = '/etc/NetworkManager/NetworkManager.conf';
    const at = (path: string): Files => ({ [main]: `[keyfile]\npath=${path}\n` });
    assert.match(refusal(at('/srv/nm')), new RegExp(`profiles in ${ETC}, while ${main} has them in /srv/nm`));
    for (const usual of [ETC, ETC.slice(0, -1), '']) assert.match(refusal(at(usual)), /^planned/, usual);
    const later = { ...at('/srv/nm'), '/etc/NetworkManager/conf.d/a.conf': `[keyfile]\npath=${ETC}\n` };
    assert.match(refusal(later), /^planned/);
  });

  test("Red Hat's files are profiles, too: ours goes above them, and VLANs find the device by its name", () => {
    const folder = '/etc/sysconfig/network-scripts/';
    const any = 'TYPE=Ethernet\nBOOTPROTO=dhcp\n';
    assert.equal(priority({ [`${folder}ifcfg-any`]: `${any}AUTOCONNECT_PRIORITY=300\n` }), '301');
    assert.equal(priority({ [`${folder}ifcfg-any`]: `${any}AUTOCONNECT_PRIORITY=300\nONBOOT=no\n` }), '120');
    assert.equal(priority({ [`${folder}ifcfg-a`]: `${any}AUTOCONNECT_PRIORITY=300\nDEVICE=eth1\n` }), '120');
    assert.match(
      refusal({ [`${folder}ifcfg-any`]: `${any}AUTOCONNECT_PRIORITY=999\n` }),
      /priority over any \(\/etc\/sysconfig\/network-scripts\/ifcfg-any, priority 999\)/,
    );
    const vlan = `TYPE=Vlan\nVLAN=yes\nDEVICE=storage\nVLAN_ID=40\nPHYSDEV=${WIRED.toUpperCase()}\n`;
    const old = { [`${folder}ifcfg-eth0`]: `${any}DEVICE=eth0\nUUID=${WIRED}\n`, [`${folder}ifcfg-storage`]: vlan };
    const now = after(old);
    assert.match(now.get(`${folder}ifcfg-storage`) ?? '', /^PHYSDEV=eth0$/m);
    assert.match(now.get(`${folder}ifcfg-eth0`) ?? '', /^ONBOOT=no$/m);
    assert.deepEqual(after(Object.fromEntries(now)), now, 'a second plan changes nothing');
    // The same the other way round: a VLAN in NetworkManager's own form above a file of Red Hat's.
    const own = profile(`interface-name=eth0.5`, `[vlan]\nid=5\nparent=${WIRED}\n`).replace('ethernet', 'vlan');
    assert.match(after({ ...old, [`${ETC}vlan`]: own }).get(`${ETC}vlan`) ?? '', /^parent=eth0$/m);
    const elsewhere = { ...old, [`${folder}ifcfg-storage`]: vlan.replace(WIRED, OTHER) };
    assert.equal(after(elsewhere).get(`${folder}ifcfg-storage`), elsewhere[`${folder}ifcfg-storage`]);
  });

  test('a VPN that comes up with the profile of the device comes up with ours, as long as it is there', () => {
    const vpn = { [`${ETC}vpn`]: `[connection]\nid=vpn\nuuid=${OTHER}\ntype=vpn\n` };
    const old = {
      [`${ETC}wired`]: profile(`interface-name=eth0\nsecondaries=${OTHER};${WIRED.replace('1', '2')};`, '', WIRED),
    };
    const now = after({ ...vpn, ...old });
    assert.match(now.get(OURS) ?? '', new RegExp(`^secondaries=${OTHER};$`, 'm'));
    assert.equal(after(Object.fromEntries(now)).get(OURS), now.get(OURS));
    assert.doesNotMatch(after(old).get(OURS) ?? '', /secondaries/);
  });
});
