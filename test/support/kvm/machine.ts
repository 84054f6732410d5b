import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EmulatedMachine } from '../emulated-machine.js';
import type { KvmImages } from '../xen/images.js';

export const KVM_MAC = '52:54:00:12:34:56';

/** A guest as libvirt makes one: with a port of virtio-serial, whose other end is a unix socket. */
export class KvmMachine implements AsyncDisposable {
  readonly #machine: EmulatedMachine;

  private constructor(machine: EmulatedMachine) {
    this.#machine = machine;
  }

  /** Resolves once the guest takes scripts. */
  static async boot(images: KvmImages): Promise<KvmMachine> {
    const machine = await EmulatedMachine.boot(768, (directory) => [
      ...[
        '-kernel',
        images.kernel,
        '-initrd',
        images.initrd,
        '-append',
        'console=ttyS0 quiet loglevel=3 no_timer_check',
      ],
      ...['-device', 'virtio-serial-pci'],
      ...['-chardev', `socket,id=agent,path=${agentSocket(directory)},server=on,wait=off`],
      ...['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
      ...['-netdev', 'hubport,id=net,hubid=0', '-device', `virtio-net-pci,netdev=net,mac=${KVM_MAC}`],
    ]);
    return new KvmMachine(machine);
  }

  /** Where the host finds the guest's port. */
  get agentSocket(): string {
    return agentSocket(this.#machine.directory);
  }

  /** Everything that the guest's kernel and its first process printed. */
  get console(): string {
    return this.#machine.console;
  }

  /** Runs a script in the guest; gives what it printed, and throws when it fails. */
  async run(script: string): Promise<string> {
    return this.#machine.run(script);
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
  async off(patience?: number): Promise<number | null> {
    return this.#machine.off(patience);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#machine[Symbol.asyncDispose]();
  }
}

function agentSocket(directory: string): string {
  return join(directory, 'agent');
}
