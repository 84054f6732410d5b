/** What a plugin's timers and promises throw, outside of any call, is logged; the agent's own still ends the process. */
import type { Logger } from 'pino';
import { pluginFile } from '../host/plugin-module.js';
import { describeError } from './log.js';
import { currentPlugin } from './plugin.js';

let guarded = false;

/** From the first plugin on; before that Node's own way stays as it is. */
export function guardProcess(log: Logger): void {
  if (guarded) return;
  guarded = true;
  process.on('uncaughtException', (error, origin) => {
    const plugin = currentPlugin() ?? thrower(error);
    if (plugin !== null) {
      log.error({ plugin, origin, error: describeError(error) }, 'plugin threw outside of a call');
      return;
    }
    log.fatal({ origin, error: describeError(error) }, 'the agent threw; it ends');
    log.flush();
    // In a file's place the log is written at the next turn of the loop, which does not come any more.
    process.exit(1);
  });
}

/** A listener that a plugin has put on something of the agent's runs as the agent's own; its file is in the trace. */
function thrower(error: unknown): string | null {
  const frames = describeError(error).at ?? [];
  return frames.map(pluginFile).find((file) => file !== null) ?? null;
}
