import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type Socket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { messageOf } from '../../ts/api/errors.js';
import { endProcess } from './cleanup.js';
import { type Ended, PATIENCE, SerialShell } from './serial-shell.js';

/** Nothing is known yet of how fast the machine is that emulates. Milliseconds. */
const BOOT_PATIENCE = 900_000;

/**
 * A machine of QEMU's, emulated, so that it runs anywhere. Its first serial line is the console; scripts go through the
 * second.
 */
export class EmulatedMachine implements AsyncDisposable {
  readonly #qemu: ChildProcess;
  readonly #directory: string;
  #shell: SerialShell | null = null;
  #console = '';
  #bootTime = 0;

  private constructor(qemu: ChildProcess, directory: string) {
    this.#qemu = qemu;
    this.#directory = directory;
    for (const stream of [qemu.stdout!, qemu.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.#console += text));
    }
  }

  /**
   * Resolves once the machine takes scripts; one that does not boot is ended and its console thrown. `devices` gives
   * what is particular to it, and is handed a directory of its own. `memory` in MiB.
   */
  static async boot(memory: number, devices: (directory: string) => readonly string[]): Promise<EmulatedMachine> {
    const directory = mkdtempSync(join(tmpdir(), 'gw-qemu-'));
    const path = join(directory, 'shell');
    const server = createServer().listen(path);
    await once(server, 'listening');
    const args = [
      ...['-accel', 'tcg,thread=multi', '-smp', '2', '-m', String(memory), '-nodefaults', '-display', 'none'],
      // Old enough to have nothing that guests and QEMU's emulation get wrong between them: with `max`, Xen's dom0 dies
      // of SMAP, and programs now and then of what came with AVX. Without RDRAND nobody has random numbers for minutes.
      ...['-no-reboot', '-cpu', 'Nehalem,+rdrand', '-serial', 'stdio', '-serial', `unix:${path}`],
      ...devices(directory),
    ];
    const start = performance.now();
    const qemu = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const machine = new EmulatedMachine(qemu, directory);
    try {
      const signal = AbortSignal.timeout(BOOT_PATIENCE);
      const [socket] = (await Promise.race([
        once(server, 'connection', { signal }),
        once(qemu, 'exit').then(() => Promise.reject(new Error('QEMU ended'))),
      ])) as [Socket];
      machine.#shell = await SerialShell.open(socket, () => qemu.exitCode !== null, signal);
      machine.#bootTime = performance.now() - start;
      return machine;
    } catch (cause) {
      await machine[Symbol.asyncDispose]();
      throw new Error(`the machine did not boot:\n${machine.console}`, { cause });
    } finally {
      server.close();
    }
  }

  /** What `devices` was handed. */
  get directory(): string {
    return this.#directory;
  }

  /** What it took to boot, milliseconds: the measure of all that it is given to do later. */
  get bootTime(): number {
    return this.#bootTime;
  }

  /** Everything that was printed on the console, without terminal codes. */
  get console(): string {
    return stripVTControlCharacters(this.#console).replaceAll('\r', '');
  }

  /** Runs a script, one after the other. One that does not end takes the machine down. */
  async try(script: string, patience = PATIENCE): Promise<Ended> {
    try {
      return await this.#shell!.ask(script, patience);
    } catch (cause) {
      await this[Symbol.asyncDispose]();
      throw new Error(`${messageOf(cause)}\n${this.console}`, { cause });
    }
  }

  /** As `try`, and throws when the script fails; gives what it printed. */
  async run(script: string, patience?: number): Promise<string> {
    return succeeded(script, await this.try(script, patience));
  }

  /** Resolves once the machine is off by itself, with QEMU's exit status. */
  async off(patience = 30_000): Promise<number | null> {
    if (this.#qemu.exitCode === null) await once(this.#qemu, 'exit', { signal: AbortSignal.timeout(patience) });
    return this.#qemu.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#shell?.close();
    await endProcess(this.#qemu);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** What a script printed; throws when it failed. */
export function succeeded(script: string, { status, output }: Ended): string {
  if (status !== 0) throw new Error(`ended with ${status}: ${script}\n${output}`);
  return output.replace(/\n$/, '');
}
