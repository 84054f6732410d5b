import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type Socket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KvmImages } from '../xen/images.js';
import { SerialShell } from '../serial-shell.js';

/** Milliseconds. */
const BOOT_PATIENCE = 120_000;
const PATIENCE = 40_000;
/** libvirt runs as this user: as root it would want the system's own accounts and directories. */
const NOBODY = 65_534;

/**
 * A guest that libvirt itself has made and speaks with, in one virsh: its driver is part of the process, without a
 * daemon, and all that it writes is in a temporary directory.
 */
export class LibvirtGuest implements AsyncDisposable {
  readonly #virsh: ChildProcess;
  readonly #directory: string;
  #shell: SerialShell | null = null;
  #printed = '';
  #last = 0;

  private constructor(virsh: ChildProcess, directory: string) {
    this.#virsh = virsh;
    this.#directory = directory;
    for (const stream of [virsh.stdout!, virsh.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.#printed += text));
    }
  }

  /** Resolves once the guest takes scripts and its agent is ready. */
  static async start(images: KvmImages): Promise<LibvirtGuest> {
    const directory = mkdtempSync(join(tmpdir(), 'gw-libvirt-'));
    const at = (name: string): string => join(directory, name);
    mkdirSync(at('root/etc'), { recursive: true });
    // Without virtlogd, which would be another daemon.
    writeFileSync(at('root/etc/qemu.conf'), 'stdio_handler = "file"\n');
    copyFileSync(images.kernel, at('kernel'));
    copyFileSync(images.initrd, at('initrd'));
    writeFileSync(at('guest.xml'), domainOf(directory));
    const server = createServer().listen(at('shell'));
    await once(server, 'listening');
    execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, directory]);
    chmodSync(directory, 0o700);
    const [user, group] = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`];
    const virsh = spawn(
      'setpriv',
      [user, group, '--clear-groups', 'virsh', '--connect', `qemu:///embed?root=${at('root')}`],
      { env: { PATH: process.env['PATH'], HOME: directory, XDG_RUNTIME_DIR: directory, LC_ALL: 'C' } },
    );
    const guest = new LibvirtGuest(virsh, directory);
    try {
      const signal = AbortSignal.timeout(BOOT_PATIENCE);
      const connected = once(server, 'connection', { signal });
      await guest.virsh(`create ${at('guest.xml')}`);
      const [socket] = (await connected) as [Socket];
      guest.#shell = await SerialShell.open(socket, () => virsh.exitCode !== null, signal);
      while (!(await guest.run('cat /var/log/guestwire.log')).includes('"msg":"ready"')) {
        signal.throwIfAborted();
        await sleep(100);
      }
      return guest;
    } catch (cause) {
      const told = guest.#printed;
      await guest[Symbol.asyncDispose]();
      throw new Error(`libvirt's guest did not start:\n${told}`, { cause });
    } finally {
      server.close();
    }
  }

  /** Runs a command of virsh; gives what it printed, and throws when that is an error. */
  async virsh(command: string): Promise<string> {
    this.#last += 1;
    const mark = `done-${this.#last}`;
    this.#printed = '';
    this.#virsh.stdin!.write(`${command}\necho ${mark}\n`);
    const until = performance.now() + PATIENCE;
    while (!this.#printed.includes(`\n${mark}\n`)) {
      if (this.#virsh.exitCode !== null || performance.now() > until) {
        throw new Error(`no end of ${command}:\n${this.#printed}`);
      }
      await sleep(20);
    }
    // virsh repeats what it reads; libvirt's log comes between.
    const lines = this.#printed
      .slice(0, this.#printed.indexOf(`\n${mark}\n`))
      .split('\n')
      .filter((line) => !/^virsh # |^\d{4}-\d\d-\d\d .* (info|warning) : /.test(line));
    const output = lines.join('\n').trim();
    if (/^error: /m.test(output)) throw new Error(output);
    return output;
  }

  /** Writes a file that virsh can read; gives its path. */
  put(name: string, text: string): string {
    const path = join(this.#directory, name);
    writeFileSync(path, text, { mode: 0o644 });
    return path;
  }

  /** Runs a script in the guest; gives what it printed. */
  async run(script: string): Promise<string> {
    const { status, output } = await this.#shell!.ask(script);
    if (status !== 0) throw new Error(`ended with ${status}: ${script}\n${output}`);
    return output.replace(/\n$/, '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#virsh.exitCode === null) {
      const ended = once(this.#virsh, 'exit');
      this.#virsh.stdin!.end('destroy guest\nquit\n');
      await ended;
    }
    this.#shell?.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** As docs/wires.md has it, emulated. */
function domainOf(directory: string): string {
  return `<domain type='qemu'>
  <name>guest</name>
  <memory unit='MiB'>768</memory>
  <vcpu>2</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>${directory}/kernel</kernel>
    <initrd>${directory}/initrd</initrd>
    <cmdline>console=ttyS0 quiet loglevel=3</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'>
    <model fallback='allow'>Nehalem</model>
    <feature policy='require' name='rdrand'/>
  </cpu>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <serial type='null'/>
    <serial type='unix'><source mode='connect' path='${directory}/shell'/><target port='1'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <interface type='user'><mac address='52:54:00:12:34:56'/><model type='virtio'/></interface>
    <memballoon model='none'/>
  </devices>
</domain>
`;
}
