import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Does `work` while process `pid` is killed at the `count`-th call of `step` from now on. */
export async function killAt(pid: number, step: string, count: number, work: () => Promise<void>): Promise<void> {
  const inject = `inject=${step}:signal=SIGKILL:when=${count}`;
  const args = ['-f', '-p', String(pid), '-e', `trace=${step}`, '-e', inject];
  const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(strace, 'exit');
  const signal = AbortSignal.timeout(30_000);
  let printed = '';
  strace.stderr.setEncoding('utf8').on('data', (text: string) => (printed += text));
  while (!printed.includes('attached')) {
    const died = strace.exitCode !== null || strace.signalCode !== null;
    if (died || signal.aborted) throw new Error(`strace does not attach: ${printed}`);
    await Promise.race([once(strace.stderr, 'data', { signal }).catch(() => undefined), ended]);
  }
  try {
    await work();
  } finally {
    // Not SIGTERM: strace would then wait for each thread to stop, for good if the agent is dying just now.
    strace.kill('SIGKILL');
    await ended;
  }
}
