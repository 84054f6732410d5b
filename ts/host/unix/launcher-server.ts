/** The other end of launcher.ts: what starts the programs. */
import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { Secret, messageOf } from '../../api/index.js';
import { Channel, type Message } from '../shared/channel.js';
import type { Launch, Launched } from './launcher.js';
import { runProgram } from './processes.js';
import { codeOf } from '../../api/errors.js';

const STDIN = 0;

/**
 * Starts the programs that are asked for over the socket that this process has as its standard input, one after another,
 * until the other end closes it; what runs then is killed. Throws when standard input is none.
 */
export async function serveLauncher(): Promise<void> {
  if (!fstatSync(STDIN).isSocket()) throw new Error('standard input: wanted the socket of a service manager');
  const channel = new Channel(new Socket({ fd: STDIN, readable: true, writable: true }));
  for (;;) {
    const message = await channel.next();
    if (message === null) return;
    channel.send(await launch(message, channel.closed));
  }
}

async function launch({ header, payload }: Message, signal: AbortSignal): Promise<Launched> {
  const { argv, environment, timeout } = header as Launch;
  using stdin = new Secret(payload);
  try {
    return await runProgram(argv, { stdin, environment, timeout, signal });
  } catch (error) {
    return { failure: messageOf(error), code: codeOf(error) ?? 'UNKNOWN' };
  }
}
