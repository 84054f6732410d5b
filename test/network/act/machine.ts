/** A machine whose files are real ones below a scratch root, and whose kernel and programs are a few lines. */
import { pino } from 'pino';
import type {
  Argv,
  Host,
  LinkChange,
  LiveAddress,
  LiveNetwork,
  LiveRoute,
  Nic,
  RunOptions,
} from '../../../ts/api/host.js';
import { createFiles } from '../../../ts/host/unix/files.js';
import { createState } from '../../../ts/host/shared/state.js';
import type { NetworkFacts, NetworkPlan } from '../../../ts/network/plan.js';
import type { ApplyOptions } from '../../../ts/network/act/perform.js';
import { DESCRIPTION, describeInterfaces } from '../../../ts/network/formats/description.js';
import { unconfigured } from '../../../ts/network/plan.js';
import { fakeHost } from '../../../ts/testing/fake-host.js';
import type { Scratch } from '../../support/scratch.js';
import { ETH0 } from '../inputs.js';

export const OPTIONS: ApplyOptions = {
  log: pino({ level: 'silent' }),
  verifyTimeoutMs: 400,
  programTimeoutMs: 400,
};
export const BOOT_ID = 'proc/sys/kernel/random/boot_id';

type Program = (given: RunOptions) => Promise<unknown>;

/** What a program answers that the limit has ended. */
export const TIMED_OUT = { code: 137, stdout: '', stderr: '', timedOut: true };

/** Owns `scratch`. */
export class Machine implements AsyncDisposable {
  nics: readonly Nic[] = [ETH0];
  addresses: readonly LiveAddress[] = [live('192.0.2.4/24')];
  routes: readonly LiveRoute[] = [];
  /** Changes by netlink. */
  readonly changes: LinkChange[] = [];
  /** Programs that were run, by their command. */
  readonly runs: string[] = [];
  /** By their command; what is absent answers 0. */
  readonly programs = new Map<string, Program>();
  /** Answers of the kernel that are errors from now on: of reading, of changing. */
  readonly broken = { reads: 0, changes: 0 };
  readonly host: Host;
  readonly scratch: Scratch;

  constructor(scratch: Scratch) {
    const { root, state } = scratch;
    this.scratch = scratch;
    const fake = fakeHost();
    this.host = {
      ...fake,
      files: createFiles(root, state),
      state: createState(state),
      processes: { run: (argv, options = {}) => this.#run(argv, options) },
      network: {
        ...fake.network,
        nics: () => Promise.resolve(this.nics),
        live: () => this.#live(),
        change: (changes) => this.#change(changes),
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.scratch[Symbol.asyncDispose]();
  }

  async #run(argv: Argv, options: RunOptions): ReturnType<Host['processes']['run']> {
    const command = argv.join(' ');
    this.runs.push(command);
    const given = await this.programs.get(command)?.(options);
    return { code: 0, stdout: '', stderr: '', timedOut: false, ...(given ?? {}) };
  }

  #live(): Promise<LiveNetwork> {
    if (this.broken.reads-- > 0) return Promise.reject(new Error('the kernel does not answer'));
    return Promise.resolve({ addresses: this.addresses, routes: this.routes });
  }

  #change(changes: readonly LinkChange[]): Promise<void> {
    if (this.broken.changes-- > 0) return Promise.reject(new Error('the kernel refuses'));
    this.changes.push(...changes);
    for (const change of changes) this.#take(change);
    return Promise.resolve();
  }

  #take(change: LinkChange): void {
    const without = (): readonly LiveAddress[] => {
      const isIt = ({ address }: LiveAddress): boolean => 'address' in change && address === change.address;
      return this.addresses.filter((one) => !isIt(one));
    };
    switch (change.type) {
      case 'up':
      case 'down':
        this.nics = this.nics.map((nic) => (nic.name === change.nic ? { ...nic, up: change.type === 'up' } : nic));
        return;
      case 'mtu':
        this.nics = this.nics.map((nic) => (nic.name === change.nic ? { ...nic, mtu: change.mtu } : nic));
        return;
      case 'add-address':
        // One that is there keeps its place.
        if (without().length === this.addresses.length)
          this.addresses = [...this.addresses, live(`${change.address}/${change.prefix}`)];
        return;
      case 'remove-address':
        this.addresses = without();
        return;
      case 'add-route':
        this.routes = [
          ...this.routes.filter(({ network }) => network !== change.network),
          route(`${change.network}/${change.prefix}`, change.gateway),
        ];
        return;
      case 'remove-route':
        this.routes = this.routes.filter(({ network }) => network !== change.network);
    }
  }
}

export function live(text: string): LiveAddress {
  const [address = '', prefix = ''] = text.split('/');
  return { nic: 'eth0', address, prefix: Number(prefix), unusable: false, dynamic: false };
}

export function route(text: string, gateway: string | null): LiveRoute {
  const [network = '', prefix = ''] = text.split('/');
  return { nic: 'eth0', network, prefix: Number(prefix), gateway, metric: 0, onLink: false, setBy: 'boot' };
}

export const FACTS: NetworkFacts = {
  interfaces: [{ ...unconfigured(ETH0), ipv4: [{ address: '192.0.2.9', prefix: 24 }] }],
  hostname: null,
  currentHostname: 'guest',
  files: new Map(),
  present: new Set(),
  resolver: 'file',
};

/** `down` and `up` take the network down and bring it up by what stands in the agent's own description. */
export const PLAN: NetworkPlan = {
  renderer: 'direct',
  checks: [],
  before: [{ type: 'run', argv: ['down'], onFailure: 'ignore' }],
  files: [{ type: 'write', path: DESCRIPTION, content: describeInterfaces(FACTS.interfaces), mode: 0o644 }],
  after: [{ type: 'run', argv: ['up'], onFailure: 'report' }],
  restore: [{ type: 'run', argv: ['up again'], onFailure: 'report' }],
  aside: [],
  naming: { after: [], restore: [] },
  servers: { paths: [], refresh: [], problem: null },
};
