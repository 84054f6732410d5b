/** The agent as a package installs it in a namespace's system: versions side by side, and the units. */
import { readdirSync } from 'node:fs';
import type { Input } from '../network/inputs.js';
import { Dom0, localTools } from '../support/dom0.js';
import { BUILT_VERSION, installRelease, makeRelease } from '../support/release.js';
import { type RealStore, startXenstored } from '../support/xenstored.js';
import type { Namespace } from './namespace.js';

const UNITS = 'packaging/systemd';
const SERVICE = 'guestwire.service';
/** The machine has no Xen, and no port. */
const DROP_IN = '[Unit]\nConditionVirtualization=\nConditionPathExistsGlob=\n';

export const DOMAIN = 7;

/** What the kernel says of a process. */
export interface Confinement {
  readonly noNewPrivileges: boolean;
  /** A filter of system calls is in force. */
  readonly filtered: boolean;
  /** CapBnd, a bit for each capability. */
  readonly capabilities: bigint;
}

export class Service implements AsyncDisposable {
  readonly dom0: Dom0;
  readonly #namespace: Namespace;
  readonly #store: RealStore;

  private constructor(namespace: Namespace, store: RealStore) {
    this.#namespace = namespace;
    this.#store = store;
    this.dom0 = new Dom0(localTools(store.socket), DOMAIN);
  }

  /** Into a system that is not started yet, with a xenstored in which it is a guest. */
  static async install(namespace: Namespace): Promise<Service> {
    const release = makeRelease(namespace.shared, BUILT_VERSION);
    installRelease(namespace.before('/usr/lib/guestwire'), release);
    await namespace.link({
      '/usr/bin/guestwire': '/usr/lib/guestwire/current/dist/guestwire.js',
      ...Object.fromEntries(
        readdirSync(UNITS).map((unit) => [`/etc/systemd/system/${unit}`, `/guestwire/${UNITS}/${unit}`]),
      ),
    });
    const store = await startXenstored('c', namespace.shared);
    const endpoint = (await store.addDomain(DOMAIN)).slice(namespace.shared.length + 1);
    await namespace.write({
      [`/etc/systemd/system/${SERVICE}.d/test.conf`]: DROP_IN,
      '/etc/guestwire/guestwire.toml': `[xenstore]\nendpoint = "/shared/${endpoint}"\n`,
    });
    const service = new Service(namespace, store);
    // As a toolstack leaves them: the guest's own, and the rest for it to read.
    const { dom0 } = service;
    await dom0.publish({ data: '', 'vm-data': '' });
    await dom0.tool('chmod', '-r', dom0.path('data'), `n${DOMAIN}`);
    await dom0.tool('chmod', '-r', dom0.path('vm-data'), 'n0', `r${DOMAIN}`);
    return service;
  }

  /** Socket of the store, as dom0 sees it. */
  get socket(): string {
    return this.#store.socket;
  }

  /** Calls systemctl; gives what it printed. */
  control(command: 'start' | 'stop' | 'restart'): void {
    this.#namespace.inside('systemctl', command, SERVICE);
  }

  show(property: string): string {
    return this.#namespace.inside('systemctl', 'show', '-P', property, SERVICE).trim();
  }

  get journal(): string {
    return this.#namespace.inside('journalctl', '-o', 'cat', '-u', SERVICE);
  }

  confinement(pid: string): Confinement {
    const status = this.#namespace.inside('cat', `/proc/${pid}/status`);
    const field = (name: string): string => new RegExp(`^${name}:\\s*(\\w+)$`, 'm').exec(status)?.[1] ?? '';
    return {
      noNewPrivileges: field('NoNewPrivs') === '1',
      filtered: field('Seccomp') === '2',
      capabilities: BigInt(`0x${field('CapBnd')}`),
    };
  }

  /** Makes vm-data what `input` says, and nothing else. */
  async publish({ hostname, networking = {}, networks = {} }: Partial<Input>): Promise<void> {
    const { dom0 } = this;
    for (const folder of ['networking', 'networks']) {
      await dom0.tool('rm', dom0.path(`vm-data/${folder}`)).catch(() => undefined);
    }
    const nodes = Object.entries(networking).map(
      ([id, record]) => [`networking/${id}`, JSON.stringify(record)] as const,
    );
    const plain = Object.entries(networks).flatMap(([id, values]) =>
      Object.entries(values).map(([key, value]) => [`networks/${id}/${key}`, value] as const),
    );
    const name = hostname === undefined ? [] : [['hostname', hostname] as const];
    await dom0.publish(
      Object.fromEntries([...name, ...nodes, ...plain].map(([node, value]) => [`vm-data/${node}`, value])),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store[Symbol.asyncDispose]();
  }
}
