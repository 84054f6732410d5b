import { familyOf } from '../network/address.js';
import { goneAddresses } from '../network/gone.js';
import { HOSTS } from '../network/hostname.js';
import { foreignLines } from '../network/hosts.js';
import { type NetworkFacts, wantedAddresses } from '../network/plan.js';

/**
 * A sentence for each line of /etc/hosts by which the machine's name leads to an address that the machine does not have,
 * also after a reset where one is wanted: then `facts` have the files that it leaves. Of an address that may still come
 * from the network nothing is said.
 */
export function strangeHosts(facts: NetworkFacts, isWanted: boolean, isLive: boolean): readonly string[] {
  const { live = [], interfaces, currentHostname } = facts;
  if (!isWanted && !isLive) return [];
  const gone = isWanted ? goneAddresses(facts, []) : new Set();
  const staying = live.map(({ address }) => address).filter((address) => !gone.has(address));
  const own = new Set([...wantedAddresses(facts), ...staying]);
  const name = facts.hostname ?? currentHostname;
  const mayCome = (address: string): boolean =>
    isWanted && interfaces.some(({ dhcp4, auto6 }) => (familyOf(address) === 4 ? dhcp4 : auto6 !== null));
  return foreignLines(facts.files.get(HOSTS) ?? '', name, own)
    .filter(({ address }) => isLive || !mayCome(address))
    .map(({ line }) => `'${line}' gives this machine an address that it does not have; a reset leaves the line alone`);
}
