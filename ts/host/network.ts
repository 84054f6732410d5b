/** Devices from /sys/class/net, addresses and routes from the kernel's own tables under /proc/net. */
import { readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { LiveAddress, LiveRoute, Network, Nic } from '../api/host.js';

const ETHERNET = '1';
const IFF_UP = 0x1;
/** NET_ADDR_PERM: the address is the device's own, not set by somebody. */
const PERMANENT = '0';
/** linux/if_addr.h */
const UNUSABLE = 0x08 | 0x40;
/** linux/route.h and linux/ipv6_route.h */
const RTF = { up: 0x1, gateway: 0x2, reject: 0x200, cache: 0x01000000 } as const;
/** The sign bit: RTF_LOCAL, a route to one of our own addresses. */
const isLocal = (flags: number): boolean => flags >>> 31 === 1;

/** The network of the system under `root`. `live` tells whether its kernel is the one that runs here. */
export function createNetwork(root: string, live: boolean): Network {
  const sys = join(root, 'sys/class/net');
  const proc = join(root, 'proc');
  return {
    async nics() {
      const names = await readdir(sys).catch(() => []);
      const nics = await Promise.all(names.sort().map((name) => readNic(sys, name)));
      return nics.filter((nic) => nic !== null);
    },
    async live() {
      return {
        addresses: [...ipv4Addresses(), ...(await ipv6Addresses(proc))],
        routes: [...(await ipv4Routes(proc)), ...(await ipv6Routes(proc))],
      };
    },
    async hostname() {
      const file = live ? join(proc, 'sys/kernel/hostname') : join(root, 'etc/hostname');
      const lines = (await text(file)).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
      return lines[0]?.trim() ?? '';
    },
    async setHostname(hostname) {
      await writeFile(join(proc, 'sys/kernel/hostname'), hostname);
    },
  };
}

async function text(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

async function readNic(sys: string, name: string): Promise<Nic | null> {
  const at = (file: string): string => join(sys, name, file);
  const mac = (await text(at('address'))).trim().toLowerCase();
  if (name === 'lo' || mac === '' || mac === '00:00:00:00:00:00') return null;
  if (((await text(at('type'))).trim() || ETHERNET) !== ETHERNET) return null;
  const flags = Number((await text(at('flags'))).trim() || '0');
  const assigned = (await text(at('addr_assign_type'))).trim();
  return {
    name,
    mac,
    permanentMac: assigned === PERMANENT ? mac : null,
    up: (flags & IFF_UP) !== 0,
    physical: !(await isStacked(at)),
  };
}

/** Whether the device stands on others and may show their MAC: a bridge, bond, VLAN, macvlan or the like. */
async function isStacked(at: (file: string) => string): Promise<boolean> {
  for (const sign of ['bridge', 'bonding', 'tun_flags']) {
    if ((await stat(at(sign)).catch(() => null)) !== null) return true;
  }
  return /^DEVTYPE=(vlan|bridge|bond|macvlan|macvtap|team|vxlan)$/m.test(await text(at('uevent')));
}

/** getifaddrs(3): also the secondary addresses, which /proc/net has no table of. */
function ipv4Addresses(): readonly LiveAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([nic, entries = []]) =>
    entries
      .filter(({ family }) => family === 'IPv4')
      .map(({ address, cidr }) => ({ nic, address, prefix: Number(cidr?.split('/')[1] ?? 32), unusable: false })),
  );
}

async function ipv6Addresses(proc: string): Promise<readonly LiveAddress[]> {
  // fe80...01 02 40 20 80 eth0: address, interface number, prefix, scope, flags, name; all but the name in hex
  return rows(await text(join(proc, 'net/if_inet6'))).flatMap(
    ([address = '', , prefix = '', , flags = '', nic = '']) =>
      nic === 'lo'
        ? []
        : [
            {
              nic,
              address: ipv6(address),
              prefix: parseInt(prefix, 16),
              unusable: (parseInt(flags, 16) & UNUSABLE) !== 0,
            },
          ],
  );
}

async function ipv4Routes(proc: string): Promise<readonly LiveRoute[]> {
  // Iface Destination Gateway Flags RefCnt Use Metric Mask ...; addresses in the machine's own byte order
  return rows(await text(join(proc, 'net/route')))
    .slice(1)
    .flatMap(([nic = '', network = '', gateway = '', flags = '', , , metric = '', mask = '']) => {
      const bits = parseInt(flags, 16);
      if ((bits & RTF.up) === 0 || (bits & RTF.reject) !== 0) return [];
      return [
        {
          nic,
          network: ipv4(network),
          prefix: parseInt(mask, 16).toString(2).replaceAll('0', '').length,
          gateway: (bits & RTF.gateway) === 0 ? null : ipv4(gateway),
          metric: Number(metric),
        },
      ];
    });
}

async function ipv6Routes(proc: string): Promise<readonly LiveRoute[]> {
  // destination, prefix, source, prefix, next hop, metric, references, use, flags, name; all but the name in hex
  return rows(await text(join(proc, 'net/ipv6_route'))).flatMap(
    ([network = '', prefix = '', , , gateway = '', metric = '', , , flags = '', nic = '']) => {
      const bits = parseInt(flags, 16);
      const skipped = (bits & RTF.up) === 0 || (bits & RTF.reject) !== 0 || (bits & RTF.cache) !== 0;
      // Local and multicast entries stand in this file too; the main table's are what a plan can name.
      if (skipped || isLocal(bits) || network.startsWith('ff') || nic === 'lo') return [];
      return [
        {
          nic,
          network: ipv6(network),
          prefix: parseInt(prefix, 16),
          gateway: (bits & RTF.gateway) === 0 ? null : ipv6(gateway),
          metric: parseInt(metric, 16),
        },
      ];
    },
  );
}

function rows(table: string): readonly (readonly string[])[] {
  return table
    .split('\n')
    .filter(Boolean)
    .map((line) => line.trim().split(/\s+/));
}

function ipv4(hex: string): string {
  const value = parseInt(hex, 16);
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24].join('.');
}

/** 32 hex digits to the text of RFC 5952. */
function ipv6(hex: string): string {
  const groups = (hex.match(/.{4}/g) ?? []).map((group) => parseInt(group, 16).toString(16)).join(':');
  return new URL(`http://[${groups}]`).hostname.slice(1, -1);
}
