/** What the agent sets at its start by its own description: ts/network/act/start.ts. */
import type { Nic } from '../../api/host.js';
import { DESCRIPTION, readDescription } from '../formats/description.js';
import type { Boot } from '../plan.js';
import { destination, routesOf } from '../routes.js';
import { BootBuilder } from './boot.js';

/** Null when it does not name the device. A device is found by its MAC, like there. */
export function readDirect(files: ReadonlyMap<string, string>, nic: Nic): Boot | null {
  const config = readDescription(files.get(DESCRIPTION) ?? '')?.find((one) => one.nic.mac === nic.mac);
  if (config === undefined) return null;
  const boot = new BootBuilder();
  for (const { address, prefix } of [...config.ipv4, ...config.ipv6]) boot.addAddress(`${address}/${prefix}`);
  for (const route of routesOf(config)) boot.addRoute(destination(route), route.gateway, route.metric);
  boot.auto6 = config.auto6;
  boot.mtu = config.mtu;
  return boot.done(DESCRIPTION);
}
