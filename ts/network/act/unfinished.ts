/** What may be left to do with the network when the agent starts; small, because every start asks. */
import type { Host } from '../../api/host.js';
import { DESCRIPTION } from '../formats/description.js';

/** Guards every change of the network, and names the journal of its files. */
export const LOCK = 'network';
/** In the state directory: a change that is under way. */
export const INTERRUPTED = 'network.json';

export async function hasNetworkToStart({ live, state, files }: Host): Promise<boolean> {
  return (await state.read(INTERRUPTED)) !== null || (live && (await files.status(DESCRIPTION)) !== null);
}
