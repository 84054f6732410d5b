/** For network.test.ts: takes steps in the network namespace that it is started in, and prints what there is then. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Ipv6Settings, LinkChange, LiveNetwork, Nic } from '../../../ts/api/host.js';
import { createNetwork } from '../../../ts/host/linux/network.js';

export type Step =
  | { readonly ip: string }
  | { readonly change: readonly LinkChange[] }
  | { readonly nic: string; readonly ipv6: Partial<Ipv6Settings> }
  | { readonly key: string; readonly value: string };

/** After the steps; `failure` is the message of the first step that failed, and ended them. */
export interface Outcome extends LiveNetwork {
  readonly nics: readonly Nic[];
  /** Of eth0. */
  readonly ipv6: Partial<Ipv6Settings>;
  readonly failure: string | null;
}

const network = createNetwork('/', true);

async function take(step: Step): Promise<void> {
  if ('ip' in step) execFileSync('ip', step.ip.split(' '));
  else if ('change' in step) await network.change(step.change);
  else if ('ipv6' in step) await network.setIpv6(step.nic, step.ipv6);
  else writeFileSync(join('/proc/sys', step.key), step.value);
}

let failure: string | null = null;
try {
  for (const step of JSON.parse(process.argv[2] ?? '[]') as Step[]) await take(step);
} catch (error) {
  failure = (error as Error).message;
}
const ipv6 = await network.ipv6Settings('eth0');
const outcome: Outcome = { nics: await network.nics(), ipv6, ...(await network.live()), failure };
process.stdout.write(JSON.stringify(outcome));
