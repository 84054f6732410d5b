/** What hosts publish, and what the kernel is to show then: test/network/inputs/<name>.json, for every renderer alike. */
import { readFileSync, readdirSync } from 'node:fs';
import type { Nic } from '../../ts/api/host.js';
import type { Published } from '../../ts/network/wanted/wanted.js';
import type { Described } from './describe.js';

const DIRECTORY = 'test/network/inputs';

export interface Input {
  readonly what: string;
  /** As below `vm-data/networking`, but as JSON; a text stands there as it is. */
  readonly networking?: Readonly<Record<string, unknown>>;
  /** As below `vm-data/networks`. */
  readonly networks?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly hostname?: string;
  /** By interface. */
  readonly wanted: Readonly<Record<string, Described>>;
}

export function inputNames(): readonly string[] {
  return readdirSync(DIRECTORY).map((file) => file.replace(/\.json$/, ''));
}

export function readInput(name: string): Input {
  return JSON.parse(readFileSync(`${DIRECTORY}/${name}.json`, 'utf8')) as Input;
}

export function publishedBy({ networking = {}, networks = {} }: Partial<Input>): Published {
  return {
    networking: new Map(
      Object.entries(networking).map(([id, record]) => [
        id,
        typeof record === 'string' ? record : JSON.stringify(record),
      ]),
    ),
    networks: new Map(Object.entries(networks).map(([id, values]) => [id, new Map(Object.entries(values))])),
  };
}

/** A device as tests have it: a VIF that tells no MAC of its own. */
export function nic(name: string, mac: string, more: Partial<Nic> = {}): Nic {
  return {
    name,
    index: Number(name.replace(/\D/g, '')) + 2,
    mac,
    permanentMac: null,
    driver: 'vif',
    kind: null,
    master: null,
    up: true,
    mtu: 1500,
    physical: true,
    ...more,
  };
}

export const ETH0 = nic('eth0', '52:54:00:aa:00:01');
export const ETH1 = nic('eth1', '52:54:00:aa:00:02');
