import { AgentError, messageOf } from '../../api/errors.js';
import type { Host } from '../../api/host.js';
import type { Check, NetworkPlan } from '../plan.js';
import { NO_SUCH_PROGRAM, said } from './perform.js';
import { posix } from '../../host/shared/runtime/path.js';

/**
 * Lets the stack's own programs look at what `plan` would leave, before anything is changed, for `timeoutMs`
 * (milliseconds) together. Throws GW_NETWORK_REFUSED. One that is not there, is too old to look or does not come to an end
 * is no obstacle: the result says so, a sentence each.
 */
export async function validate({ checks }: NetworkPlan, host: Host, timeoutMs: number): Promise<readonly string[]> {
  const unchecked: string[] = [];
  const end = Date.now() + timeoutMs;
  for (const check of checks) {
    const [program] = check.argv;
    const problem = await look(check, host, end - Date.now()).catch((error: unknown) => ({ unable: messageOf(error) }));
    if (typeof problem === 'string') throw new AgentError('GW_NETWORK_REFUSED', [program, problem]);
    if (problem !== null) unchecked.push(`${program} cannot check what is planned: ${problem.unable}`);
  }
  return unchecked;
}

async function look(
  { argv, files, stdin, path, unable }: Check,
  { processes }: Host,
  timeout: number,
): Promise<string | { readonly unable: string } | null> {
  if (timeout <= 0) return { unable: 'there was no time left' };
  const { code, stderr, timedOut } = await processes.run(argv, {
    timeout,
    confined: true,
    // netplan's generator starts daemons while a system boots.
    environment: { SYSTEMD_OFFLINE: '1' },
    ...(files === undefined ? {} : { folder: files }),
    ...(stdin === undefined ? {} : { stdin }),
  });
  if (code === 0) return null;
  if (timedOut) return { unable: 'it took too long' };
  const reason = said(stderr) ?? `it ended with ${code}`;
  if (code === NO_SUCH_PROGRAM || unable?.test(stderr) === true) return { unable: reason };
  return path === undefined ? reason : `${path}: ${reason}`;
}

/**
 * For whoever only looks at a plan: the same, and throws GW_FILE_FAILED for a file that nobody can write, as far as that
 * shows without a trial. On a copy no program is run.
 */
export async function foresee(plan: NetworkPlan, host: Host, timeoutMs: number): Promise<readonly string[]> {
  const { files } = host;
  for (const { path } of plan.files) {
    const reason = (await files.sealed(path)) ?? (await files.sealed(posix.dirname(path)));
    if (reason !== null) throw new AgentError('GW_FILE_FAILED', [path, `it is ${reason}`]);
  }
  return host.live ? validate(plan, host, timeoutMs) : [];
}
