/** The agent's own description of the network, for systems whose own way of configuring it is unknown. */
import type { InterfaceConfig } from '../plan.js';

/** The network of a system that has no way of its own to configure it. */
export const DESCRIPTION = '/etc/guestwire/network.json';

/** `version` 1: the plan's interfaces as they are. */
interface Description {
  readonly version: 1;
  readonly interfaces: readonly InterfaceConfig[];
}

export function describeInterfaces(interfaces: readonly InterfaceConfig[]): string {
  // What changes from boot to boot is not part of a description; the MAC finds the device again.
  const stable = interfaces.map((config) => ({ ...config, nic: { ...config.nic, index: 0, up: false, mtu: 0 } }));
  const description = { version: 1, interfaces: stable } satisfies Description;
  const kept = (key: string, value: unknown): unknown => (key === 'alternativeNames' ? undefined : value);
  return `${JSON.stringify(description, kept, 2)}\n`;
}

/** Null when the text is not a description. */
export function readDescription(text: string): readonly InterfaceConfig[] | null {
  try {
    const description = JSON.parse(text) as Partial<Description> | null;
    return description?.version === 1 && Array.isArray(description.interfaces) ? description.interfaces : null;
  } catch {
    return null;
  }
}
