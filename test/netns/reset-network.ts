/**
 * Runs inside a namespace, as root of its own system: carries out `resetnetwork` for each step that comes on standard
 * input (a JSON line) and prints the answer, what was run, and what the real `ip` says afterwards (a JSON line).
 */
import { execFileSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import type { Host } from '../../ts/api/host.js';
import { AgentError } from '../../ts/api/errors.js';
import { networkCommands } from '../../ts/commands/network.js';
import { createHost } from '../../ts/host/host.js';
import type { Outcome, Step } from './namespace.js';

const log = pino({ level: process.env['LOG_LEVEL'] ?? 'silent' }, pino.destination(2));

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await outcome(JSON.parse(line) as Step))}\n`);
}

async function outcome({ records, hostname }: Step): Promise<Outcome> {
  const entries = Object.entries(records);
  const { host } = await createHost({
    root: '/',
    stateDirectory: '/var/lib/guestwire',
    live: true,
    store: {
      read: (path) => {
        if (path === 'vm-data/hostname') return Promise.resolve(hostname ?? null);
        const record = entries.find(([id]) => path === `vm-data/networking/${id}`)?.[1];
        return Promise.resolve(record === undefined ? null : JSON.stringify(record));
      },
      list: () => Promise.resolve(entries.map(([id]) => id)),
    },
  });
  const programs: string[] = [];
  const watched: Host = {
    ...host,
    processes: {
      run: (argv, options) => {
        programs.push(argv.join(' '));
        return host.processes.run(argv, options);
      },
    },
  };
  const command = networkCommands(watched, { verifyTimeoutMs: 8000 }).commands[0]!;
  const reply = await command.handle('', { log, signal: new AbortController().signal }).catch((error: unknown) => {
    if (error instanceof AgentError) return { returncode: error.returncode, message: error.message };
    throw error;
  });
  const ip = (...args: string[]): unknown =>
    JSON.parse(execFileSync('ip', ['-j', ...args], { encoding: 'utf8' }) || '[]');
  return {
    reply,
    programs,
    hostname: execFileSync('hostname', { encoding: 'utf8' }).trim(),
    addresses: ip('address') as Outcome['addresses'],
    routes: [...(ip('-4', 'route') as Outcome['routes']), ...(ip('-6', 'route') as Outcome['routes'])],
  };
}
