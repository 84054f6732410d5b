import type { LiveNetwork, LiveRoute } from '../api/host.js';
import { type Address, familyOf, isLinkLocal, networkOf } from './address.js';
import type { InterfaceConfig } from './plan.js';

/** What the kernel has is not what was wanted: the first difference, as two phrases for the answer. */
export interface Mismatch {
  readonly wanted: string;
  readonly got: string;
}

/**
 * Compares the kernel's state with the configuration. Metrics count only where one was asked for, because every stack
 * has its own default. Link-local addresses and the routes that come with an address are the kernel's own business.
 */
export function compare(interfaces: readonly InterfaceConfig[], live: LiveNetwork): Mismatch | null {
  for (const config of interfaces) {
    const mismatch = compareAddresses(config, live) ?? compareRoutes(config, live);
    if (mismatch !== null) return mismatch;
  }
  return null;
}

function compareAddresses(config: InterfaceConfig, { addresses }: LiveNetwork): Mismatch | null {
  const { name } = config.nic;
  const wanted = [...config.ipv4, ...config.ipv6];
  const own = addresses.filter(({ nic }) => nic === name);
  const text = ({ address, prefix }: Address): string => `${address}/${prefix}`;
  for (const address of wanted) {
    const found = own.find((candidate) => text(candidate) === text(address));
    if (found === undefined || found.unusable) {
      const there = own.filter(({ address: other }) => familyOf(other) === familyOf(address.address)).map(text);
      const got = found === undefined ? there.join(' ') || 'none' : 'it marked tentative or as a duplicate';
      return { wanted: `${text(address)} on ${name}`, got };
    }
  }
  const extra = own.find(
    (candidate) => !isLinkLocal(candidate.address) && !wanted.some((address) => text(address) === text(candidate)),
  );
  return extra === undefined ? null : { wanted: `only its own addresses on ${name}`, got: `${text(extra)} too` };
}

function compareRoutes(config: InterfaceConfig, { routes }: LiveNetwork): Mismatch | null {
  const { name } = config.nic;
  const own = routes.filter(({ nic }) => nic === name);
  const defaults = [
    { network: '0.0.0.0', gateway: config.gateway4 },
    { network: '::', gateway: config.gateway6 },
  ];
  for (const { network, gateway } of defaults) {
    const there = own.filter((route) => route.prefix === 0 && route.network === network);
    const got = there.map(({ gateway: via }) => via ?? 'on-link').join(' ') || 'none';
    if (gateway !== null && !there.some((route) => route.gateway === gateway)) {
      return { wanted: `default via ${gateway} on ${name}`, got };
    }
    const other = there.find((route) => route.gateway !== gateway);
    if (other !== undefined) return { wanted: `default via ${gateway ?? 'nothing'} on ${name}`, got };
  }
  for (const route of config.routes) {
    const network = networkOf(route);
    const matches = (candidate: LiveRoute): boolean =>
      candidate.network === network &&
      candidate.prefix === route.prefix &&
      candidate.gateway === route.gateway &&
      (route.metric === null || candidate.metric === route.metric);
    if (!own.some(matches)) {
      return {
        wanted: `${network}/${route.prefix} via ${route.gateway ?? 'the link'} on ${name}`,
        got: 'no such route',
      };
    }
  }
  return null;
}
