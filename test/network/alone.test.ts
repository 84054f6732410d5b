/** Several stacks on one guest: what starts beside the chosen one, or that the chosen one does not start. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { decide } from '../../ts/network/decide.js';
import { type NetworkFacts, unconfigured } from '../../ts/network/plan.js';
import { RENDERERS } from '../../ts/network/renderers/index.js';
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
  const facts: NetworkFacts = {
    interfaces: [{ ...unconfigured(ETH0), ipv4: [{ address: '203.0.113.10', prefix: 24 }], gateway4: '203.0.113.1' }],
    hostname: null,
    currentHostname: 'guest',
    files: new Map(Object.entries(files)),
    present: new Set(present),
    resolver: 'other',
  };
  try {
    return decide(facts, RENDERERS).renderer;
  } catch (error) {
    return String(error);
  }
}

suite('the next boot, where a guest has several stacks', () => {
  test('networkd that nothing starts is refused, however well it runs now', () => {
    assert.match(outcome(LAN), /wanted networkd to start at boot, got none that is enabled; nothing was changed/);
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
    assert.equal(outcome({ ...ENI, '/etc/init.d/networking': '#!/bin/sh\n' }, '/sbin/ifup', SYSTEMD), 'ifupdown');
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
    assert.equal(
      outcome({ ...up, ...profile }, '/usr/sbin/ifup', `${WANTS}networking.service`, ...manager),
      'ifupdown',
    );
  });
});
