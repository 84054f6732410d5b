/** Configurations of eth0 and eth1 such as records can ask for. */
import fc from 'fast-check';
import { type Address, type Family, familyOf } from '../../ts/network/address.js';
import type { InterfaceConfig, Route } from '../../ts/network/plan.js';
import { ETH0, ETH1 } from './inputs.js';

/** Of one interface: its networks, each with a host's part to fill in; the first host of those is never its own. */
interface Pool {
  readonly networks: readonly (readonly [prefix: number, host: (number: number) => string])[];
  /** Inside one of the networks. */
  readonly inside: readonly string[];
  readonly outside: readonly string[];
  readonly destinations: readonly Address[];
}

const HOSTS = [4, 5, 6, 7];

function pool4(third: number): Pool {
  return {
    networks: [
      [24, (host) => `192.0.${third}.${host}`],
      [25, (host) => `198.51.${third}.${host}`],
      [16, (host) => `10.${third}.200.${host}`],
      [30, (host) => `203.0.${third}.${host - 2}`],
      [31, (host) => `100.70.${third}.${host}`],
      [32, (host) => `100.71.${third}.${host}`],
      [24, (host) => `169.254.${third + 100}.${host}`],
    ],
    inside: [`192.0.${third}.1`, `198.51.${third}.1`, `10.${third}.0.1`],
    outside: [`172.31.${third}.1`, '169.254.1.1'],
    destinations: [
      { address: `10.${third + 100}.0.0`, prefix: 16 },
      { address: `10.${third + 150}.3.7`, prefix: 15 },
      { address: `172.${third + 16}.0.0`, prefix: 20 },
      { address: `100.80.${third}.9`, prefix: 32 },
    ],
  };
}

function pool6(third: number): Pool {
  return {
    networks: [
      [64, (host) => `2001:db8:${third}::${host}`],
      [48, (host) => `2001:db8:${third + 10}:1::${host}`],
      [127, (host) => `2001:db8:${third + 20}::${host}`],
      [128, (host) => `2001:db8:${third + 30}::${host}`],
      [64, (host) => `fe80:0:0:${third}::${host}`],
    ],
    inside: [`2001:db8:${third}::1`, `2001:db8:${third + 10}::1`],
    outside: ['fe80::1', `2001:db8:${third + 40}::1`],
    destinations: [
      { address: `2001:db8:${third + 50}::`, prefix: 48 },
      { address: `2001:db8:${third + 60}::7`, prefix: 56 },
      { address: `2001:db8:${third + 70}::9`, prefix: 128 },
    ],
  };
}

function addresses({ networks }: Pool): fc.Arbitrary<readonly Address[]> {
  const all = networks.flatMap(([prefix, host]) => HOSTS.map((number) => ({ address: host(number), prefix })));
  return fc.shuffledSubarray(all, { minLength: 1, maxLength: 4 });
}

function gateway({ inside, outside }: Pool): fc.Arbitrary<string> {
  return fc.constantFrom(...inside, ...outside);
}

function route(pool: Pool): fc.Arbitrary<Route> {
  return fc
    .record({
      destination: fc.constantFrom(...pool.destinations),
      gateway: fc.option(gateway(pool), { freq: 3 }),
      metric: fc.option(fc.constantFrom(1, 100, 4_000_000), { freq: 2 }),
    })
    .map(({ destination, ...rest }) => ({ ...destination, ...rest }));
}

const HOSTILE = [
  'public',
  'a\npost-up touch /tmp/x',
  'a\r\n[Route]',
  '"; reboot; "',
  "'; reboot; '",
  '$(reboot)`reboot`',
  'ends in \\',
  '#',
  '} : [ & *',
  '%n %s',
  'r\u00e9seau \u2028 \u0000',
  ' '.repeat(100),
];
const label = fc.option(fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'binary' })));
const SERVERS = ['192.0.2.53', '198.51.100.53', '203.0.113.53', '2001:db8:53::53', '2001:db8:53::54'];

interface Part {
  readonly addresses: readonly Address[];
  readonly gateway: string | null;
}

const NONE: Part = { addresses: [], gateway: null };

function part(pool: Pool): fc.Arbitrary<Part> {
  return fc.record({ addresses: addresses(pool), gateway: fc.option(gateway(pool), { freq: 3 }) });
}

/** As nova's records are: static, with routes and servers. */
function recorded(index: number): fc.Arbitrary<Partial<InterfaceConfig>> {
  const [v4, v6] = [pool4(index), pool6(index + 1)];
  return fc
    .record({
      families: fc.constantFrom<readonly Family[]>([4], [6], [4, 6]),
      one: part(v4),
      other: part(v6),
      routes: fc.uniqueArray(fc.oneof(route(v4), route(v6)), {
        maxLength: 5,
        selector: ({ address, metric }) => `${address} ${metric ?? ''}`,
      }),
      dns: fc.subarray(SERVERS),
    })
    .map(({ families, one, other, routes, dns }) => ({
      ...static4(families.includes(4) ? one : NONE),
      ...static6(families.includes(6) ? other : NONE),
      routes: routes.filter(({ address }) => families.includes(familyOf(address))),
      dns,
    }));
}

/** As Ansible's are: each family in its own way, and nothing else. */
function typed(index: number): fc.Arbitrary<Partial<InterfaceConfig>> {
  const family4 = fc.oneof(
    part(pool4(index)).map(static4),
    fc.constantFrom<Partial<InterfaceConfig>>({}, { dhcp4: true }),
  );
  const family6 = fc.oneof(
    part(pool6(index + 1)).map(static6),
    fc.constantFrom<Partial<InterfaceConfig>>({}, { auto6: 'ra' }, { auto6: 'dhcp' }),
  );
  return fc
    .tuple(family4, family6)
    .map(([one, other]) => ({ ...one, ...other }))
    .filter((config) => Object.keys(config).length > 0);
}

function static4({ addresses: ipv4, gateway: gateway4 }: Part): Partial<InterfaceConfig> {
  return { ipv4, gateway4 };
}

function static6({ addresses: ipv6, gateway: gateway6 }: Part): Partial<InterfaceConfig> {
  return { ipv6, gateway6 };
}

function config(index: 0 | 1): fc.Arbitrary<InterfaceConfig> {
  return fc
    .record({
      ways: fc.oneof({ weight: 3, arbitrary: recorded(index) }, { weight: 1, arbitrary: typed(index) }),
      label,
      mtu: fc.constantFrom(null, 1280, 1400, 1500, 9000),
      hasPermanent: fc.boolean(),
    })
    .map(({ ways, hasPermanent, ...rest }) => {
      const nic = [ETH0, ETH1][index]!;
      const nothing = { ipv4: [], ipv6: [], gateway4: null, gateway6: null, routes: [], dns: [] };
      const permanentMac = hasPermanent ? nic.mac : null;
      return { nic: { ...nic, permanentMac }, ...nothing, dhcp4: false, auto6: null, ...rest, ...ways };
    });
}

/** Of eth0, eth1 or both, with one default a family at most. */
export const configurations: fc.Arbitrary<readonly InterfaceConfig[]> = fc
  .tuple(config(0), config(1), fc.constantFrom('both', 'both', 'first', 'second'))
  .map(([first, second, which]) => {
    if (which === 'first') return [first];
    if (which === 'second') return [second];
    return [
      first,
      {
        ...second,
        gateway4: first.gateway4 === null ? second.gateway4 : null,
        gateway6: first.gateway6 === null ? second.gateway6 : null,
      },
    ];
  });
