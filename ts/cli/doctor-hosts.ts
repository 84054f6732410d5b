import { familyOf } from '../network/address.js';
import { decide } from '../network/decide.js';
import { goneAddresses } from '../network/gone.js';
import { HOSTS } from '../network/hostname.js';
import { foreignLines } from '../network/hosts.js';
import { type NetworkFacts, wantedAddresses } from '../network/plan.js';
import { RENDERERS } from '../network/renderers/index.js';

/**
 * A sentence for each line of /etc/hosts by which the machine's name leads to an address that the machine does not have,
 * also after a reset where one is wanted. Of an address that may still come from the network nothing is said.
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
  return foreignLines(isWanted ? hostsAfter(facts) : (facts.files.get(HOSTS) ?? ''), name, own)
    .filter(({ address }) => isLive || !mayCome(address))
    .map(
      ({ line }) => `'${line}' names this machine by an address that it does not have; a reset leaves the line alone`,
    );
}

function hostsAfter(facts: NetworkFacts): string {
  const before = facts.files.get(HOSTS) ?? '';
  try {
    const change = decide(facts, RENDERERS).files.find(({ path }) => path === HOSTS);
    return change?.type === 'write' ? Buffer.from(change.content).toString('utf8') : before;
  } catch {
    // No reset, no change; why is said elsewhere.
    return before;
  }
}
