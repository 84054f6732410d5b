/** Which addresses a change takes from the machine, by all that is known of it. */
import type { FileChange } from '../api/host.js';
import { familyOf, isLinkLocal, parseAddress } from './address.js';
import { type NetworkFacts, textOf, wantedAddresses } from './plan.js';

/**
 * Addresses that the machine had and has no more after `changes` to its files: those that the changes take out of them,
 * those that the agent has set before, and those that devices of the plan have now. An address that another device has,
 * or one that the network gives, is not among them.
 */
export function goneAddresses(facts: NetworkFacts, changes: readonly FileChange[]): ReadonlySet<string> {
  const { interfaces, files, live = [], configured = [] } = facts;
  const wanted = new Set(wantedAddresses(facts));
  const ours = new Set([...interfaces, ...configured].map(({ nic }) => nic.name));
  const elsewhere = new Set(live.filter(({ nic }) => !ours.has(nic)).map(({ address }) => address));
  const replaced = live.filter(({ nic, address }) => {
    const config = interfaces.find((candidate) => candidate.nic.name === nic);
    if (config === undefined || isLinkLocal(address)) return false;
    return familyOf(address) === 4 ? !config.dhcp4 : config.auto6 === null;
  });
  const known = [...wantedAddresses({ interfaces: configured }), ...replaced.map(({ address }) => address)];
  const dropped = changes.flatMap((change) => {
    const now = addressesIn(change.type === 'write' ? textOf(change) : '');
    return [...addressesIn(files.get(change.path) ?? '')].filter((address) => !now.has(address));
  });
  return new Set([...known.filter((address) => !elsewhere.has(address)), ...dropped].filter((one) => !wanted.has(one)));
}

/** What a file says, whatever its form; what a comment says, or a profile that is switched off, does not count. */
function addressesIn(text: string): ReadonlySet<string> {
  if (/^autoconnect=(false|no|0)$/m.test(text)) return new Set();
  const words = text.replaceAll(/^\s*[#;].*$/gm, '').match(/[\da-f:.]+/gi) ?? [];
  return new Set(words.map(parseAddress).filter((address) => address !== null));
}
