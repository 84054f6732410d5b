import { dirname, resolve } from 'node:path';
import { EmulatedMachine } from '../emulated-machine.js';
import { buildOwnMachineImages } from '../xen/images.js';

/** MiB. */
const MEMORY = 3072;

/** How many times as long as usual things may take in there: beside other tests an ifdown takes 17 seconds. */
const SLOWNESS = 8;

/** How a test file ended. */
export interface Ran {
  readonly passed: boolean;
  /** What it printed, and what the kernel did meanwhile. */
  readonly output: string;
}

/**
 * This machine's files, read-only, on Debian's kernel: for tests that need modules which this machine's kernel may not
 * have. What is written in there is gone with it. It is emulated, so that it runs anywhere.
 */
export class OwnMachine implements AsyncDisposable {
  readonly #machine: EmulatedMachine;

  private constructor(machine: EmulatedMachine) {
    this.#machine = machine;
  }

  /** Resolves once it takes scripts. */
  static async boot(): Promise<OwnMachine> {
    const { kernel, initrd } = buildOwnMachineImages();
    const machine = await EmulatedMachine.boot(MEMORY, () => [
      ...['-kernel', kernel, '-initrd', initrd],
      // Without mitigations: each system call would otherwise empty the emulated TLB.
      ...['-append', `console=ttyS0 quiet loglevel=3 no_timer_check mitigations=off panic=-1 checkout=${resolve('.')}`],
      ...['-fsdev', 'local,id=machine,path=/,readonly=on,security_model=none,multidevs=remap'],
      ...['-device', 'virtio-9p-pci,fsdev=machine,mount_tag=machine'],
    ]);
    return new OwnMachine(machine);
  }

  /**
   * Runs a test file of this checkout, whose output goes to the console. `options` are node's; `patience` is in
   * milliseconds.
   */
  async test(file: string, options: readonly string[], patience: number): Promise<Ran> {
    const environment = {
      PATH: `${dirname(process.execPath)}:/usr/sbin:/usr/bin:/sbin:/bin`,
      TMPDIR: '/var/tmp',
      GUESTWIRE_SLOWNESS: String(SLOWNESS),
      GUESTWIRE_NETWORK: process.env['GUESTWIRE_NETWORK'] ?? '',
    };
    const set = Object.entries(environment).map(([name, value]) => `${name}='${value}'`);
    const command = ['env', '-i', ...set, 'node', '--test-reporter=tap', ...options, `build/${file}`];
    const before = this.#machine.console.length;
    const { status } = await this.#machine.try(`${command.join(' ')} > /dev/ttyS0 2>&1`, patience);
    return { passed: status === 0, output: this.#machine.console.slice(before) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#machine[Symbol.asyncDispose]();
  }
}
