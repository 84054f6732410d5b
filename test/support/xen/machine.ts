import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type Socket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { messageOf } from '../../../ts/api/errors.js';
import { type Ended, PATIENCE, SerialShell } from '../serial-shell.js';
import { GUEST, GUEST_MAC, type Images } from './images.js';

/** Milliseconds. */
const BOOT_PATIENCE = 120_000;

/**
 * The real hypervisor in an emulated machine, with a dom0 to be driven by scripts and a guest in it. The hypervisor
 * owns the first serial line, where everything's console comes out; scripts go through the second.
 */
export class XenMachine implements AsyncDisposable {
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

  /** Resolves once dom0 takes scripts. A boot that hangs is ended and its console thrown. */
  static async boot(images: Images): Promise<XenMachine> {
    const directory = mkdtempSync(join(tmpdir(), 'gw-xen-'));
    const path = join(directory, 'shell');
    const server = createServer().listen(path);
    await once(server, 'listening');
    const args = [
      ...['-accel', 'tcg,thread=multi', '-smp', '2', '-m', '3072', '-nodefaults', '-display', 'none', '-no-reboot'],
      // Old enough to have nothing that Xen's guests and QEMU's emulation get wrong between them: with `max`, dom0 dies
      // of SMAP, and programs now and then of what came with AVX. Without RDRAND nobody has random numbers for minutes.
      ...['-cpu', 'Nehalem,+rdrand'],
      ...['-serial', 'stdio', '-serial', `unix:${path}`],
      ...['-kernel', images.xen, '-append', 'console=com1 com1=115200,8n1 dom0_mem=1536M'],
      ...['-initrd', `${images.kernel} console=hvc0 quiet loglevel=3,${images.initrd}`],
    ];
    const qemu = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const machine = new XenMachine(qemu, directory);
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

  /** Everything that the hypervisor and dom0 printed, without terminal codes. */
  get console(): string {
    return stripVTControlCharacters(this.#console).replaceAll('\r', '');
  }

  /** Runs a script in dom0, one after the other. One that does not end takes the machine down. */
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
    this.#shell?.close();
    if (this.#qemu.exitCode === null && this.#qemu.signalCode === null) {
      const ended = once(this.#qemu, 'exit');
      this.#qemu.kill('SIGKILL');
      await ended;
    }
    rmSync(this.#directory, { recursive: true, force: true });
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
  async try(script: string, patience = PATIENCE): Promise<Ended> {
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
  async logged(text: string, patience = 60_000): Promise<void> {
    const until = performance.now() + patience;
    while ((await this.try(`grep -q '${text}' /var/log/guestwire.log`)).status !== 0) {
      if (performance.now() > until)
        throw new Error(`not logged: ${text}\n${await this.run('cat /var/log/guestwire.log')}`);
      await sleep(100);
    }
  }
}

function succeeded(script: string, { status, output }: Ended): string {
  if (status !== 0) throw new Error(`ended with ${status}: ${script}\n${output}`);
  return output.replace(/\n$/, '');
}
