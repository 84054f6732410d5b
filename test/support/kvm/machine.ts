import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type Socket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import type { KvmImages } from '../xen/images.js';
import { SerialShell } from '../serial-shell.js';

/** Milliseconds. */
const BOOT_PATIENCE = 120_000;

export const KVM_MAC = '52:54:00:12:34:56';

/**
 * A guest as libvirt makes one: QEMU with a port of virtio-serial, whose other end is a unix socket. It is emulated, so
 * that it runs anywhere. The first serial line is its console; scripts go through the second.
 */
export class KvmMachine implements AsyncDisposable {
  readonly #qemu: ChildProcess;
  readonly #directory: string;
  #shell: SerialShell | null = null;
  #console = '';

  private constructor(qemu: ChildProcess, directory: string) {
    this.#qemu = qemu;
    this.#directory = directory;
    for (const stream of [qemu.stdout!, qemu.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.#console += text));
    }
  }

  /** Resolves once the guest takes scripts. A boot that hangs is ended and its console thrown. */
  static async boot(images: KvmImages): Promise<KvmMachine> {
    const directory = mkdtempSync(join(tmpdir(), 'gw-kvm-'));
    const path = join(directory, 'shell');
    const server = createServer().listen(path);
    await once(server, 'listening');
    const args = [
      ...['-accel', 'tcg,thread=multi', '-smp', '2', '-m', '768', '-nodefaults', '-display', 'none', '-no-reboot'],
      // As with the hypervisor: old enough for the emulation, and with random numbers.
      ...['-cpu', 'Nehalem,+rdrand'],
      ...['-serial', 'stdio', '-serial', `unix:${path}`],
      ...['-kernel', images.kernel, '-initrd', images.initrd, '-append', 'console=ttyS0 quiet loglevel=3'],
      ...['-device', 'virtio-serial-pci'],
      ...['-chardev', `socket,id=agent,path=${join(directory, 'agent')},server=on,wait=off`],
      ...['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
      ...['-netdev', 'hubport,id=net,hubid=0', '-device', `virtio-net-pci,netdev=net,mac=${KVM_MAC}`],
    ];
    const qemu = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const machine = new KvmMachine(qemu, directory);
    try {
      const signal = AbortSignal.timeout(BOOT_PATIENCE);
      const [socket] = (await Promise.race([
        once(server, 'connection', { signal }),
        once(qemu, 'exit').then(() => Promise.reject(new Error('QEMU ended'))),
      ])) as [Socket];
      machine.#shell = await SerialShell.open(socket, () => qemu.exitCode !== null, signal);
      return machine;
    } catch (cause) {
      await machine[Symbol.asyncDispose]();
      throw new Error(`the machine did not boot:\n${machine.console}`, { cause });
    } finally {
      server.close();
    }
  }

  /** Where the host finds the guest's port. */
  get agentSocket(): string {
    return join(this.#directory, 'agent');
  }

  /** Everything that the guest's kernel and its first process printed. */
  get console(): string {
    return stripVTControlCharacters(this.#console).replaceAll('\r', '');
  }

  /** Runs a script in the guest; gives what it printed, and throws when it fails. */
  async run(script: string): Promise<string> {
    const { status, output } = await this.#shell!.ask(script);
    if (status !== 0) throw new Error(`ended with ${status}: ${script}\n${output}\n${this.console}`);
    return output.replace(/\n$/, '');
  }

  /** Resolves once `text` stands in the agent's log; throws with the log when it does not. */
  async logged(text: string, patience = 60_000): Promise<void> {
    const until = performance.now() + patience;
    for (;;) {
      const log = await this.run('cat /var/log/guestwire.log');
      if (log.includes(text)) return;
      if (performance.now() > until) throw new Error(`not logged: ${text}\n${log}`);
      await sleep(100);
    }
  }

  /** Resolves once the machine is off by itself, with QEMU's exit status. */
  async off(patience = 30_000): Promise<number | null> {
    if (this.#qemu.exitCode === null) await once(this.#qemu, 'exit', { signal: AbortSignal.timeout(patience) });
    return this.#qemu.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#shell?.close();
    if (this.#qemu.exitCode === null && this.#qemu.signalCode === null) {
      const ended = once(this.#qemu, 'exit');
      this.#qemu.kill('SIGKILL');
      await ended;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
