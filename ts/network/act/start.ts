/** What the network needs when the agent starts: an interrupted change undone, the agent's own description in effect. */
import type { Host } from '../../api/host.js';
import { DESCRIPTION, readDescription } from '../formats/description.js';
import { LOCK } from './unfinished.js';
import { recoverNetwork } from './interrupted.js';
import { type ApplyOptions, perform } from './perform.js';
import { direct } from '../renderers/linux/direct.js';
import { inspect } from './gather.js';

export async function startNetwork(host: Host, options: ApplyOptions): Promise<void> {
  await host.state.exclusively(LOCK, async () => {
    await recoverNetwork(host, options);
    await setDescribed(host, options);
  });
}

async function setDescribed(host: Host, { log, programTimeoutMs }: ApplyOptions): Promise<void> {
  const text = await host.files.readText(DESCRIPTION);
  if (text === null || !host.live) return;
  const described = readDescription(text);
  if (described === null) {
    log.error({ file: DESCRIPTION }, 'not a description of a network; it is left alone');
    return;
  }
  const nics = await host.network.nics();
  // The names of devices may have changed since.
  const interfaces = described.flatMap((config) => {
    const nic = nics.find(({ mac, physical }) => physical && mac === config.nic.mac);
    if (nic === undefined) log.warn({ mac: config.nic.mac }, 'no such device for the described network');
    return nic === undefined ? [] : [{ ...config, nic }];
  });
  const facts = { ...(await inspect(host, [direct])), interfaces, hostname: null };
  await perform(direct.render(facts).after, { host, log, interfaces, programTimeoutMs });
  log.info({ interfaces: interfaces.map(({ nic }) => nic.name) }, 'described network set');
}
