/** The host's side with nothing of ours: dom0's real tools, nova's arithmetic anew, the real openssl. */
import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type NovaView, novaReads } from './host-view.js';

const exec = promisify(execFile);

const PRIME = 162259276829213363391578010288127n;
const GENERATOR = 5n;
/** Milliseconds. The plugin waits 60 s for `resetnetwork`, of a guest that is not emulated. */
export const PATIENCE = 240_000;

export type Digest = 'md5' | 'default';

/** Runs `xenstore-<program> <args>` in dom0 and resolves with what it printed. */
export type Tools = (program: string, args: readonly string[]) => Promise<string>;

/** This machine's own tools, speaking with the store at `socket`. */
export function localTools(socket: string): Tools {
  const env = { PATH: process.env['PATH'], XENSTORED_PATH: socket };
  return async (program, args) => (await exec(`xenstore-${program}`, args, { env })).stdout;
}

/** nova and the dom0 plugin, as far as they speak with one guest. */
export class Dom0 {
  readonly #tools: Tools;
  readonly #domain: number;
  readonly #patience: number;

  /** `patience`: how long an answer may take, milliseconds. */
  constructor(tools: Tools, domain: number, patience = PATIENCE) {
    this.#tools = tools;
    this.#domain = domain;
    this.#patience = patience;
  }

  /** `xenstore-<program> <args>`, with what it printed, its final line feed taken away. */
  async tool(program: string, ...args: readonly string[]): Promise<string> {
    return (await this.#tools(program, args)).replace(/\n$/, '');
  }

  path(node: string): string {
    return `/local/domain/${this.#domain}/${node}`;
  }

  /** Writes below the guest's part of the tree. */
  async publish(nodes: Readonly<Record<string, string>>): Promise<void> {
    // The tool takes C escapes apart.
    for (const [node, value] of Object.entries(nodes)) {
      await this.tool('write', this.path(node), value.replaceAll('\\', '\\\\'));
    }
  }

  /** Names of the children; empty when there is no such node. */
  async list(node: string): Promise<readonly string[]> {
    const printed = await this.tool('list', this.path(node)).catch(() => '');
    return printed.split('\n').filter((name) => name !== '');
  }

  /** What the plugin reads, or null while there is nothing. */
  async read(node: string): Promise<string | null> {
    return this.tool('read', this.path(node)).catch(() => null);
  }

  /** Writes a request and returns its id. `argument` reaches the tool as it is. */
  async send(argument: string, id: string = randomUUID()): Promise<string> {
    await this.tool('write', this.path(`data/host/${id}`), argument);
    return id;
  }

  /** Waits as the plugin does and for the request to go; returns what `xenstore-read` printed. */
  async answer(id: string): Promise<string> {
    const until = performance.now() + this.#patience;
    for (;;) {
      const printed = await this.read(`data/guest/${id}`);
      const standing = await this.read(`data/host/${id}`);
      if (printed !== null && standing === null) return printed;
      if (performance.now() > until) {
        throw new Error(`request ${id}: ${printed === null ? 'no answer' : 'answered but not removed'}`);
      }
      await sleep(10);
    }
  }

  /** One call of nova's driver, all the way to what nova makes of the answer. */
  async call(name: string, value: unknown): Promise<NovaView> {
    const printed = await this.answer(await this.send(JSON.stringify({ name, value })));
    // nova takes 500 for success too, but only of `resetnetwork` and for the sake of old agents; ours says what it means.
    return novaReads(printed, [name === 'keyinit' ? 'D0' : '0'])!;
  }

  /** nova's set_admin_password with a controller whose openssl has this default digest. */
  async setPassword(password: string, digest: Digest): Promise<NovaView> {
    return this.call('password', await this.encryptedPassword(password, digest));
  }

  /** The first half of set_admin_password: exchanges keys and returns the value of the second request. */
  async encryptedPassword(password: string, digest: Digest): Promise<string> {
    const own = BigInt(`0x${randomBytes(10).toString('hex')}`);
    const keyinit = await this.call('keyinit', power(GENERATOR, own, PRIME).toString());
    if (keyinit.kind !== 'ok') throw new Error(`keyinit: ${keyinit.why}`);
    const shared = power(BigInt(keyinit.message), own, PRIME).toString();
    return encrypt(`${password}\n`, shared, digest);
  }
}

/** nova's `_run_ssl`, line breaks removed as nova removes them. */
async function encrypt(text: string, shared: string, digest: Digest): Promise<string> {
  const args = ['aes-128-cbc', '-A', '-a', '-pass', `pass:${shared}`, '-nosalt'];
  const running = exec('openssl', digest === 'md5' ? [...args, '-md', 'md5'] : args);
  running.child.stdin?.end(text);
  return (await running).stdout.replaceAll('\n', '');
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (let factor = base % modulus, left = exponent; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) result = (result * factor) % modulus;
    factor = (factor * factor) % modulus;
  }
  return result;
}
