/**
 * The agent's part inside a namespace, as root of its own system: for each step (namespace.ts) that comes on standard
 * input it starts, does what it is asked, and prints the answer and what was run. A JSON line each.
 */
import { execFileSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import type { Host, Store } from '../../ts/api/host.js';
import type { Input } from '../network/inputs.js';
import { countDown } from '../support/die.js';
import type { Outcome, Step } from './namespace.js';

// Loaded after what makes them die.
const { AgentError } = await import('../../ts/api/errors.js');
const { networkCommands } = await import('../../ts/commands/network.js');
const { createHost } = await import('../../ts/host/linux/host.js');
const { startNetwork } = await import('../../ts/network/act/start.js');
const { publishedBy } = await import('../network/inputs.js');

/** Some clients look for ten seconds whether an address is free: their tests say how long that may take. */
const VERIFY_MS = Number(process.env['GUESTWIRE_VERIFY_MS'] ?? 8000);
/** As in boots.ts. */
const SLOWNESS = Number(process.env['GUESTWIRE_SLOWNESS'] ?? 1);
const LIMITS = {
  verifyTimeoutMs: SLOWNESS * VERIFY_MS,
  deviceTimeoutMs: SLOWNESS * 5000,
  programTimeoutMs: SLOWNESS * 8000,
};
const log = pino({ level: process.env['LOG_LEVEL'] ?? 'silent' }, pino.destination(2));

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await outcome(JSON.parse(line) as Step))}\n`);
}

async function outcome({ input, dieAt }: Step): Promise<Outcome> {
  // What an earlier step had left of its count is over.
  countDown(Infinity);
  const { host } = await createHost({
    root: '/',
    stateDirectory: '/var/lib/guestwire',
    live: true,
    store: storeOf(input ?? {}),
  });
  await startNetwork(host, { log, ...LIMITS });
  const programs: string[] = [];
  const watched: Host = {
    ...host,
    processes: {
      run: (argv, options) => {
        if (dieAt?.of === 'programs' && programs.length === dieAt.call) process.kill(process.pid, 'SIGKILL');
        programs.push(argv.join(' '));
        return host.processes.run(argv, options);
      },
    },
  };
  const hostname = execFileSync('hostname', { encoding: 'utf8' }).trim();
  if (input === undefined) return { reply: { returncode: '0', message: '' }, programs, hostname };
  if (dieAt?.of === 'files') countDown(dieAt.call);
  const [command] = networkCommands(watched, LIMITS).commands;
  const context = { log, signal: new AbortController().signal, handOver: () => undefined };
  const work = (async () => command!.handle('', context))();
  const reply = await work.catch((error: unknown) => {
    if (error instanceof AgentError) return { returncode: error.returncode, message: error.message };
    throw error;
  });
  return { reply, programs, hostname: execFileSync('hostname', { encoding: 'utf8' }).trim() };
}

function storeOf(input: Partial<Input>): Store {
  const { networking, networks } = publishedBy(input);
  return {
    read: (path) => {
      const [, kind, id = '', key = ''] = path.split('/');
      if (kind === 'hostname') return Promise.resolve(input.hostname ?? null);
      return Promise.resolve((kind === 'networking' ? networking.get(id) : networks.get(id)?.get(key)) ?? null);
    },
    list: (path) => {
      const [, kind, id] = path.split('/');
      const nodes = kind === 'networking' ? networking : id === undefined ? networks : networks.get(id);
      return Promise.resolve([...(nodes ?? new Map<string, string>()).keys()]);
    },
  };
}
