/** What FreeBSD, Slackware and netplan cannot be told is refused before anything is changed. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { AgentError } from '../../ts/api/errors.js';
import type { InterfaceConfig, NetworkFacts, Renderer } from '../../ts/network/plan.js';
import { netplan } from '../../ts/network/renderers/linux/netplan.js';
import { rcconf } from '../../ts/network/renderers/freebsd/rcconf.js';
import { slackware } from '../../ts/network/renderers/linux/slackware.js';
import { ETH0, ETH1 } from './inputs.js';

const NOTHING = { label: null, ipv6: [], gateway4: null, gateway6: null, routes: [], dns: [], dhcp4: false, mtu: null };
const FIRST: InterfaceConfig = { ...NOTHING, nic: ETH0, ipv4: [{ address: '192.0.2.4', prefix: 24 }], auto6: null };
const SECOND: InterfaceConfig = { ...FIRST, nic: ETH1, ipv4: [{ address: '198.51.100.4', prefix: 24 }] };

function refused(renderer: Renderer, interfaces: readonly InterfaceConfig[], conf = ''): string | null {
  const files = new Map([['/etc/rc.d/rc.inet1.conf', conf]]);
  const facts: NetworkFacts = {
    interfaces,
    hostname: null,
    currentHostname: 'old',
    files,
    present: new Set(),
    resolver: 'other',
  };
  try {
    renderer.render(facts);
    return null;
  } catch (error) {
    assert.ok(error instanceof AgentError);
    assert.equal(error.code, 'GW_NETWORK_IMPOSSIBLE');
    return error.message;
  }
}

suite('what a system cannot be told', () => {
  test('FreeBSD has no DHCPv6', () => {
    assert.match(refused(rcconf, [{ ...FIRST, auto6: 'dhcp' }]) ?? '', /Not possible with FreeBSD's rc\.conf: DHCPv6/);
    assert.equal(refused(rcconf, [{ ...FIRST, auto6: 'ra' }]), null);
  });

  test('FreeBSD has one route to a network, through one interface', () => {
    const to = (gateway: string, metric: number | null) => [{ address: '10.0.0.0', prefix: 8, gateway, metric }];
    const both = [
      { ...FIRST, routes: to('192.0.2.1', null) },
      { ...SECOND, routes: to('198.51.100.1', 100) },
    ];
    assert.match(refused(rcconf, both) ?? '', /routes to 10\.0\.0\.0\/8 through two interfaces/);
    const outside = [
      { ...FIRST, gateway4: '169.254.1.1' },
      { ...SECOND, routes: to('169.254.1.1', null) },
    ];
    assert.match(refused(rcconf, outside) ?? '', /routes to 169\.254\.1\.1\/32 through two interfaces/);
    assert.equal(refused(slackware, both), null);
  });

  test('a standby for the default route is left out on FreeBSD', () => {
    const standby = [{ address: '0.0.0.0', prefix: 0, gateway: '198.51.100.1', metric: 100 }];
    assert.equal(
      refused(rcconf, [
        { ...FIRST, gateway4: '192.0.2.1' },
        { ...SECOND, routes: standby },
      ]),
      null,
    );
  });

  test('netplan prints a metric above 2147483647 as one below 0', () => {
    const by = (metric: number): InterfaceConfig => {
      return { ...FIRST, routes: [{ address: '10.0.0.0', prefix: 8, gateway: '192.0.2.1', metric }] };
    };
    assert.match(
      refused(netplan, [by(0x80000000)]) ?? '',
      /Not possible with netplan: a metric of 2147483648, above 2147483647/,
    );
    assert.equal(refused(netplan, [by(0x7fffffff)]), null);
  });

  test('Slackware up to 14.2 has no DHCPv6, later ones do', () => {
    const asked = [{ ...FIRST, auto6: 'dhcp' as const }];
    assert.match(
      refused(slackware, asked, 'IPADDR[0]=""\nNETMASK[0]=""\n') ?? '',
      /Not possible with rc\.inet1 of Slackware 14: DHCPv6/,
    );
    assert.equal(refused(slackware, asked, 'IPADDRS[0]=""\n'), null);
    assert.equal(refused(slackware, asked), null);
  });
});
