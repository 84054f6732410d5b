/** The proof of a boot, as far as other stacks are concerned: each that starts sets its devices up, whoever else does. Pure. */
import { AgentError } from '../api/errors.js';
import { serviceTaking } from './owners/services.js';
import type { Boot, InterfaceConfig, NetworkFacts, Renderer } from './plan.js';

/** Those that make their files for one another, or leave a device alone that the other one has. */
const TOGETHER: readonly (readonly [chosen: string, other: string])[] = [
  ['netplan', 'networkd'],
  ['netplan', 'networkmanager'],
  ['networkd', 'netplan'],
  ['networkmanager', 'netplan'],
];

/**
 * Throws GW_NETWORK_BOOT where the chosen stack would not start at the next boot, or another one would bring, by the files
 * of `facts`, what is not wanted on a device of ours.
 */
export function assertAlone(facts: NetworkFacts, chosen: Renderer, renderers: readonly Renderer[]): void {
  if (chosen.starts?.(facts) === false) {
    throw new AgentError('GW_NETWORK_BOOT', [`${chosen.name} to start at boot`, 'none that is enabled']);
  }
  for (const { nic } of facts.interfaces) {
    const service = facts.leftAlone?.includes(nic.name) === true ? null : serviceTaking(facts, nic, chosen.name);
    if (service === null) continue;
    throw new AgentError('GW_NETWORK_BOOT', [
      `${nic.name} set up by ${chosen.name} alone`,
      `${service} too, which starts at boot and configures it`,
    ]);
  }
  // Nobody enables others.
  const asIs = { ...facts, copy: true as const };
  for (const other of renderers) {
    if (other === chosen || other.starts?.(facts) !== true) continue;
    if (TOGETHER.some(([one, two]) => one === chosen.name && two === other.name)) continue;
    for (const config of facts.interfaces) {
      const { name } = config.nic;
      if (facts.leftAlone?.includes(name) === true) continue;
      const boot = other.boot(asIs, config.nic) ?? other.unasked?.(asIs, config.nic) ?? null;
      const more = boot === null ? null : unwanted(boot, config);
      if (boot === null || more === null) continue;
      throw new AgentError('GW_NETWORK_BOOT', [
        `${name} set up by ${chosen.name} alone`,
        `${more} from ${other.name} too, which starts at boot, by ${boot.by}`,
      ]);
    }
  }
}

function unwanted({ addresses, routes, dhcp4 }: Boot, config: InterfaceConfig): string | null {
  if (dhcp4 && !config.dhcp4) return 'DHCP';
  const wanted = [...config.ipv4, ...config.ipv6].map(({ address }) => address);
  const address = addresses.find((one) => !wanted.includes(one.address));
  if (address !== undefined) return `${address.address}/${address.prefix}`;
  const gateways = [config.gateway4, config.gateway6];
  const route = routes.find(({ prefix, gateway }) => prefix === 0 && !gateways.includes(gateway));
  return route === undefined ? null : `default via ${route.gateway ?? 'the link'}`;
}
