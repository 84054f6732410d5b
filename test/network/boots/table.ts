/** For the tests of what a boot brings: files of others, and what is wanted of a device, in few words. */
import assert from 'node:assert/strict';
import { AgentError } from '../../../ts/api/errors.js';
import type { Nic } from '../../../ts/api/host.js';
import { decide } from '../../../ts/network/decide.js';
import {
  type InterfaceConfig,
  type NetworkFacts,
  type NetworkPlan,
  type Renderer,
  unconfigured,
  withChanges,
} from '../../../ts/network/plan.js';
import { ETH0 } from '../inputs.js';

export type Files = Readonly<Record<string, string>>;

interface Machine {
  readonly present?: readonly string[];
  readonly nic?: Nic;
  /** What is wanted in place of 203.0.113.10/24 by 203.0.113.1, or beside it. */
  readonly wanted?: Partial<InterfaceConfig>;
}

function factsOf(files: Files, { present = [], nic = ETH0, wanted = {} }: Machine): NetworkFacts {
  return {
    interfaces: [
      { ...unconfigured(nic), ipv4: [{ address: '203.0.113.10', prefix: 24 }], gateway4: '203.0.113.1', ...wanted },
    ],
    hostname: null,
    currentHostname: 'old',
    files: new Map(Object.entries(files)),
    present: new Set(present),
    resolver: 'other',
  };
}

/**
 * What the boot brings by the files: addresses, `NETWORK via GATEWAY metric N`, `dhcp4`, `auto6 KIND` and `mtu N`, in this
 * order. Null when nothing takes the device.
 */
export function brought(renderer: Renderer, files: Files, machine: Machine = {}): readonly string[] | null {
  const boot = renderer.boot(factsOf(files, machine), machine.nic ?? ETH0);
  if (boot === null) return null;
  return [
    ...boot.addresses.map(({ address, prefix }) => `${address}/${prefix}`),
    ...boot.routes.map(({ address, prefix, gateway, metric }) => {
      const network = prefix === 0 ? (address === '::' ? 'default6' : 'default') : `${address}/${prefix}`;
      return `${network}${gateway === null ? '' : ` via ${gateway}`}${metric === null ? '' : ` metric ${metric}`}`;
    }),
    ...(boot.dhcp4 ? ['dhcp4'] : []),
    ...(boot.auto6 === null ? [] : [`auto6 ${boot.auto6}`]),
    ...(boot.mtu === null ? [] : [`mtu ${boot.mtu}`]),
  ];
}

/** The whole decision for 203.0.113.10/24 by 203.0.113.1: the plan, or the message of the refusal and its code. */
export function decided(renderer: Renderer, files: Files, machine: Machine = {}): NetworkPlan | string {
  try {
    return decide(factsOf(files, machine), [renderer]);
  } catch (error) {
    assert.ok(error instanceof AgentError);
    return `${error.code} ${error.message}`;
  }
}

/** The message of the refusal, with its code. */
export function refused(renderer: Renderer, files: Files, machine: Machine = {}): string {
  const outcome = decided(renderer, files, machine);
  assert.ok(typeof outcome === 'string', 'not refused');
  return outcome;
}

/** What the boot brings once the plan was carried out. */
export function afterwards(renderer: Renderer, files: Files, machine: Machine = {}): readonly string[] | null {
  const plan = decided(renderer, files, machine);
  assert.ok(typeof plan !== 'string', typeof plan === 'string' ? plan : '');
  const { files: now } = withChanges(factsOf(files, machine), plan.files);
  return brought(renderer, Object.fromEntries(now), machine);
}
