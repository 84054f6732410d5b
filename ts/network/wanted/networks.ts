/**
 * What Ansible and its relatives publish under `vm-data/networks/<vif>`: a node a value, all of them plain text.
 * docs/commands/resetnetwork.md has the keys.
 */
import type { Nic } from '../../api/host.js';
import { type Address, type Family } from '../address.js';
import type { InterfaceConfig } from '../plan.js';
import { RecordError, findNic, readGateway, readMac, readMtu, readOwnAddress, show, withOwnPrefix } from './values.js';

const TYPES = ['none', 'static', 'dhcp'] as const;
const TYPES_6 = [...TYPES, 'autoconf'] as const;

/** Null when the host leaves the VIF to the guest: type `none` for both families. */
export function readNetwork(values: ReadonlyMap<string, string>, nics: readonly Nic[]): InterfaceConfig | null {
  const get = (key: string): string | undefined => values.get(key)?.trim();
  const type = readType(get('type'), 'type', get('ip'), TYPES);
  const type6 = readType(get('type6'), 'type6', get('ip6'), TYPES_6);
  const mac = readMac(get('mac'));
  if (type === 'none' && type6 === 'none') return null;
  const label = get('name') ?? '';
  return {
    nic: findNic(mac, nics),
    label: label === '' ? null : label,
    ipv4: type === 'static' ? [readAddress(get('ip'), get('prefix') ?? get('netmask'), 4)] : [],
    ipv6: type6 === 'static' ? [readAddress(get('ip6'), get('prefix6'), 6)] : [],
    gateway4: type === 'static' ? readGateway(get('gateway'), 4, 'gateway') : null,
    gateway6: type6 === 'static' ? readGateway(get('gateway6'), 6, 'gateway6') : null,
    dhcp4: type === 'dhcp',
    auto6: type6 === 'dhcp' ? 'dhcp' : type6 === 'autoconf' ? 'ra' : null,
    routes: [],
    dns: [],
    mtu: readMtu(get('mtu'), type6 !== 'none'),
  };
}

/** Absent: whatever the address beside it says. */
function readType<Type extends string>(
  value: string | undefined,
  key: string,
  address: string | undefined,
  types: readonly Type[],
): Type | 'static' | 'none' {
  if (value === undefined || value === '') return address === undefined || address === '' ? 'none' : 'static';
  const type = types.find((candidate) => candidate === value.toLowerCase());
  if (type === undefined) throw new RecordError(`'${key}': expected ${types.join(', ')}, got ${show(value)}`);
  return type;
}

/** `192.0.2.4/24` carries its prefix along. */
function readAddress(value: string | undefined, mask: string | undefined, family: Family): Address {
  const [key, maskKey] = family === 4 ? ['ip', 'prefix'] : ['ip6', 'prefix6'];
  if (value === undefined || value === '') throw new RecordError(`Missing '${key}' key for a static address`);
  const [text = '', own] = value.split('/', 2);
  const address = readOwnAddress(text, family, key);
  const prefix = own ?? mask;
  if (prefix === undefined || prefix === '') throw new RecordError(`Missing '${maskKey}' key for ${address}`);
  return withOwnPrefix(address, prefix, maskKey);
}
