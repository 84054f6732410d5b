/**
 * What NetworkManager makes of nm-settings-keyfile(5): the profile that wins the device. Addresses and routes have the
 * forms that its keyfile reader takes, of old releases too: fields after `/`, `;` or `,`, keys with or without a number.
 */
import type { Nic } from '../../api/host.js';
import { type Family, familyOf, parseAddress } from '../address.js';
import { readSettings } from '../formats/ini-file.js';
import {
  type Profile,
  contenders,
  defaultsFor,
  isDoubtful,
  makesUpProfile,
  possible,
  valueOf,
  wired,
} from '../owners/networkmanager.js';
import type { Boot } from '../plan.js';
import { BootBuilder } from './boot.js';

/**
 * `files`: with its configuration, which says what profiles have that say nothing. Null when nothing takes the device by
 * itself.
 */
export function readNetworkManager(
  profiles: readonly Profile[],
  nic: Nic,
  files: ReadonlyMap<string, string>,
): Boot | null {
  const defaults = defaultsFor(files, nic);
  const chosen = possible(contenders(profiles.filter(isLoaded), nic));
  return chosen.reduceRight<Boot | null>((next, profile, index) => {
    const isLast = index === chosen.length - 1;
    const boot = bootOf(profile, defaults);
    return isLast && !isDoubtful(profile) ? boot : { ...boot, or: next };
  }, null);
}

/** The profile that NetworkManager makes up for a device without one; null where it makes none. */
export function readMadeUp(profiles: readonly Profile[], nic: Nic, files: ReadonlyMap<string, string>): Boot | null {
  if (!makesUpProfile(files, profiles.filter(isLoaded), nic)) return null;
  const boot = new BootBuilder();
  boot.dhcp4 = true;
  boot.auto6 = 'either';
  return boot.done('a profile that NetworkManager makes up where there is none (no-auto-default)');
}

/** A section for a family without a method makes the whole profile one that NetworkManager does not load. */
function isLoaded({ text }: Profile): boolean {
  const said = readSettings(text);
  return ['ipv4', 'ipv6'].every((family) => {
    return !said.some(({ section }) => section === family) || (valueOf(text, family, 'method') ?? '') !== '';
  });
}

type Defaults = ReadonlyMap<string, string>;

function bootOf({ path, text }: Profile, defaults: Defaults): Boot {
  const boot = new BootBuilder();
  const mtu = Number(wired(text, 'mtu') ?? '0') || Number(defaults.get('ethernet.mtu') ?? '0');
  if (mtu > 0) boot.mtu = mtu;
  const isPort = CONTROLLER.some((key) => (valueOf(text, 'connection', key) ?? '') !== '');
  if (!isPort) {
    readFamily(text, 4, boot, defaults);
    readFamily(text, 6, boot, defaults);
  }
  return boot.done(path);
}

const CONTROLLER = ['controller', 'master'];
const MAIN_TABLE = '254';

function readFamily(text: string, family: Family, boot: BootBuilder, defaults: Defaults): void {
  const section = `ipv${family}`;
  const of = (key: string): string => valueOf(text, section, key) ?? '';
  const addresses = numbered(text, section, 'address').map(({ value }) => fieldsOf(value));
  const method = of('method') === '' ? 'auto' : of('method');
  if (family === 4) boot.dhcp4 = method === 'auto';
  else boot.auto6 = method === 'auto' ? 'either' : method === 'dhcp' ? 'dhcp' : method === 'ignore' ? 'ra' : null;
  if (!/^(auto|dhcp|manual|shared)$/.test(method)) return;
  for (const [address = '', length] of addresses) boot.addAddress(address, length ?? (family === 4 ? '24' : '64'));
  // The first free one of those that it shares.
  if (method === 'shared' && family === 4 && addresses.length === 0) boot.addAddress('10.42.0.1/24');
  const table = [of('route-table'), defaults.get(`${section}.route-table`) ?? ''].find((one) => !/^0*$/.test(one));
  if (table !== undefined && table !== MAIN_TABLE) return;
  const usual = metricOf(of('route-metric'));
  const gateway = of('gateway') === '' ? (addresses[0]?.[2] ?? '') : of('gateway');
  if (gateway !== '' && !isZero(gateway) && addresses.length > 0 && !isTrue(of('never-default'))) {
    boot.addRoute('default', gateway, usual);
  }
  for (const { key, value } of numbered(text, section, 'route')) {
    if (!leadsSomewhere(of(`${key}_options`))) continue;
    const [network = '', length = family === 4 ? '24' : '128', hop = '', metric = ''] = fieldsOf(value);
    if (parseAddress(network) === null || familyOf(network) !== family) continue;
    boot.addRoute(`${network}/${length}`, hop === '' ? null : hop, metricOf(metric) ?? usual);
  }
}

/** `address`, `address1`, `addresses1` and the like, in the order of their numbers. */
function numbered(
  text: string,
  section: string,
  name: 'address' | 'route',
): readonly { readonly key: string; readonly value: string }[] {
  const form = new RegExp(`^${name}(?:es|s)?(\\d*)$`);
  const found = new Map<string, { readonly key: string; readonly value: string; readonly number: number }>();
  for (const { section: at, key, value } of readSettings(text)) {
    const number = at === section ? form.exec(key)?.[1] : undefined;
    if (number !== undefined) found.set(key, { key, value, number: number === '' ? -1 : Number(number) });
  }
  return [...found.values()].sort((a, b) => a.number - b.number);
}

/** `192.0.2.4/24,192.0.2.1` has three; the length may be left out: then it stands empty here. */
function fieldsOf(value: string): readonly (string | undefined)[] {
  const [first = '', ...others] = value.split(/\s*[;,]\s*/).filter((field, index) => index === 0 || field !== '');
  const [address, length] = first.split('/');
  const isLength = length === undefined && /^\d+$/.test(others[0] ?? '');
  return [address, length ?? (isLength ? others.shift() : undefined), ...others];
}

/** Whether a route is one of the main table that goes anywhere. */
function leadsSomewhere(options: string): boolean {
  const of = (key: string): string | undefined => new RegExp(`(?:^|,)${key}=([^,]*)`).exec(options)?.[1];
  return ['0', '254', undefined].includes(of('table')) && ['unicast', undefined].includes(of('type'));
}

/** -1 and 0 leave it to NetworkManager, for a section. */
function metricOf(text: string): number | null {
  return /^\d+$/.test(text) && text !== '0' ? Number(text) : null;
}

function isZero(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

function isTrue(value: string): boolean {
  return /^(1|true|yes)$/i.test(value);
}
