/** The kernel's network by netlink; that of a copy of a system from its /sys/class/net, as far as it stands there. */
import { readFile, readdir, readlink, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type NetworkAddress, type NetworkChange, type NetworkLink, networkApply, networkSnapshot } from '#binding';
import type { Lifetime, LinkChange, LiveAddress, LiveNetwork, LiveRoute, Network, Nic } from '../../api/host.js';
import { readIpv6, writeIpv6 } from './ipv6-settings.js';
import { originOf, protocolOf } from './route-origin.js';

const ETHERNET = '1';
const ETHERNET_MTU = 1500;
const NO_MAC = '00:00:00:00:00:00';
const IFF_UP = 0x1;
/** NET_ADDR_PERM: the address is the device's own, not set by somebody. */
const PERMANENT = '0';
/**
 * Kinds that stand on no other device. A VIF has none at all; these are what containers and tests have instead. Every
 * other kind, also one of a future kernel, may show the MAC of the device below it.
 */
const STANDALONE: readonly (string | null)[] = [null, 'veth', 'netkit', 'dummy'];

/** The network of the system under `root`. `live` tells whether its kernel is the one that runs here. */
export function createNetwork(root: string, live: boolean): Network {
  const sys = join(root, 'sys/class/net');
  const proc = join(root, 'proc');
  const requireLive = (): void => {
    if (!live) throw new Error(`the system under ${root} is not running: its kernel cannot be changed`);
  };
  return {
    async nics() {
      const nics = live ? await kernelNics(sys) : await copiedNics(sys);
      return nics.filter(({ mac }) => mac !== NO_MAC).sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    async live() {
      return Promise.resolve(live ? kernelNetwork() : { addresses: [], routes: [] });
    },
    async change(changes) {
      requireLive();
      networkApply(await Promise.resolve(indexed(changes, Date.now())));
    },
    ipv6Settings: (nic) => readIpv6(join(proc, 'sys/net/ipv6/conf', nic)),
    async setIpv6(nic, settings) {
      requireLive();
      await writeIpv6(join(proc, 'sys/net/ipv6/conf', nic), settings);
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

async function kernelNics(sys: string): Promise<Nic[]> {
  const { links } = networkSnapshot();
  const names = namesOf(links);
  return Promise.all(
    links
      .filter(({ ethernet, loopback }) => ethernet && !loopback)
      .map(async ({ index, name, alternativeNames, mac, permanentMac, kind, master, up, mtu }) => ({
        name,
        ...(alternativeNames.length === 0 ? {} : { alternativeNames }),
        index,
        mac: mac ?? NO_MAC,
        permanentMac,
        driver: await linkedName(join(sys, name, 'device/driver')),
        kind,
        master: master === null ? null : (names.get(master) ?? null),
        up,
        mtu,
        physical: STANDALONE.includes(kind),
      })),
  );
}

/** Without loopback; entries of a device that came or went while the tables were read are left out. */
function kernelNetwork(): LiveNetwork {
  const { links, addresses, routes } = networkSnapshot();
  const names = namesOf(links.filter(({ loopback }) => !loopback));
  const now = Date.now();
  const on = <T>(index: number, entry: (nic: string) => T): readonly T[] => {
    const nic = names.get(index);
    return nic === undefined ? [] : [entry(nic)];
  };
  return {
    addresses: addresses.flatMap((entry) => on(entry.index, (nic) => liveAddress(nic, entry, now))),
    routes: routes.flatMap(({ index, expires, network, prefix, gateway, metric, onLink, protocol }) =>
      on(index, (nic): LiveRoute => {
        const route = { nic, network, prefix, gateway, metric, onLink, setBy: originOf(protocol) };
        return expires === null ? route : { ...route, expires: now + expires * 1000 };
      }),
    ),
  };
}

function liveAddress(nic: string, entry: NetworkAddress, now: number): LiveAddress {
  const { address, prefix, unusable, dynamic, valid, preferred, noPrefixRoute, secondary } = entry;
  const preferredUntil = preferred === null ? null : now + preferred * 1000;
  return {
    ...{ nic, address, prefix, unusable, dynamic },
    ...(valid === null ? {} : { lifetime: { validUntil: now + valid * 1000, preferredUntil } }),
    ...(noPrefixRoute ? { noPrefixRoute } : {}),
    ...(secondary && address.includes(':') ? { temporary: true } : {}),
  };
}

function namesOf(links: readonly NetworkLink[]): ReadonlyMap<number, string> {
  return new Map(links.map(({ index, name }) => [index, name]));
}

/** What is to be removed from a device that is gone, is gone; what has no time left is not set. */
function indexed(changes: readonly LinkChange[], now: number): NetworkChange[] {
  const indexes = new Map(networkSnapshot().links.map(({ index, name }) => [name, index]));
  return changes.flatMap(({ nic, ...change }): NetworkChange[] => {
    const index = indexes.get(nic);
    if (index === undefined) {
      if (change.type === 'remove-address' || change.type === 'remove-route') return [];
      throw new Error(`there is no device ${nic}`);
    }
    if (change.type === 'add-address') {
      const { type, address, prefix, lifetime, noPrefixRoute = false } = change;
      const left = leftOf(lifetime, now);
      return left.valid === 0 ? [] : [{ type, index, address, prefix, noPrefixRoute, ...left }];
    }
    if (change.type === 'add-route') {
      const { type, network, prefix, gateway, metric, onLink, setBy } = change;
      const protocol = setBy === undefined ? null : protocolOf(setBy);
      const expires = change.expires === undefined ? null : secondsUntil(change.expires, now);
      return expires === 0 ? [] : [{ type, index, network, prefix, gateway, metric, onLink, protocol, expires }];
    }
    return [{ ...change, index }];
  });
}

function leftOf(lifetime: Lifetime | undefined, now: number): { valid: number | null; preferred: number | null } {
  if (lifetime === undefined) return { valid: null, preferred: null };
  const { validUntil, preferredUntil } = lifetime;
  const preferred = preferredUntil === null ? null : secondsUntil(preferredUntil, now);
  return { valid: secondsUntil(validUntil, now), preferred };
}

/** Whole ones, rounded up: what the kernel tells is rounded down. */
function secondsUntil(time: number, now: number): number {
  return Math.max(0, Math.ceil((time - now) / 1000));
}

async function copiedNics(sys: string): Promise<Nic[]> {
  const names = await readdir(sys).catch(() => []);
  const nics = await Promise.all(names.map((name) => copiedNic(sys, name)));
  return nics.filter((nic) => nic !== null);
}

async function copiedNic(sys: string, name: string): Promise<Nic | null> {
  const at = (file: string): string => join(sys, name, file);
  const word = async (file: string): Promise<string> => (await text(at(file))).trim();
  const mac = (await word('address')).toLowerCase();
  if (name === 'lo' || mac === '' || ((await word('type')) || ETHERNET) !== ETHERNET) return null;
  const kind = await copiedKind(at);
  return {
    name,
    index: Number(await word('ifindex')),
    mac,
    permanentMac: (await word('addr_assign_type')) === PERMANENT ? mac : null,
    driver: await linkedName(at('device/driver')),
    kind,
    master: await linkedName(at('master')),
    up: (Number(await word('flags')) & IFF_UP) !== 0,
    mtu: Number((await word('mtu')) || ETHERNET_MTU),
    physical: STANDALONE.includes(kind),
  };
}

/** /sys tells only of some kinds, and each in its own way. */
async function copiedKind(at: (file: string) => string): Promise<string | null> {
  const signs = { bridge: 'bridge', bonding: 'bond', tun_flags: 'tun' };
  for (const [sign, kind] of Object.entries(signs)) {
    if ((await stat(at(sign)).catch(() => null)) !== null) return kind;
  }
  const type = /^DEVTYPE=(vlan|bridge|bond|macvlan|macvtap|team|vxlan)$/m.exec(await text(at('uevent')));
  return type?.[1] ?? null;
}

/** The name of what a link in /sys leads to, such as a driver. */
async function linkedName(link: string): Promise<string | null> {
  return readlink(link).then(basename, () => null);
}

async function text(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
