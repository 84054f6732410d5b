/** Several stacks on one guest: what starts beside the chosen one, or that the chosen one does not start. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { decide } from '../../ts/network/decide.js';
import { type NetworkFacts, unconfigured } from '../../ts/network/plan.js';
import { RENDERERS } from '../../ts/network/renderers/index.js';
import { slackware } from '../../ts/network/renderers/linux/slackware.js';
import { mayStart } from '../../ts/network/units.js';
import { ETH0 } from './inputs.js';

const WANTS = '/etc/systemd/system/multi-user.target.wants/';
const LINK = {
  '/run/systemd/netif/links/2': 'ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/lan.network\n',
};
const LAN = { '/etc/systemd/network/lan.network': '[Match]\nName=eth0\n[Network]\nDHCP=yes\n', ...LINK };
const NETWORKD = `${WANTS}systemd-networkd.service`;
const LOOPBACK = 'auto lo\niface lo inet loopback\n';

/** The renderer that is chosen for 203.0.113.10/24, or the message of the refusal. */
function outcome(files: Readonly<Record<string, string>>, ...present: readonly string[]): string {
  return decided(factsOf(files, ...present));
}

function factsOf(files: Readonly<Record<string, string>>, ...present: readonly string[]): NetworkFacts {
  return {
    interfaces: [{ ...unconfigured(ETH0), ipv4: [{ address: '203.0.113.10', prefix: 24 }], gateway4: '203.0.113.1' }],
    hostname: null,
    currentHostname: 'guest',
    files: new Map(Object.entries(files)),
    present: new Set(present),
    resolver: 'other',
  };
}

function decided(facts: NetworkFacts): string {
  try {
    return decide(facts, RENDERERS).renderer;
  } catch (error) {
    return String(error);
  }
}

