import { AgentError, type Argv, type Host } from '../../api/index.js';

const MODES = ['powerdown', 'halt', 'reboot'] as const;
export type ShutdownMode = (typeof MODES)[number];

const NO_SUCH_PROGRAM = 127;

/** Throws AgentError for what is no mode; the host may leave it out. */
export function parseShutdownMode(text: string | null): ShutdownMode {
  const mode = MODES.find((known) => known === (text ?? 'powerdown'));
  if (mode !== undefined) return mode;
  throw new AgentError('GW_ARGUMENT_INVALID', ['mode', MODES.join(', '), 'another']);
}

/**
 * Asks the system to stop, in its own way: its services end first. Throws AgentError when it does not begin to.
 * Minimal systems have no shutdown(8), but the programs that are named after what they do.
 */
export async function shutDown(host: Host, mode: ShutdownMode): Promise<void> {
  if (!host.live) throw new AgentError('GW_RUN_FAILED', ['shutdown', 'this is a copy of a system, which does not run']);
  const programs: readonly Argv[] = {
    powerdown: [['shutdown', '-P', '+0'], ['poweroff']] as const,
    halt: [['shutdown', '-H', '+0'], ['halt']] as const,
    reboot: [['shutdown', '-r', '+0'], ['reboot']] as const,
  }[mode];
  let failure = '';
  for (const argv of programs) {
    const { code, stderr } = await host.processes.run(argv);
    if (code === 0) return;
    failure = stderr.trim() === '' ? `exit status ${code}` : stderr.trim();
    if (code !== NO_SUCH_PROGRAM) break;
  }
  throw new AgentError('GW_RUN_FAILED', [programs[0]?.[0] ?? mode, failure]);
}
