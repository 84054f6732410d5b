/** stepsTo() against a small model of the kernel, which knows what takes what away. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { Lifetime, LinkChange, LiveAddress, LiveNetwork, LiveRoute, RouteOrigin } from '../../../ts/api/host.js';
import {
  type Address,
  type Family,
  contains,
  familyOf,
  isLinkLocal,
  needsOnLink,
} from '../../../ts/network/address.js';
import { type Target, lostBy, stepsTo, targetFrom, targetOf } from '../../../ts/network/act/changes.js';
import { readWanted } from '../../../ts/network/wanted/wanted.js';
import { ETH0, ETH1, nic, publishedBy } from '../inputs.js';

type Route = Target['routes'][number];

const LINK_LOCAL: LiveAddress = { nic: 'eth0', address: 'fe80::5', prefix: 64, unusable: false, dynamic: false };
/** Beyond any test. */
const LIFETIME: Lifetime = { validUntil: 8e12, preferredUntil: null };
const OF_OTHERS: LiveNetwork = {
  addresses: [{ nic: 'eth1', address: '192.0.2.4', prefix: 24, unusable: false, dynamic: false }],
  routes: [
    { nic: 'eth1', network: '0.0.0.0', prefix: 0, gateway: '192.0.2.1', metric: 5, onLink: false, setBy: 'static' },
  ],
};

function text({ address, prefix }: Address): string {
  return `${address}/${prefix}`;
}

function inOneSubnet(one: Address, other: Address): boolean {
  return one.prefix === other.prefix && contains(one, other.address);
}

/** As Linux 6.18 was seen to behave. `promote`: the device's promote_secondaries. */
class Kernel {
  mtu = 1500;
  isUp = false;
  /** Primary addresses, then secondary ones. */
  #v4: LiveAddress[] = [];
  readonly #secondary = new Set<string>();
  /** The newest first. */
  #v6: LiveAddress[] = [LINK_LOCAL];
  #routes: LiveRoute[] = [];
  readonly #promote: boolean;

  constructor(promote: boolean) {
    this.#promote = promote;
  }

