import { setTimeout as sleep } from 'node:timers/promises';
import { EmulatedMachine, succeeded } from '../emulated-machine.js';
import { type Ended, PATIENCE } from '../serial-shell.js';
import { GUEST, GUEST_MAC, type Images } from './images.js';

/** What it takes to boot where nothing else runs, milliseconds. */
const QUIET_BOOT_TIME = 30_000;

/**
 * The real hypervisor in an emulated machine, with a dom0 to be driven by scripts and a guest in it. The hypervisor
 * owns the first serial line, where everything's console comes out.
 */
export class XenMachine implements AsyncDisposable {
  readonly #machine: EmulatedMachine;

  private constructor(machine: EmulatedMachine) {
    this.#machine = machine;
  }

  /** Resolves once dom0 takes scripts. */
  static async boot(images: Images): Promise<XenMachine> {
    const machine = await EmulatedMachine.boot(3072, () => [
      ...['-kernel', images.xen, '-append', 'console=com1 com1=115200,8n1 dom0_mem=1536M'],
      ...['-initrd', `${images.kernel} console=hvc0 quiet loglevel=3,${images.initrd}`],
    ]);
    return new XenMachine(machine);
  }

  /**
   * How many times as long things take as on a machine that does nothing else, by what the boot took; never below 1.
   * Limits of time are multiplied by it.
   */
  get slowness(): number {
    return Math.max(1, this.#machine.bootTime / QUIET_BOOT_TIME);
  }

  /** Everything that the hypervisor and dom0 printed, without terminal codes. */
  get console(): string {
    return this.#machine.console;
  }

  /** Runs a script in dom0, one after the other. */
  async try(script: string, patience = PATIENCE * this.slowness): Promise<Ended> {
    return this.#machine.try(script, patience);
  }

  /** As `try`, and throws when the script fails; gives what it printed. */
  async run(script: string, patience?: number): Promise<string> {
    return succeeded(script, await this.try(script, patience));
  }

  /** Starts the guest and gives its domain. `memory` in MiB. */
  async startGuest({ memory = 384, tools = true } = {}): Promise<Guest> {
    const images = tools ? `${GUEST.image} ${GUEST.tools}` : GUEST.image;
    await this.run(`
      cat ${images} > /root/guest.boot
      cat > /root/guest.cfg <<END
name = "guest"
type = "pv"
kernel = "${GUEST.kernel}"
ramdisk = "/root/guest.boot"
memory = ${memory}
vif = ["mac=${GUEST_MAC},script=vif"]
extra = "console=hvc0 quiet loglevel=1"
END
      xl create -q /root/guest.cfg`);
    return Guest.named(this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#machine[Symbol.asyncDispose]();
  }
}

/** The guest as dom0 sees it. A restored one has another domain: `Guest.named` again. */
export class Guest {
  readonly #machine: XenMachine;
  readonly domain: number;
  #last = 0;

  private constructor(machine: XenMachine, domain: number) {
    this.#machine = machine;
    this.domain = domain;
  }

  static async named(machine: XenMachine): Promise<Guest> {
    return new Guest(machine, Number(await machine.run('xl domid guest')));
  }

  /** Runs a script in the guest, through its console. */
  async try(script: string, patience = PATIENCE * this.#machine.slowness): Promise<Ended> {
    this.#last += 1;
    const id = `g${this.#last}`;
    const request = Buffer.from(script).toString('base64');
    const seconds = Math.ceil(patience / 1000);
    const ask = `
      tty=$(xenstore-read /local/domain/${this.domain}/console/tty)
      exec 4<> "$tty"
      echo '${id} ${request}' >&4
      while read -r -t ${seconds} name status output <&4; do
        [ "$name" = "@${id}" ] && echo "$status $output" && exit 0
      done
      echo "no answer from the guest within ${seconds} s"; tail -n 20 /var/log/xen/guest-guest.log; exit 1`;
    const output = await this.#machine.run(ask, patience + 10_000);
    const [status, text = ''] = output.trim().split(' ');
    return { status: Number(status), output: Buffer.from(text, 'base64').toString('utf8') };
  }

  /** As `try`, and throws when the script fails; gives what it printed. */
  async run(script: string, patience?: number): Promise<string> {
    return succeeded(script, await this.try(script, patience));
  }

  /** Resolves once `text` stands in the agent's log; throws with the log when it does not within `patience` ms. */
  async logged(text: string, patience = PATIENCE * this.#machine.slowness): Promise<void> {
    const until = performance.now() + patience;
    while ((await this.try(`grep -q '${text}' /var/log/guestwire.log`)).status !== 0) {
      if (performance.now() > until)
        throw new Error(`not logged: ${text}\n${await this.run('cat /var/log/guestwire.log')}`);
      await sleep(100);
    }
  }
}