suite('the next boot, where a guest has several stacks', () => {
  test('networkd that nothing starts is refused, however well it runs now', () => {
    const unit = '[Service]\nExecStart=/usr/lib/systemd/systemd-networkd\n[Install]\nWantedBy=multi-user.target\n';
    const installed = { ...LAN, '/usr/lib/systemd/system/systemd-networkd.service': unit };
    const refused = /wanted networkd to start at boot, got none that is enabled; nothing was changed/;
    assert.match(outcome(installed, SYSTEMD), refused);
    // Of a copy without any unit it cannot be told.
    assert.equal(outcome(LAN, SYSTEMD), 'networkd');
    assert.equal(outcome(LAN, NETWORKD), 'networkd');
    assert.equal(outcome(LAN, '/etc/systemd/system/sockets.target.wants/systemd-networkd.socket'), 'networkd');
    const masked = { ...LAN, '/etc/systemd/system/systemd-networkd.service': '' };
    assert.match(outcome(masked, NETWORKD), /networkd to start at boot/);
  });

  const SYSTEMD = '/run/systemd/system';
  const ENI = { '/etc/network/interfaces': `${LOOPBACK}auto eth0\niface eth0 inet dhcp\n` };
  const NETWORKING = '[Unit]\n[Install]\nWantedBy=multi-user.target\nWantedBy=network-online.target\n';
  const UNIT = '/usr/lib/systemd/system/networking.service';
  const MANAGED = {
    '/run/NetworkManager/devices/2': '[device]\nmanaged=true\n',
    '/usr/lib/systemd/system/NetworkManager.service': '[Install]\nWantedBy=multi-user.target\n',
  };

  test('a service that systemd has and that no link starts is refused, also on a copy', () => {
    const message = /wanted (ifupdown|networkmanager) to start at boot, got none that is enabled/;
    for (const sign of [[SYSTEMD], ['/sbin/init', '/usr/lib/systemd/systemd']]) {
      assert.match(outcome({ ...ENI, [UNIT]: NETWORKING }, '/sbin/ifup', ...sign), message);
      assert.match(outcome(MANAGED, '/usr/sbin/NetworkManager', ...sign), message);
    }
    for (const target of ['multi-user', 'network', 'sysinit']) {
      const link = { [`/etc/systemd/system/${target}.target.wants/networking.service`]: NETWORKING };
      assert.equal(outcome({ ...ENI, [UNIT]: NETWORKING, ...link }, '/sbin/ifup', SYSTEMD), 'ifupdown', target);
    }
  });

  test('a service of which the files do not tell whether it starts is taken as it is', () => {
    // Wanted only by who waits for the network, without [Install], or made by a generator.
    const online = { [`/etc/systemd/system/network-online.target.wants/networking.service`]: NETWORKING };
    assert.equal(outcome({ ...ENI, [UNIT]: NETWORKING, ...online }, '/sbin/ifup', SYSTEMD), 'ifupdown');
    assert.equal(outcome({ ...ENI, [UNIT]: '[Service]\n' }, '/sbin/ifup', SYSTEMD), 'ifupdown');
    const openrc = [SYSTEMD, '/sbin/openrc'];
    assert.equal(outcome({ ...ENI, '/etc/init.d/networking': '#!/bin/sh\n' }, '/sbin/ifup', ...openrc), 'ifupdown');
    assert.equal(outcome({ ...ENI, [UNIT]: NETWORKING }, '/sbin/ifup'), 'ifupdown');
    const wait = '/etc/systemd/system/network-online.target.wants/NetworkManager-wait-online.service';
    assert.equal(outcome(MANAGED, '/usr/sbin/NetworkManager', SYSTEMD, wait), 'networkmanager');
  });

  test("System V's init starts a script by its link only", () => {
    const script = { ...ENI, '/etc/init.d/networking': '#!/bin/sh\n', '/etc/rc0.d/K01networking': '' };
    const init = ['/sbin/init', '/etc/inittab'];
    assert.match(outcome(script, '/sbin/ifup', ...init), /wanted ifupdown to start at boot/);
    assert.match(outcome({ ...script, '/etc/rcS.d/K01networking': '' }, '/sbin/ifup', ...init), /ifupdown to start/);
    assert.equal(outcome({ ...script, '/etc/rcS.d/S01networking': '' }, '/sbin/ifup', ...init), 'ifupdown');
    assert.equal(outcome(script, '/sbin/ifup', ...init, '/sbin/openrc'), 'ifupdown');
  });

  test('a script that a removed package leaves behind, with its link, starts nothing', () => {
    const files = new Map([
      ['/etc/init.d/networking', '#!/bin/sh\n'],
      ['/etc/rcS.d/S01networking', '#!/bin/sh\n'],
    ]);
    const start = (mode: number): boolean | null => {
      const access = new Map([['/etc/init.d/networking', { mode, uid: 0 }]]);
      return mayStart({ files, present: new Set(['/run/systemd/system']), access }, 'networking.service', []);
    };
    assert.equal(start(0o755), true);
    assert.equal(start(0o644), null);
    // Nor is anything brought up without ifup, however much is left.
    assert.equal(outcome({ ...LAN, ...ENI, ...Object.fromEntries(files) }, NETWORKD, SYSTEMD), 'networkd');
  });

  test('what another one that starts would bring is refused, with its file', () => {
    const dhcp = { ...LAN, '/etc/network/interfaces': `${LOOPBACK}auto eth0\niface eth0 inet dhcp\n` };
    const starts = [NETWORKD, '/usr/sbin/ifup', `${WANTS}networking.service`];
    assert.match(
      outcome(dhcp, ...starts),
      /wanted eth0 set up by networkd alone, got DHCP from ifupdown too, which starts at boot, by \/etc\/network\/interfaces/,
    );
    const old = `${LOOPBACK}auto eth0\niface eth0 inet static\naddress 198.51.100.4/24\n`;
    assert.match(
      outcome({ ...LAN, '/etc/network/interfaces': old }, ...starts),
      /got 198\.51\.100\.4\/24 from ifupdown too/,
    );
    const way = `${LOOPBACK}auto eth0\niface eth0 inet static\naddress 203.0.113.10/24\ngateway 203.0.113.9\n`;
    assert.match(
      outcome({ ...LAN, '/etc/network/interfaces': way }, ...starts),
      /got default via 203\.0\.113\.9 from ifupdown/,
    );
  });

  test('one that does not start, says nothing of the device or says the same does no harm', () => {
    const dhcp = { ...LAN, '/etc/network/interfaces': `${LOOPBACK}auto eth0\niface eth0 inet dhcp\n` };
    assert.equal(outcome(dhcp, NETWORKD, '/usr/sbin/ifup'), 'networkd');
    const masked = { ...dhcp, '/etc/systemd/system/networking.service': '' };
    const starts = [NETWORKD, '/usr/sbin/ifup', `${WANTS}networking.service`];
    assert.equal(outcome(masked, ...starts), 'networkd');
    const manual = { ...LAN, '/etc/network/interfaces': `${LOOPBACK}auto eth0\niface eth0 inet manual\n` };
    assert.equal(outcome(manual, ...starts), 'networkd');
    const same = `${LOOPBACK}auto eth0\niface eth0 inet static\naddress 203.0.113.10/24\n`;
    assert.equal(outcome({ ...LAN, '/etc/network/interfaces': same }, ...starts), 'networkd');
  });

  test("NetworkManager's profiles count beside networkd, but not beside ifupdown, whose devices it leaves alone", () => {
    const profile = {
      '/etc/NetworkManager/system-connections/lan.nmconnection':
        '[connection]\nid=lan\nuuid=1\ntype=ethernet\ninterface-name=eth0\n[ipv4]\nmethod=auto\n',
    };
    const manager = ['/usr/sbin/NetworkManager', `${WANTS}NetworkManager.service`];
    assert.match(outcome({ ...LAN, ...profile }, NETWORKD, ...manager), /got DHCP from networkmanager too/);
    const up = {
      '/etc/network/interfaces': `${LOOPBACK}auto eth0\niface eth0 inet dhcp\n`,
      '/run/network/ifstate': 'eth0=eth0\n',
    };
    const ifup = ['/usr/sbin/ifup', `${WANTS}networking.service`];
    const conf = (text: string): Record<string, string> => ({ '/etc/NetworkManager/NetworkManager.conf': text });
    const debian = conf('[main]\nplugins=ifupdown,keyfile\n');
    assert.equal(outcome({ ...up, ...profile, ...debian }, ...ifup, ...manager), 'ifupdown');
    // What it is not told to leave alone it configures as well.
    const keyfile = conf('[main]\nplugins=keyfile\n');
    const both = outcome({ ...up, ...profile, ...keyfile }, ...ifup, ...manager);
    assert.match(
      both,
      /wanted eth0 set up by ifupdown alone, got DHCP from networkmanager too, .* by .*lan\.nmconnection/,
    );
    // By Debian's plugin with managed=true it has a profile made of the same file.
    const same = conf('[main]\nplugins=ifupdown,keyfile\n[ifupdown]\nmanaged=true\n');
    assert.equal(outcome({ ...up, ...same }, ...ifup, ...manager), 'ifupdown');
    const told = conf('[main]\nplugins=keyfile\n[keyfile]\nunmanaged-devices=interface-name:eth0\n');
    assert.equal(outcome({ ...up, ...profile, ...told }, ...ifup, ...manager), 'ifupdown');
    assert.equal(outcome({ ...up, ...profile, ...keyfile }, ...ifup, '/usr/sbin/NetworkManager'), 'ifupdown');
  });

  test('NetworkManager makes up a profile with DHCP where there is none, unless it is told not to', () => {
    const manager = [NETWORKD, '/usr/sbin/NetworkManager', `${WANTS}NetworkManager.service`];
    const conf = (text: string): Record<string, string> => ({
      ...LAN,
      '/etc/NetworkManager/NetworkManager.conf': text,
    });
    assert.match(outcome(conf('[main]\n'), ...manager), /got DHCP from networkmanager too, .*no-auto-default/);
    for (const text of [
      '[main]\nno-auto-default=*\n',
      `[main]\nno-auto-default=${ETH0.mac.toUpperCase()}\n`,
      '[keyfile]\nunmanaged-devices=type:ethernet\n',
      '[device]\nmanaged=0\n',
    ]) {
      assert.equal(outcome(conf(text), ...manager), 'networkd', text);
    }
    const noted = { '/var/lib/NetworkManager/no-auto-default.state': `${ETH0.mac.toUpperCase()}\n` };
    assert.equal(outcome({ ...LAN, ...noted }, ...manager), 'networkd');
    const other =
      '[connection]\nid=a\nuuid=1\ntype=ethernet\ninterface-name=eth0\nautoconnect=false\n[ipv4]\nmethod=auto\n';
    const profile = { '/etc/NetworkManager/system-connections/a.nmconnection': other };
    assert.equal(outcome({ ...LAN, ...profile }, ...manager), 'networkd');
  });

  test("an ifcfg file that keeps the device from NetworkManager makes it the initscripts', if these start", () => {
    const ifcfg = {
      '/etc/sysconfig/network-scripts/ifcfg-eth0': 'DEVICE=eth0\nONBOOT=yes\nNM_CONTROLLED=no\nBOOTPROTO=dhcp\n',
      '/etc/sysconfig/network': 'NETWORKING=yes\n',
      '/etc/init.d/network': '#!/bin/bash\n',
      '/etc/rc.d/init.d/network': '#!/bin/bash\n',
    };
    const manager = ['/usr/sbin/NetworkManager', `${WANTS}NetworkManager.service`];
    const scripts = ['/etc/sysconfig/network-scripts/ifup-eth', ...manager];
    assert.equal(outcome(ifcfg, ...scripts, '/etc/rc.d/rc3.d/S10network'), 'ifcfg');
    assert.match(outcome(ifcfg, ...scripts), /wanted ifcfg to start at boot, got none that is enabled/);
    assert.match(outcome(ifcfg, ...manager), /eth0, which .*ifcfg-eth0 leaves unmanaged \(NM_CONTROLLED=no\)/);
  });

  test('a service that configures devices of its own accord is refused with its name', () => {
    const dhcpcd = {
      [`${WANTS}dhcpcd.service`]: '[Service]\n',
      '/usr/lib/systemd/system/dhcpcd.service': '[Service]\n',
    };
    const beside = (files: Readonly<Record<string, string>>, ...present: readonly string[]): string =>
      outcome({ ...LAN, ...files }, NETWORKD, SYSTEMD, ...present);
    const refused = (service: string): RegExp =>
      new RegExp(`wanted eth0 set up by networkd alone, got ${service} too, which starts at boot and configures it`);
    assert.match(beside(dhcpcd), refused('dhcpcd\\.service'));
    const conf = (text: string): Record<string, string> => ({ ...dhcpcd, '/etc/dhcpcd.conf': text });
    assert.match(beside(conf('denyinterfaces wlan0\n#denyinterfaces eth0\n')), refused('dhcpcd\\.service'));
    assert.equal(beside(conf('denyinterfaces wlan0 eth*\n')), 'networkd');
    assert.equal(beside(conf('allowinterfaces wlan0\n')), 'networkd');
    assert.match(beside(conf('allowinterfaces eth0\n')), refused('dhcpcd\\.service'));
    assert.equal(beside({ ...dhcpcd, '/etc/systemd/system/dhcpcd.service': '' }), 'networkd');
    // Debian's wrapper starts nothing beside what ours writes for ifupdown.
    const ifupdown = { ...dhcpcd, '/etc/network/interfaces': 'auto eth0\niface eth0 inet dhcp\n' };
    const ifup = ['/sbin/ifup', SYSTEMD, `${WANTS}networking.service`];
    assert.match(outcome(ifupdown, ...ifup), /dhcpcd\.service too/);
    assert.equal(outcome(ifupdown, ...ifup, '/usr/lib/dhcpcd5/dhcpcd'), 'ifupdown');
    const connman = {
      [`${WANTS}connman.service`]: '[Service]\n',
      '/lib/systemd/system/connman.service': '[Service]\n',
    };
    assert.match(beside(connman), refused('connman\\.service'));
    const spared = { '/etc/connman/main.conf': '[General]\nNetworkInterfaceBlacklist=vmnet,eth\n' };
    assert.equal(beside({ ...connman, ...spared }), 'networkd');
    for (const template of ['dhcpcd', 'dhclient', 'netctl-ifplugd', 'netctl-auto']) {
      const link = (name: string): Record<string, string> => ({
        [`${WANTS}${template}@${name}.service`]: '[Service]\n',
      });
      assert.match(beside(link('eth0')), refused(`${template}@eth0\\.service`));
      assert.equal(beside(link('eth1')), 'networkd');
      assert.equal(beside({ ...link('eth0'), [`/etc/systemd/system/${template}@.service`]: '' }), 'networkd');
    }
    assert.match(beside({}, '/etc/runlevels/default/dhcpcd'), refused('/etc/runlevels/default/dhcpcd'));
    assert.equal(
      beside({ '/usr/lib/systemd/system/dhcpcd.service': '[Install]\nWantedBy=multi-user.target\n' }),
      'networkd',
    );
  });

  test('netplan whose generator or daemon is masked, and scripts that no link or mode starts, are refused', () => {
    const netplan = { '/etc/netplan/50.yaml': 'network: {version: 2, ethernets: {eth0: {dhcp4: true}}}\n' };
    const none = (stack: string): RegExp => new RegExp(`wanted ${stack} to start at boot, got none that is enabled`);
    const cli = '/usr/sbin/netplan';
    assert.equal(outcome(netplan, cli), 'netplan');
    assert.match(outcome({ ...netplan, '/etc/systemd/system/systemd-networkd.service': '' }, cli), none('netplan'));
    assert.match(outcome({ ...netplan, '/etc/systemd/system-generators/netplan': '' }, cli), none('netplan'));
    const managed = {
      '/etc/netplan/50.yaml': 'network: {renderer: NetworkManager, ethernets: {eth0: {dhcp4: true}}}\n',
    };
    assert.equal(outcome({ ...managed, '/etc/systemd/system/systemd-networkd.service': '' }, cli), 'netplan');
    assert.match(outcome({ ...managed, '/etc/systemd/system/NetworkManager.service': '' }, cli), none('netplan'));
    assert.match(outcome({ ...ENI, [UNIT]: NETWORKING }, '/sbin/ifup', '/lib/systemd/systemd'), none('ifupdown'));
    const script = { '/etc/init.d/networking': '#!/bin/sh\n' };
    assert.match(outcome({ ...ENI, ...script }, '/sbin/ifup', SYSTEMD), none('ifupdown'));
    const ifcfg = {
      '/etc/sysconfig/network-scripts/ifcfg-eth0': 'DEVICE=eth0\nONBOOT=yes\nBOOTPROTO=dhcp\n',
      '/etc/sysconfig/network': 'NETWORKING=yes\n',
      '/etc/rc.d/init.d/network': '#!/bin/bash\n',
    };
    const ifup = '/etc/sysconfig/network-scripts/ifup-eth';
    assert.match(outcome(ifcfg, ifup), none('ifcfg'));
    assert.match(outcome({ ...ifcfg, '/etc/rc.d/rc3.d/K90network': '' }, ifup), none('ifcfg'));
    assert.equal(outcome({ ...ifcfg, '/etc/rc.d/rc5.d/S10network': '' }, ifup), 'ifcfg');
    const start = (mode: number): boolean | null => {
      const files = new Map([['/etc/rc.d/rc.inet1', '#!/bin/bash\n']]);
      const access = new Map([['/etc/rc.d/rc.inet1', { mode, uid: 0 }]]);
      return slackware.starts?.({ files, present: new Set(), access, interfaces: [] }) ?? null;
    };
    assert.deepEqual([start(0o755), start(0o644)], [null, false]);
  });

  test('where no file takes the device the answer says why, with the file', () => {
    const bsd = (text: string): string => outcome({ '/etc/rc.conf': text }, '/bin/freebsd-version');
    const none = 'wanted a definition of eth0, got none that counts: ';
    assert.ok(bsd('ifconfig_eth0_name="wan0"\n').includes(none));
    assert.match(bsd('ifconfig_eth0_name="wan0"\n'), /: ifconfig_eth0_name in \/etc\/rc\.conf gives it the name wan0;/);
    assert.match(bsd('network_interfaces="lo0 eth1"\n'), /: network_interfaces in \/etc\/rc\.conf leaves it out;/);
    const yaml = { '/etc/netplan/50.yaml': 'network: {version: 2, ethernets: {eth0: {dhcp4: true}}}\n' };
    const part = '/etc/systemd/network/10-netplan-eth0.network.d/o.conf';
    const said = outcome({ ...yaml, [part]: '[Match]\nName=\nName=eth9\n' }, '/usr/sbin/netplan');
    assert.ok(said.includes(`${none}${part} gives it another [Match];`), said);
    const masked = outcome({ ...yaml, '/etc/systemd/network/10-netplan-eth0.network': '' }, '/usr/sbin/netplan');
    assert.match(masked, /: \/etc\/systemd\/network\/10-netplan-eth0\.network masks it/);
    const managed = {
      '/etc/netplan/50.yaml': 'network: {renderer: NetworkManager, ethernets: {eth0: {dhcp4: true}}}\n',
    };
    const off = { ...managed, '/var/lib/NetworkManager/NetworkManager.state': '[main]\nNetworkingEnabled=false\n' };
    assert.match(
      outcome(off, '/usr/sbin/netplan'),
      /NetworkManager leaves it unmanaged by \/var.*NetworkingEnabled=false/,
    );
    const netctl = factsOf({ '/etc/netctl/eth0': 'Interface=eth0\nConnection=ethernet\nIP=dhcp\n' }, '/usr/bin/netctl');
    assert.match(
      decided({ ...netctl, copy: true }),
      /: no link in .*wants enables \/etc\/netctl\/guestwire-eth0, which only/,
    );
  });
});
