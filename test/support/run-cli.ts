import { spawn } from 'node:child_process';
import { once } from 'node:events';

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The program as tsc left it: what the tests of the command line run. */
export const PROGRAM = 'build/ts/main.js';

/** One that serves when it should have ended must not keep the tests for ever. Milliseconds. */
const PATIENCE = 120_000;

/** Runs `guestwire <args>` to its end. */
export async function runCli(args: readonly string[], stdin = ''): Promise<CliResult> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: 'pipe', timeout: PATIENCE });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => undefined).end(stdin);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code: code ?? -1, stdout, stderr };
}
