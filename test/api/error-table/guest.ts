import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreServer } from '#binding';
import { Secret } from '../../../ts/api/index.js';
import { Controller, type PasswordOptions } from '../../../ts/controller/controller.js';
import { openStore } from '../../../ts/host/shared/store.js';
import { wholeOrUndone } from '../../support/cleanup.js';
import { PROGRAM } from '../../support/run-cli.js';
import { ScratchRoot } from '../../support/scratch-root.js';
import { StreamClient } from '../../support/stream-client.js';
import type { AgentEntry, Told } from './entry.js';

export const DOMAIN = 1;
/** Milliseconds. */
const PATIENCE = 30_000;

/** How a guest is made. */
type Made = Pick<AgentEntry, 'config' | 'files' | 'published'>;

/** One line of the agent's log, as far as it tells of an error. */
interface LogLine {
  readonly request?: string;
  readonly msg?: string;
  readonly code?: string;
  readonly returncode?: string;
}

/** What of a live system is not the usual. */
interface Live {
  /** The agent's own, when it is not the build. */
  readonly program?: string;
  /** `shared`: this machine's loopback is the guest's too. */
  readonly network?: 'own' | 'shared';
}

/**
 * A guest on a scratch root, the host on the other side of an embedded XenStore, and the real agent as a process of its
 * own. What the host is told comes from the store, the code from the agent's log.
 */
export class Guest implements AsyncDisposable {
  readonly scratch = new ScratchRoot();
  readonly #server: StoreServer;
  #agent: ChildProcess | null = null;
  #controller: Controller | null = null;
  #stream: StreamClient | null = null;
  #log = '';

  private constructor({ config, files = {} }: Made) {
    for (const [path, text] of Object.entries(files)) {
      if (text === null) rmSync(join(this.scratch.root, path), { recursive: true });
      else this.scratch.write(path, text);
    }
    if (config !== undefined) this.scratch.write('etc/guestwire/guestwire.toml', `${config}\n`);
    this.#server = StoreServer.listen(this.#socket);
    this.#server.addDomain(DOMAIN, this.guestSocket);
  }

  static async prepare(entry: Made): Promise<Guest> {
    return wholeOrUndone(async (cleanup) => {
      const guest = new Guest(entry);
      cleanup.add(() => guest[Symbol.asyncDispose]());
      using store = openStore({ endpoint: guest.#socket, domain: DOMAIN, poll: 'loop' }, () => undefined);
      for (const [path, value] of Object.entries(entry.published ?? {})) await store.write(path, Buffer.from(value));
      return guest;
    });
  }

  /** Where the host connects. */
  get #socket(): string {
    return join(this.scratch.directory, 'store');
  }

  get guestSocket(): string {
    return join(this.scratch.directory, 'guest');
  }

  /** Where the agent listens for a host that speaks QEMU's dialect. */
  get #streamSocket(): string {
    return join(this.scratch.directory, 'stream');
  }

  /** Starts the agent on the root: nothing is run there, and nothing live changes. */
  async start(): Promise<void> {
    const wires = ['--store', this.guestSocket, '--listen', this.#streamSocket];
    await this.#run([process.execPath, PROGRAM, 'run', ...wires, '--root', this.scratch.root]);
  }

  /**
   * Starts the agent on a live system: this machine, in namespaces of its own, with the root's /etc and an empty state
   * directory. `setup` is a shell script that makes the rest of it.
   */
  async startLive(setup = '', { program = PROGRAM, network = 'own' }: Live = {}): Promise<void> {
    // What /sys shows of the network is that of whoever mounts it.
    const sys = network === 'own' ? 'mount -t sysfs sysfs /sys' : '';
    const mounts = ['mount -t tmpfs -o mode=755 tmpfs /var/lib', 'mount --bind "$1/etc" /etc'];
    const agent = `exec ${process.execPath} ${program} run --store ${this.guestSocket}`;
    const script = ['set -e', 'cd "$2"', sys, ...mounts, setup, agent].join('\n');
    const inside = ['sh', '-c', script, 'sh', this.scratch.root, process.cwd()];
    const own = network === 'own' ? ['--net'] : [];
    await this.#run(['unshare', ...own, '--mount', '--uts', ...inside]);
  }

  async #run([program = '', ...args]: readonly string[]): Promise<void> {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#agent = child;
    this.#log = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.#log += text));
    }
    await until(() => {
      assert.equal(child.exitCode, null, this.#log);
      return this.#log.includes('"msg":"ready"');
    }, 'the agent to be ready');
  }

