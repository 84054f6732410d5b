/** What the network needs when the agent starts: an interrupted change undone, the agent's own description in effect. */
import type { Host } from '../../api/host.js';
import { DESCRIPTION, readDescription } from '../formats/description.js';
import { LOCK } from './unfinished.js';
import { recoverNetwork } from './interrupted.js';
import { type ApplyOptions, perform } from './perform.js';
import { direct } from '../renderers/linux/direct.js';
import { inspect } from './gather.js';
import { RecordError, findNic } from '../wanted/values.js';

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
    try {
      return [{ ...config, nic: findNic(config.nic.mac, nics) }];
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      log.warn({ mac: config.nic.mac, reason: error.message }, 'the described network has no device');
      return [];
    }
  });
  // As if for the first time: a name that the description has may be another device's by now.
  const facts = { ...(await inspect(host, [direct])), files: new Map<string, string>(), interfaces, hostname: null };
  await perform(direct.render(facts).after, { host, log, interfaces, programTimeoutMs });
  log.info({ interfaces: interfaces.map(({ nic }) => nic.name) }, 'described network set');
}
