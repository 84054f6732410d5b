/**
 * What the agent has set and found good, remembered in its state directory: an interface whose record cannot be read any
 * more is left as it is, and stays in the files that all interfaces share.
 */
import * as v from 'valibot';
import type { Host } from '../../api/host.js';
import { parseAddress } from '../address.js';
import type { InterfaceConfig } from '../plan.js';

const CONFIGURED = 'configured.json';

const text = v.nullable(v.string());
const whole = v.pipe(v.number(), v.integer(), v.minValue(0));
const ip = v.pipe(
  v.string(),
  v.check((value) => parseAddress(value) === value),
);
const address = { address: ip, prefix: v.pipe(whole, v.maxValue(128)) };
const form = v.array(
  v.object({
    nic: v.object({
      name: v.string(),
      index: whole,
      mac: v.string(),
      permanentMac: text,
      driver: text,
      kind: text,
      master: text,
      up: v.boolean(),
      mtu: whole,
      physical: v.boolean(),
    }),
    label: text,
    ipv4: v.array(v.object(address)),
    ipv6: v.array(v.object(address)),
    gateway4: v.nullable(ip),
    gateway6: v.nullable(ip),
    routes: v.array(v.object({ ...address, gateway: v.nullable(ip), metric: v.nullable(whole) })),
    dns: v.array(ip),
    dhcp4: v.boolean(),
    auto6: v.nullable(v.picklist(['ra', 'dhcp'])),
    mtu: v.nullable(whole),
  }),
);

/** Empty when nothing is known, as after an update from a version that remembered nothing, or in another form. */
export async function readConfigured({ state }: Host): Promise<readonly InterfaceConfig[]> {
  const remembered = await state.read(CONFIGURED);
  return remembered === null ? [] : parse(remembered);
}

function parse(remembered: string): readonly InterfaceConfig[] {
  try {
    const { success, output } = v.safeParse(form, JSON.parse(remembered));
    return success ? output : [];
  } catch {
    return [];
  }
}

/**
 * Does `work`, which makes the machine what `interfaces` say, and remembers them when it is done; what was known before
 * counts on when it fails. A crash in between forgets both: to know nothing is safe, to know the wrong thing is not.
 */
export async function remembering<T>(
  { state }: Host,
  interfaces: readonly InterfaceConfig[],
  work: () => Promise<T>,
): Promise<T> {
  const now = JSON.stringify(interfaces);
  const old = await state.read(CONFIGURED);
  if (now === old) return work();
  await state.remove(CONFIGURED);
  try {
    const result = await work();
    await state.write(CONFIGURED, now);
    return result;
  } catch (error) {
    if (old !== null) await state.write(CONFIGURED, old);
    throw error;
  }
}