  live(): LiveNetwork {
    const primaries = this.#v4.filter((one) => !this.#secondary.has(text(one)));
    const byKernel = [...primaries, ...this.#v6].map(({ address, prefix }): LiveRoute => {
      const network = familyOf(address) === 4 ? address.replace(/\d+$/, '0') : address.replace(/[^:]*$/, '');
      return { nic: 'eth0', network, prefix, gateway: null, metric: 0, onLink: false, setBy: 'kernel' };
    });
    return {
      addresses: [...OF_OTHERS.addresses, ...this.#v4, ...this.#v6],
      // In the order of a dump, which is that of prefixes.
      routes: [...OF_OTHERS.routes, ...this.#routes.toSorted((a, b) => a.prefix - b.prefix), ...byKernel],
    };
  }

  take(step: LinkChange): void {
    assert.equal(step.nic, 'eth0');
    if (step.type === 'up') this.isUp = true;
    else if (step.type === 'mtu') this.mtu = step.mtu;
    else if (step.type === 'add-address') this.addAddress(step, step.lifetime !== undefined);
    else if (step.type === 'remove-address') this.#removeAddress(step);
    else if (step.type === 'add-route') this.addRoute(step, step.setBy ?? 'static');
    else if ('network' in step) this.#removeRoute(step);
  }

  addAddress({ address, prefix }: Address, dynamic: boolean): void {
    const lifetime = dynamic ? { lifetime: LIFETIME } : {};
    const added: LiveAddress = { nic: 'eth0', address, prefix, unusable: false, dynamic, ...lifetime };
    const same = [...this.#v4, ...this.#v6].find((one) => text(one) === text(added));
    if (same !== undefined) {
      const replaced = (list: readonly LiveAddress[]): LiveAddress[] => list.map((one) => (one === same ? added : one));
      [this.#v4, this.#v6] = [replaced(this.#v4), replaced(this.#v6)];
      return;
    }
    if (familyOf(address) === 6) {
      assert.ok(!this.#v6.some((one) => one.address === address), `EEXIST: ${address} with another prefix`);
      this.#v6.unshift(added);
      return;
    }
    if (this.#v4.some((one) => inOneSubnet(one, added))) {
      this.#secondary.add(text(added));
      this.#v4.push(added);
    } else this.#insertPrimary(added);
  }

  #insertPrimary(address: LiveAddress): void {
    const first = this.#v4.findIndex((one) => this.#secondary.has(text(one)));
    this.#v4.splice(first < 0 ? this.#v4.length : first, 0, address);
  }

  #removeAddress(removed: Address): void {
    this.#v6 = this.#v6.filter((one) => text(one) !== text(removed));
    const gone = this.#v4.find((one) => text(one) === text(removed));
    if (gone === undefined) return;
    this.#v4 = this.#v4.filter((one) => one !== gone);
    if (!this.#secondary.delete(text(gone))) {
      const heirs = this.#v4.filter((one) => inOneSubnet(one, gone));
      if (!this.#promote) {
        this.#v4 = this.#v4.filter((one) => !heirs.includes(one));
        for (const heir of heirs) this.#secondary.delete(text(heir));
      } else if (heirs[0] !== undefined) {
        const [heir] = heirs;
        this.#secondary.delete(text(heir));
        this.#v4 = this.#v4.filter((one) => one !== heir);
        this.#insertPrimary(heir);
      }
    }
    // A device without any address has no IPv4.
    if (this.#v4.length === 0) this.#routes = this.#routes.filter(({ network }) => familyOf(network) === 6);
  }

  /** Of one network and metric there is one route. */
  addRoute({ network, prefix, gateway, metric, onLink }: Route, setBy: RouteOrigin): void {
    const covered = (to: string): boolean =>
      [...this.#v4, ...this.#v6].some((own) => contains(own, to)) ||
      this.#routes.some((route) => route.gateway === null && contains({ ...route, address: route.network }, to));
    const reachable = gateway === null || onLink || gateway.startsWith('fe80:') || covered(gateway);
    assert.ok(reachable, `ENETUNREACH: ${network}/${prefix} via ${gateway ?? ''}`);
    const added = {
      ...{ nic: 'eth0', network, prefix, gateway, onLink, setBy },
      metric: metric ?? (familyOf(network) === 4 ? 0 : 1024),
    };
    const same = this.#routes.findIndex(
      (one) => one.network === network && one.prefix === prefix && one.metric === added.metric,
    );
    this.#routes.splice(same < 0 ? this.#routes.length : same, same < 0 ? 0 : 1, added);
  }

  #removeRoute({ network, prefix, gateway, metric }: Route): void {
    const gone = this.#routes.findIndex(
      (one) =>
        one.network === network &&
        one.prefix === prefix &&
        one.gateway === gateway &&
        (metric === null || one.metric === metric),
    );
    if (gone >= 0) this.#routes.splice(gone, 1);
  }
}

interface State {
  readonly addresses: readonly (Address & { readonly dynamic: boolean })[];
  readonly routes: readonly (Route & { readonly setBy: RouteOrigin })[];
  readonly promote: boolean;
}

function kernelIn({ addresses, routes, promote }: State): Kernel {
  const kernel = new Kernel(promote);
  for (const { dynamic, ...address } of addresses) kernel.addAddress(address, dynamic);
  for (const { setBy, ...route } of routes) kernel.addRoute(route, setBy);
  return kernel;
}

const STATIC = [
  ...['192.0.2.4/24', '192.0.2.5/24', '192.0.2.6/24', '198.51.100.4/24', '198.51.100.5/24', '203.0.113.4/25'],
  ...['192.0.2.7/25', '10.1.2.3/32', '169.254.0.9/16'],
  ...['2001:db8:a::4/64', '2001:db8:a::5/64', '2001:db8:a::6/64', '2001:db8:b::4/64', '2001:db8:c::4/128'],
].map(parsed);
const DYNAMIC = ['10.99.0.4/24', '10.99.0.5/24', '2001:db8:d::4/64', '2001:db8:d::5/64'].map(parsed);
const ADDRESSES = [
  ...STATIC.map((address) => ({ ...address, dynamic: false })),
  ...DYNAMIC.map((address) => ({ ...address, dynamic: true })),
];

function parsed(one: string): Address {
  const [address = '', prefix = ''] = one.split('/');
  return { address, prefix: Number(prefix) };
}

const METRICS = [0, 100, 1024];
const destination = fc.constantFrom(
  ...['0.0.0.0/0', '10.0.0.0/8', '172.16.0.0/12', '10.5.0.1/32', '::/0', '2001:db8:f::/48', '2001:db8:f::1/128'].map(
    parsed,
  ),
);
const gateway4 = fc.constantFrom('192.0.2.1', '198.51.100.1', '10.99.0.1', '100.64.0.1', '169.254.1.1', null);
const gateway6 = fc.constantFrom('2001:db8:a::1', 'fe80::1', '2001:db8:e::1', null);
const route = destination.chain(({ address: network, prefix }) =>
  fc.record({
    network: fc.constant(network),
    prefix: fc.constant(prefix),
    gateway: (familyOf(network) === 4 ? gateway4 : gateway6).map((via) => (prefix === 0 ? (via ?? 'fe80::1') : via)),
    metric: fc.constantFrom(...METRICS),
    setBy: fc.constantFrom('boot', 'static', 'advertisement', 'dhcp'),
  }),
);

/** IPv4 has no link-local gateway here; where the draw gave one, there is no route. */
function withFlags<T extends Omit<Route, 'onLink'>>(
  routes: readonly T[],
  own: readonly Address[],
): readonly (T & Route)[] {
  return routes
    .filter(({ network, gateway }) => gateway === null || familyOf(network) === familyOf(gateway))
    .map((one) => ({ ...one, onLink: one.gateway !== null && needsOnLink(one.gateway, own) }));
}

function routeKey({ network, prefix, metric }: Pick<Route, 'network' | 'prefix' | 'metric'>): string {
  return `${network}/${prefix} ${metric ?? ''}`;
}

const state: fc.Arbitrary<State> = fc
  .record({
    addresses: fc.shuffledSubarray(ADDRESSES),
    routes: fc.uniqueArray(route, { selector: routeKey, maxLength: 6 }),
    // Some stacks reach a gateway outside the subnets by a route to it instead of the flag.
    helpers: fc.boolean(),
    promote: fc.boolean(),
  })
  .map(({ addresses, routes, helpers, promote }) => {
    const flagged = withFlags(routes, addresses);
    if (!helpers) return { addresses, routes: flagged, promote };
    const outside = new Set(flagged.flatMap(({ gateway, onLink }) => (onLink && gateway !== null ? [gateway] : [])));
    const ways = [...outside].map((network) => {
      const prefix = familyOf(network) === 4 ? 32 : 128;
      return { network, prefix, gateway: null, metric: 0, setBy: 'static' as const, onLink: false };
    });
    return { addresses, routes: [...ways, ...flagged.map((one) => ({ ...one, onLink: false }))], promote };
  });

const target: fc.Arbitrary<Target> = fc
  .record({
    addresses: fc.shuffledSubarray([...STATIC, DYNAMIC[0]!, DYNAMIC[2]!]),
    routes: fc.array(fc.tuple(route, fc.boolean()), { maxLength: 6 }),
    mtu: fc.constantFrom(null, 1400, 9000),
    keepDynamic: fc.subarray<Family>([4, 6]),
  })
  .map(({ addresses, routes, mtu, keepDynamic }) => {
    const own = addresses.filter(({ address }) => {
      return !DYNAMIC.some((one) => one.address === address) || !keepDynamic.includes(familyOf(address));
    });
    const asked = routes.map(([one, any]) => ({ ...one, metric: any ? null : one.metric }));
    // No two routes for one network and metric, where no metric stands for the kernel's own.
    const kernelKey = (one: (typeof asked)[0]): string =>
      routeKey({ ...one, metric: one.metric ?? (familyOf(one.network) === 4 ? 0 : 1024) });
    const unique = [...new Map(asked.map((one) => [kernelKey(one), one])).values()].map(
      ({ network, prefix, gateway, metric }) => ({ network, prefix, gateway, metric }),
    );
    return { nic: 'eth0', up: true, addresses: own, routes: withFlags(unique, own), mtu, keepDynamic };
  });

function own({ addresses, routes }: LiveNetwork): { addresses: readonly LiveAddress[]; routes: readonly LiveRoute[] } {
  return {
    addresses: addresses.filter(({ nic, address }) => nic === 'eth0' && address !== LINK_LOCAL.address),
    routes: routes.filter(({ nic, setBy }) => nic === 'eth0' && setBy !== 'kernel'),
  };
}

function isMet(wanted: Route, { network, prefix, gateway, metric }: LiveRoute): boolean {
  const metrics = wanted.metric === null || wanted.metric === metric;
  return wanted.network === network && wanted.prefix === prefix && wanted.gateway === gateway && metrics;
}

const RUNS = { numRuns: 1500 };

suite('steps to a wanted state', () => {
  test('end with its addresses, in its order', () => {
    fc.assert(
      fc.property(state, target, (from, wanted) => {
        const kernel = kernelIn(from);
        for (const step of stepsTo(wanted, kernel.live())) kernel.take(step);
        for (const family of [4, 6] as const) {
          const isKept = ({ address, dynamic }: LiveAddress): boolean =>
            dynamic && wanted.keepDynamic.includes(familyOf(address));
          const found = own(kernel.live()).addresses.filter(({ address }) => familyOf(address) === family);
          const asked = wanted.addresses.filter(({ address }) => familyOf(address) === family);
          // As on a device that had nothing: secondary addresses stand behind the primary ones.
          const fresh = new Kernel(false);
          for (const one of family === 4 ? asked : asked.toReversed()) fresh.addAddress(one, false);
          const order = own(fresh.live()).addresses;
          const left = found.filter((one) => !isKept(one) && !isLinkLocal(one.address));
          assert.deepEqual(
            left,
            order.filter(({ address }) => !isLinkLocal(address)),
          );
          assert.equal(order[0]?.address, asked[0]?.address);
          const there = found.map(text);
          assert.ok(asked.every((one) => there.includes(text(one))));
          assert.deepEqual(
            found.filter(isKept).map(text).sort(),
            own(kernelIn(from).live())
              .addresses.filter((one) => familyOf(one.address) === family && isKept(one))
              .map(text)
              .sort(),
          );
        }
      }),
      RUNS,
    );
  });

  test('end with its routes and no others, and with none twice', () => {
    fc.assert(
      fc.property(state, target, (from, wanted) => {
        const kernel = kernelIn(from);
        for (const step of stepsTo(wanted, kernel.live())) kernel.take(step);
        const found = own(kernel.live()).routes;
        for (const one of wanted.routes)
          assert.ok(
            found.some((there) => isMet(one, there)),
            routeKey(one),
          );
        const isKept = ({ network, setBy }: LiveRoute): boolean =>
          wanted.keepDynamic.includes(familyOf(network)) && ['advertisement', 'dhcp'].includes(setBy);
        for (const one of found.filter((route) => !isKept(route))) {
          assert.ok(
            wanted.routes.some((asked) => isMet(asked, one)),
            `${routeKey(one)} is too many`,
          );
          const isAlike = ({ network, prefix, gateway }: Route): boolean =>
            network === one.network && prefix === one.prefix && gateway === one.gateway;
          const count = found.filter((route) => isAlike(route) && !isKept(route)).length;
          assert.ok(count <= wanted.routes.filter(isAlike).length, `${routeKey(one)} is there twice`);
        }
      }),
      RUNS,
    );
  });

  test('taken again need no removal and change nothing', () => {
    fc.assert(
      fc.property(state, target, (from, wanted) => {
        const kernel = kernelIn(from);
        for (const step of stepsTo(wanted, kernel.live())) kernel.take(step);
        const once = kernel.live();
        const again = stepsTo(wanted, once);
        assert.deepEqual(
          again.filter(({ type }) => type.startsWith('remove-')),
          [],
        );
        for (const step of again) kernel.take(step);
        assert.deepEqual(own(kernel.live()).addresses, own(once).addresses);
        const summary = (live: LiveNetwork): readonly string[] =>
          own(live).routes.map((one) => `${routeKey(one)} via ${one.gateway ?? ''}`);
        assert.deepEqual(summary(kernel.live()), summary(once));
      }),
      RUNS,
    );
  });

  test('take no address away that can stay', () => {
    const addresses = ['192.0.2.4/24', '192.0.2.9/24', '2001:db8:a::4/64', '2001:db8:a::9/64'].map(parsed);
    const kernel = kernelIn({
      addresses: addresses.map((one) => ({ ...one, dynamic: false })),
      routes: [],
      promote: true,
    });
    const kept = [addresses[0]!, addresses[2]!];
    const steps = stepsTo(
      { nic: 'eth0', up: true, addresses: kept, routes: [], mtu: null, keepDynamic: [] },
      kernel.live(),
    );
    assert.deepEqual(
      steps.flatMap((step) => (step.type === 'remove-address' ? [text(step)] : [])),
      ['192.0.2.9/24', '2001:db8:a::9/64'],
    );
  });

  test('do not rely on the order in which secondary addresses become primary ones', () => {
    const addresses = ['192.0.2.5/24', '198.51.100.5/24', '198.51.100.4/24', '192.0.2.6/24'].map(parsed);
    const wanted = [addresses[2]!, addresses[3]!];
    for (const promote of [true, false]) {
      const kernel = kernelIn({ addresses: addresses.map((one) => ({ ...one, dynamic: false })), routes: [], promote });
      const target: Target = { nic: 'eth0', up: true, addresses: wanted, routes: [], mtu: null, keepDynamic: [] };
      for (const step of stepsTo(target, kernel.live())) kernel.take(step);
      assert.deepEqual(own(kernel.live()).addresses.map(text), wanted.map(text));
    }
  });

  test('routes that came with kept addresses stay', () => {
    const routes = (['dhcp', 'advertisement', 'static'] as const).map((setBy, index) => ({
      ...{ network: `10.${index}.0.0`, prefix: 16, gateway: '10.99.0.1', metric: 0, onLink: false, setBy },
    }));
    const kernel = kernelIn({ addresses: ADDRESSES.slice(-4), routes, promote: true });
    const wanted = { nic: 'eth0', up: true, addresses: [], routes: [], mtu: null, keepDynamic: [4] } satisfies Target;
    for (const step of stepsTo(wanted, kernel.live())) kernel.take(step);
    assert.deepEqual(own(kernel.live()), {
      addresses: ['10.99.0.4', '10.99.0.5'].map((address) => {
        return { nic: 'eth0', address, prefix: 24, unusable: false, dynamic: true, lifetime: LIFETIME };
      }),
      routes: routes.slice(0, 2).map((one) => ({ nic: 'eth0', ...one })),
    });
  });

  test('set the device up, and its MTU where one is asked for', () => {
    fc.assert(
      fc.property(state, target, (from, wanted) => {
        const kernel = kernelIn(from);
        for (const step of stepsTo(wanted, kernel.live())) kernel.take(step);
        assert.deepEqual([kernel.isUp, kernel.mtu], [true, wanted.mtu ?? 1500]);
      }),
    );
  });
});

suite('steps back', () => {
  test('end with the addresses and routes that were there, whatever was done since, but for what is advertised', () => {
    fc.assert(
      fc.property(state, target, (from, wanted) => {
        const kernel = kernelIn(from);
        const old = kernel.live();
        for (const step of stepsTo(wanted, old)) kernel.take(step);
        for (const step of stepsTo(targetFrom('eth0', old), kernel.live())) kernel.take(step);
        const addresses = (live: LiveNetwork): readonly string[] =>
          own(live)
            .addresses.filter(({ address, dynamic }) => !isLinkLocal(address) && !(dynamic && familyOf(address) === 6))
            .map(text);
        assert.deepEqual(addresses(kernel.live()), addresses(old));
        const lifetimes = (live: LiveNetwork): readonly string[] =>
          own(live)
            .addresses.filter(({ address }) => !isLinkLocal(address))
            .map((one) => `${text(one)} ${one.dynamic ? 'with a lifetime' : 'for good'}`)
            .sort();
        assert.deepEqual(lifetimes(kernel.live()), lifetimes(old));
        const routes = (live: LiveNetwork): readonly string[] =>
          own(live)
            .routes.filter(({ setBy }) => setBy !== 'advertisement')
            .map((one) => `${routeKey(one)} via ${one.gateway ?? ''} by ${one.setBy}`)
            .sort();
        assert.deepEqual(routes(kernel.live()), routes(old));
      }),
      RUNS,
    );
  });
});

suite('what devices of others have lost', () => {
  const vlan = nic('eth0.5', ETH0.mac, { kind: 'vlan', physical: false });
  const address = (name: string, shown: string, prefix: number, more: Partial<LiveAddress> = {}): LiveAddress => {
    return { nic: name, address: shown, prefix, unusable: false, dynamic: false, ...more };
  };
  const route = (network: string, setBy: RouteOrigin): LiveRoute => {
    const gateway = '198.51.100.1';
    return { nic: 'eth0.5', network, prefix: 24, gateway, metric: 0, onLink: false, setBy };
  };
  const there = address('eth0.5', '198.51.100.50', 24);
  const before = {
    nics: [ETH0, vlan],
    addresses: [
      address('eth0', '192.0.2.9', 24),
      there,
      address('eth0.5', '2001:db8:5::50', 64),
      // Somebody has taken it away: the kernel does not.
      address('eth0.5', '198.51.100.51', 32),
      address('eth0.5', '2001:db8:6::50', 64, { dynamic: true, lifetime: LIFETIME }),
    ],
    routes: [
      route('203.0.113.0', 'static'),
      route('10.0.0.0', 'dhcp'),
      route('2001:db8:7::', 'advertisement'),
      route('10.9.0.0', 'other 188'),
    ],
  };
  const now = { nics: [ETH0, vlan], addresses: [there], routes: [] };

  test('is what the kernel takes away, has no lifetime and does not come from a server, router or routing daemon', () => {
    const { gateway } = route('', 'static');
    assert.deepEqual(lostBy(vlan, before, now), [
      { type: 'add-address', nic: 'eth0.5', address: '2001:db8:5::50', prefix: 64 },
      {
        ...{ type: 'add-route', nic: 'eth0.5', network: '203.0.113.0', prefix: 24 },
        ...{ gateway, metric: 0, onLink: false, setBy: 'static' },
      },
    ]);
  });

  test('is nothing where nothing is gone, the device was made anew, or is down now', () => {
    assert.deepEqual(lostBy(vlan, before, before), []);
    for (const made of [
      { ...vlan, index: 99 },
      { ...vlan, up: false },
    ]) {
      assert.deepEqual(lostBy(vlan, before, { ...now, nics: [ETH0, made] }), []);
    }
  });
});

suite('what is wanted', () => {
  test('comes from the configuration', () => {
    const networking = {
      A: {
        mac: ETH0.mac,
        ips: [{ ip: '192.0.2.4', netmask: 24 }],
        ip6s: [{ ip: '2001:db8::4', netmask: 64 }],
        gateway: '192.0.2.1',
        mtu: 1400,
        routes: [{ route: '10.1.2.3', netmask: 8, gateway: '100.64.0.1', metric: 7 }],
      },
    };
    const { interfaces } = readWanted(publishedBy({ networking }), [ETH0]);
    assert.deepEqual(targetOf(interfaces[0]!), {
      nic: 'eth0',
      up: true,
      addresses: [
        { address: '192.0.2.4', prefix: 24 },
        { address: '2001:db8::4', prefix: 64 },
      ],
      routes: [
        { family: 4, network: '0.0.0.0', prefix: 0, gateway: '192.0.2.1', metric: null, onLink: false },
        { family: 4, network: '10.0.0.0', prefix: 8, gateway: '100.64.0.1', metric: 7, onLink: true },
      ],
      mtu: 1400,
      keepDynamic: [],
    });
  });

  test('keeps what a network gives by itself in the families that ask for it', () => {
    const networks = {
      0: { mac: ETH0.mac, type: 'dhcp' },
      1: { mac: ETH1.mac, ip: '192.0.2.4/24', type6: 'autoconf' },
    };
    const { interfaces } = readWanted(publishedBy({ networks }), [ETH0, ETH1]);
    assert.deepEqual(
      interfaces.map((config) => targetOf(config).keepDynamic),
      [[4], [6]],
    );
  });
});
