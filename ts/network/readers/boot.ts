/**
 * What the next boot brings on a device, as the files of its stack alone say it: no kernel is asked. Each stack has a
 * reader of its own beside this file, written from the consumer's documentation, for any file and not just for ours.
 */
import { type Address, type Family, contains, networkOf, parseAddress, parsePrefix } from '../address.js';
import type { Boot, Route } from '../plan.js';

/** While a reader goes through files: a {@link Boot} in the making. */
export class BootBuilder {
  readonly #addresses: Address[] = [];
  readonly #routes: Route[] = [];
  dhcp4 = false;
  auto6: Boot['auto6'] = null;
  mtu: number | null = null;

  /** `text`: `192.0.2.4/24`, or an address alone, for which `mask` counts, or its full length. What is no address is left out. */
  addAddress(text: string, mask?: string): void {
    const [bare = '', length = mask] = text.split('/');
    const address = parseAddress(bare);
    if (address === null) return;
    const family = address.includes(':') ? 6 : 4;
    const prefix = length === undefined ? fullLength(family) : parsePrefix(length, family);
    if (prefix === null || this.#addresses.some((one) => one.address === address && one.prefix === prefix)) return;
    this.#addresses.push({ address, prefix });
  }

  removeAddress(text: string): void {
    const [bare = '', length] = text.split('/');
    const address = parseAddress(bare);
    const at = this.#addresses.findIndex((one) => {
      return one.address === address && (length === undefined || String(one.prefix) === length);
    });
    if (at >= 0) this.#addresses.splice(at, 1);
  }

  /** Whether one of the networks so far holds the address: what names no device goes there. */
  covers(text: string): boolean {
    const address = parseAddress(text);
    return address !== null && this.#addresses.some((own) => contains(own, address));
  }

  /**
   * `to`: `10.0.0.0/8`, an address alone, or `default`, for which the family comes from `gateway` or else is `family`.
   * `gateway`: null or an unspecified address for a network on the link.
   */
  addRoute(to: string, gateway: string | null, metric: number | null = null, family: Family = 4): void {
    const via = gateway === null ? null : parseAddress(gateway);
    if (gateway !== null && via === null) return;
    const isSix = to === 'default' ? (via?.includes(':') ?? family === 6) : to.includes(':');
    const [bare = '', length] = (to === 'default' ? (isSix ? '::/0' : '0.0.0.0/0') : to).split('/');
    const address = parseAddress(bare);
    const prefix = length === undefined ? fullLength(isSix ? 6 : 4) : parsePrefix(length, isSix ? 6 : 4);
    if (address === null || prefix === null) return;
    const isLink = via === null || via === '0.0.0.0' || via === '::';
    const route = { address: networkOf({ address, prefix }), prefix, gateway: isLink ? null : via, metric };
    if (!this.#routes.some((one) => JSON.stringify(one) === JSON.stringify(route))) this.#routes.push(route);
  }

  done(by: string): Boot {
    const { dhcp4, auto6, mtu } = this;
    return { addresses: this.#addresses, routes: this.#routes, dhcp4, auto6, mtu, by };
  }
}

function fullLength(family: Family): number {
  return family === 4 ? 32 : 128;
}

/** Length of the network of an IPv4 address without a mask, by its class (RFC 791). */
export function classOf(address: string): number {
  const first = Number(address.split('.')[0]);
  return first < 128 ? 8 : first < 192 ? 16 : 24;
}
