/** The proof of a boot: what the files alone bring, held against what is wanted. Pure. */
import { AgentError } from '../api/errors.js';
import { type Address, familyOf, isLinkLocal } from './address.js';
import type { Mismatch } from './mismatch.js';
import type { Boot, InterfaceConfig, NetworkFacts, Renderer, Route } from './plan.js';
import { routesOf } from './routes.js';

/**
 * Compares what the next boot would bring, by the files of `facts`, with the interfaces of `facts` that are not left
 * alone. Metrics and an MTU count only where they were asked for; so do routes, but for defaults.
 */
export function compareBoot(facts: NetworkFacts, renderer: Renderer): Mismatch | null {
  for (const config of renderer.able?.(facts.interfaces) ?? facts.interfaces) {
    if (facts.leftAlone?.includes(config.nic.name) === true) continue;
    const boot = renderer.boot(facts, config.nic);
    const mismatch = compareOne(config, boot);
    if (mismatch === null) continue;
    const why = boot === null ? (renderer.without?.(facts, config.nic) ?? null) : null;
    return why === null ? mismatch : { ...mismatch, got: `${mismatch.got}: ${why}` };
  }
  return null;
}

/** Throws GW_NETWORK_BOOT when the next boot, by the files of `facts`, would not bring what is wanted. */
export function assertBoot(facts: NetworkFacts, renderer: Renderer): void {
  const mismatch = compareBoot(facts, renderer);
  if (mismatch !== null) throw new AgentError('GW_NETWORK_BOOT', [mismatch.wanted, mismatch.got]);
}

function compareOne(config: InterfaceConfig, boot: Boot | null): Mismatch | null {
  const { name } = config.nic;
  if (boot === null) return { wanted: `a definition of ${name}`, got: 'none that counts' };
  const { wanted, got } = firstDifference(config, boot) ?? {};
  if (wanted !== undefined) return { wanted: `${wanted} on ${name}`, got: `${got} by ${boot.by}` };
  return boot.or === undefined ? null : compareOne(config, boot.or);
}

function firstDifference(config: InterfaceConfig, boot: Boot): Mismatch | null {
  const wantedAddresses = [...config.ipv4, ...config.ipv6];
  // A link-local address is no way in: it counts only where the host wants it.
  const addresses = boot.addresses.filter(({ address, prefix }) => {
    const isWanted = wantedAddresses.some((one) => one.address === address && one.prefix === prefix);
    return isWanted || !isLinkLocal(address);
  });
  for (const family of [4, 6] as const) {
    const wanted = ofFamily(wantedAddresses, family);
    const got = ofFamily(addresses, family);
    const shown = got.join(' ') || 'none';
    const missing = wanted.find((address) => !got.includes(address));
    if (missing !== undefined) return { wanted: missing, got: shown };
    const foreign = got.find((address) => !wanted.includes(address));
    if (foreign !== undefined) return { wanted: 'only its own addresses', got: `${foreign} too` };
  }
  const [primary] = config.ipv4;
  const first = addresses.find(({ address }) => familyOf(address) === 4);
  if (primary !== undefined && first?.address !== primary.address) {
    return { wanted: `${primary.address} as the first address`, got: first?.address ?? 'none' };
  }
  if (boot.dhcp4 !== config.dhcp4) return { wanted: dhcp4Text(config.dhcp4), got: dhcp4Text(boot.dhcp4) };
  if (!(boot.auto6 === config.auto6 || (boot.auto6 === 'either' && config.auto6 !== null))) {
    return { wanted: AUTO6[config.auto6 ?? 'none'], got: AUTO6[boot.auto6 ?? 'none'] };
  }
  if (config.mtu !== null && boot.mtu !== config.mtu) {
    return { wanted: `an MTU of ${config.mtu}`, got: boot.mtu === null ? 'none' : String(boot.mtu) };
  }
  return routeDifference(config, boot);
}

const AUTO6 = {
  none: 'no addresses from router advertisements',
  ra: 'addresses from router advertisements',
  dhcp: 'DHCPv6',
  either: 'what the router says',
} as const;

function dhcp4Text(isWanted: boolean): string {
  return isWanted ? 'DHCP' : 'no DHCP';
}

function routeDifference(config: InterfaceConfig, { routes, dhcp4, auto6 }: Boot): Mismatch | null {
  const wanted = routesOf(config);
  for (const { network, prefix, gateway, metric } of wanted) {
    const found = routes.some((route) => {
      const isThere = route.address === network && route.prefix === prefix && route.gateway === gateway;
      return isThere && (metric === null || route.metric === metric);
    });
    if (!found) return { wanted: routeText({ address: network, prefix, gateway, metric }), got: 'no such route' };
  }
  const dynamic = { 4: dhcp4, 6: auto6 !== null } as const;
  const other = routes.find((route) => {
    const isWanted = wanted.some(({ network, gateway }) => network === route.address && gateway === route.gateway);
    return route.prefix === 0 && !dynamic[familyOf(route.address)] && !isWanted;
  });
  return other === undefined ? null : { wanted: 'only its own default route', got: `${routeText(other)} too` };
}

function routeText({ address, prefix, gateway, metric }: Route): string {
  const network = prefix === 0 ? 'default' : `${address}/${prefix}`;
  return `${network} via ${gateway ?? 'the link'}${metric === null ? '' : ` metric ${metric}`}`;
}

function ofFamily(addresses: readonly Address[], family: 4 | 6): readonly string[] {
  return addresses
    .filter(({ address }) => familyOf(address) === family)
    .map(({ address, prefix }) => `${address}/${prefix}`);
}
