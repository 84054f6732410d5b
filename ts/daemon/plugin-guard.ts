/**
 * Keeps plugins from ending the process. What their timers and promises throw, outside of any call, is logged, and so is
 * whatever would end the agent; only what the agent itself throws, or decides, still does.
 */
import type { Logger } from 'pino';
import { AgentError } from '../api/errors.js';
import { Repeated } from '../api/repeated.js';
import { pluginFile } from '../host/shared/plugin-module.js';
import { endProcess, refuseToEnd } from '../host/shared/process-end.js';
import { describeError } from './log.js';
import { currentPlugin, isExit } from './plugin.js';

const UNKNOWN = 'unknown';

let guarded = false;

/** From the first plugin on; before that Node's own way stays as it is. */
export function guardProcess(log: Logger): void {
  if (guarded) return;
  guarded = true;
  /** By the plugin: a host may ask again and again for what ends in this. */
  const attempts = new Map<string, Repeated>();
  refuseToEnd((call) => {
    const running = currentPlugin();
    const trace = new Error();
    const plugin = running?.where ?? thrower(trace) ?? UNKNOWN;
    const told = attempts.get(plugin) ?? createAttempts(log.child({ plugin }));
    attempts.set(plugin, told);
    // The first frames are this file's.
    told.tell(call, { at: describeError(trace).at?.filter((frame) => pluginFile(frame) !== null) });
    const refusal = new AgentError('GW_PLUGIN_EXIT', [running?.name ?? plugin, call]);
    running?.fail?.(refusal);
    throw refusal;
  });
  process.on('uncaughtException', (error, origin) => {
    // In the log already.
    if (isExit(error)) return;
    const plugin = currentPlugin()?.where ?? thrower(error);
    if (plugin !== null) {
      log.error({ plugin, origin, error: describeError(error) }, 'plugin threw outside of a call');
      return;
    }
    log.fatal({ origin, error: describeError(error) }, 'the agent threw; it ends');
    log.flush();
    // In a file's place the log is written at the next turn of the loop, which does not come any more.
    endProcess(1);
  });
}

function createAttempts(log: Logger): Repeated {
  return new Repeated({ log, level: 'error', message: 'plugin wanted to end the agent, which goes on' });
}

/** A listener that a plugin has put on something of the agent's runs as the agent's own; its file is in the trace. */
function thrower(error: unknown): string | null {
  const frames = describeError(error).at ?? [];
  return frames.map(pluginFile).find((file) => file !== null) ?? null;
}