  /** Ends the agent as a loss of power does. */
  async kill(): Promise<void> {
    const agent = this.#agent;
    if (agent?.exitCode !== null || agent.signalCode !== null) return;
    const ended = once(agent, 'exit');
    agent.kill('SIGKILL');
    await ended;
  }

  async controller(): Promise<Controller> {
    return (this.#controller ??= await Controller.open({ endpoint: this.#socket, domain: DOMAIN }));
  }

  /** Sends a request and gives what came of it; rejects unless that is an error. */
  async request(name: string, value: unknown = ''): Promise<Told> {
    return this.send(JSON.stringify({ name, value }));
  }

  /** As `request`, with any bytes at all. */
  async send(body: string | Uint8Array, id = 'request'): Promise<Told> {
    const { returncode, message } = await (await this.controller()).send(body, { id });
    return { code: await this.loggedCode((line) => line.request === id), returncode, message };
  }

  /** Sends a request of QEMU's guest agent that is refused. Its host is sent no return code: that is the log's. */
  async execute(name: string, args: object): Promise<Told> {
    const client = (this.#stream ??= await StreamClient.connect(this.#streamSocket));
    const { error } = await client.ask({ execute: name, arguments: args });
    const message = (error as { desc?: string } | undefined)?.desc ?? 'no error';
    const { code = 'none', returncode = 'none' } = await this.#loggedError(() => true);
    return { code, returncode, message };
  }

  /** Sends a request that has to succeed. */
  async succeeds(name: string, value: unknown): Promise<string> {
    const { returncode, message } = await (await this.controller()).request(name, value);
    assert.equal(returncode, name === 'keyinit' ? 'D0' : '0', message);
    return message;
  }

  /** Exchanges keys and sends a password that is refused. */
  async setPassword(password: string, options: PasswordOptions): Promise<Told> {
    const { keyinit, password: answer } = await (
      await this.controller()
    ).setPassword(new Secret(Buffer.from(password)), options);
    const { returncode, message } = answer ?? keyinit;
    return { code: await this.loggedCode(() => true), returncode, message };
  }

  /** The code in the first line of the log that tells of an error and is `wanted`. */
  async loggedCode(wanted: (line: LogLine) => boolean): Promise<string> {
    return (await this.#loggedError(wanted)).code ?? 'none';
  }

  async #loggedError(wanted: (line: LogLine) => boolean): Promise<LogLine> {
    let line: LogLine | undefined;
    await until(() => {
      // The last line may not be whole yet.
      const lines = this.#log
        .split('\n')
        .slice(0, -1)
        .filter((text) => text.startsWith('{'));
      const parsed = lines.map((text) => JSON.parse(text) as LogLine);
      const errors = parsed.filter(({ msg }) => msg === 'request refused' || msg === 'command failed');
      line = errors.find(wanted);
      return line !== undefined;
    }, `an error in the log, which is\n${this.#log}`);
    return line ?? {};
  }

  /** Waits until the agent has noted in its journal that it runs `command`. */
  async isRunning(command: string): Promise<void> {
    const journal = join(this.scratch.root, 'var/lib/guestwire/journal');
    const started = `"state":"started","command":"${command}"`;
    await until(() => existsSync(journal) && readFileSync(journal, 'utf8').includes(started), `${command} to run`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#stream?.[Symbol.dispose]();
    this.#controller?.[Symbol.dispose]();
    this.#server.close();
    this.scratch[Symbol.dispose]();
  }
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const end = Date.now() + PATIENCE;
  while (!holds()) {
    assert.ok(Date.now() < end, `waited in vain for ${what}`);
    await sleep(10);
  }
}
