import type {
  Argv,
  Host,
  Ipv6Settings,
  LinkChange,
  LiveNetwork,
  Nic,
  RunOptions,
  RunResult,
  State,
} from '../api/host.js';
import { Secret } from '../api/secret.js';
import { storeOfNodes } from '../host/shared/memory-store.js';
import { type MemoryFile, type MemoryFiles, memoryFiles } from './memory-files.js';

/** A program that a command ran. */
export interface Run {
  readonly argv: Argv;
  /** What it read, as text; empty when nothing was given. */
  readonly stdin: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** What a program does in a test: its answer, or a function of how it was called. What is absent is empty, or 0. */
export type Program = Partial<RunResult> | ((run: Run) => Partial<RunResult>);

export interface FakeHostOptions {
  /** Texts, or contents with mode and owner, by path. */
  readonly files?: Readonly<Record<string, string | MemoryFile>>;
  /** By path; a program that is not here is not found: exit code 127. */
  readonly programs?: Readonly<Record<string, Program>>;
  /** Nodes such as `vm-data/hostname`. */
  readonly store?: Readonly<Record<string, string>>;
  readonly nics?: readonly (Partial<Nic> & Pick<Nic, 'name' | 'mac'>)[];
  /** `guest` when absent. */
  readonly hostname?: string;
  /** Whether the machine runs; true when absent. */
  readonly live?: boolean;
}

/** A machine in memory. What commands did to it can be looked at. */
export interface FakeHost extends Host {
  readonly files: MemoryFiles;
  /** Every program that was run, in order. */
  readonly runs: readonly Run[];
  /** Nodes of the store, to be changed at will. */
  readonly nodes: Map<string, string>;
  /** Every change of addresses and routes, in order. */
  readonly linkChanges: readonly LinkChange[];
  /** The passwords that were set, by user. */
  readonly passwords: ReadonlyMap<string, string>;
  /** What the kernel was told to do for IPv6, by device. */
  readonly ipv6: ReadonlyMap<string, Partial<Ipv6Settings>>;
}

export function fakeHost(options: FakeHostOptions = {}): FakeHost {
  const runs: Run[] = [];
  const nodes = new Map(Object.entries(options.store ?? {}));
  const linkChanges: LinkChange[] = [];
  const passwords = new Map<string, string>();
  const ipv6 = new Map<string, Partial<Ipv6Settings>>();
  const nothing: LiveNetwork = { addresses: [], routes: [] };
  let hostname = options.hostname ?? 'guest';
  return {
    live: options.live ?? true,
    files: memoryFiles(options.files),
    runs,
    nodes,
    linkChanges,
    passwords,
    ipv6,
    store: storeOfNodes(nodes),
    state: memoryState(),
    processes: {
      run: (argv, given = {}) => {
        if (given.signal?.aborted === true)
          return Promise.resolve({ code: 137, stdout: '', stderr: '', timedOut: false });
        const run = recorded(argv, given);
        runs.push(run);
        return Promise.resolve(outcome(run, options.programs ?? {}));
      },
    },
    network: {
      nics: () => Promise.resolve((options.nics ?? []).map(completed)),
      live: () => Promise.resolve(nothing),
      change: (changes) => {
        linkChanges.push(...changes);
        return Promise.resolve();
      },
      ipv6Settings: (nic) => Promise.resolve(ipv6.get(nic) ?? {}),
      setIpv6: (nic, settings) => {
        ipv6.set(nic, { ...ipv6.get(nic), ...settings });
        return Promise.resolve();
      },
      hostname: () => Promise.resolve(hostname),
      setHostname: (name) => {
        hostname = name;
        return Promise.resolve();
      },
    },
    accounts: {
      setPassword: (user, password) => {
        passwords.set(user, password.reveal().toString('utf8'));
        return Promise.resolve([]);
      },
      loginState: () => Promise.resolve({ refused: [], remarks: [], locked: false }),
      hashPassword: (password, scheme) => {
        // Looks like a hash of crypt(3) and is none: nobody can log in with it.
        const letters = password.reveal().length;
        return Promise.resolve(`${scheme === 'yescrypt' ? '$y$' : '$6$'}fake$${letters}-bytes`);
      },
      lock: () => Promise.resolve({ [Symbol.asyncDispose]: () => Promise.resolve() }),
    },
    system: { kernel: () => Promise.resolve({ release: '6.1.0', version: '#1 SMP', machine: 'x86_64' }) },
  };
}

function recorded(argv: Argv, { stdin = '', environment = {} }: RunOptions): Run {
  return { argv, stdin: stdin instanceof Secret ? stdin.reveal().toString('utf8') : stdin, environment };
}

function outcome(run: Run, programs: Readonly<Record<string, Program>>): RunResult {
  const [name] = run.argv;
  const program = Object.hasOwn(programs, name) ? programs[name] : undefined;
  if (program === undefined) return { code: 127, stdout: '', stderr: `${name}: not found`, timedOut: false };
  const result = typeof program === 'function' ? program(run) : program;
  return { code: 0, stdout: '', stderr: '', timedOut: false, ...result };
}

function completed(given: Partial<Nic> & Pick<Nic, 'name' | 'mac'>, index: number): Nic {
  const unknown = { permanentMac: null, driver: null, kind: null, master: null };
  return { index: index + 1, ...unknown, up: true, mtu: 1500, physical: true, ...given };
}

function memoryState(): State {
  const files = new Map<string, Buffer>();
  const locks = new Map<string, Promise<unknown>>();
  return {
    read: (name) => Promise.resolve(files.get(name)?.toString('utf8') ?? null),
    write: (name, text) => {
      files.set(name, Buffer.from(text));
      return Promise.resolve();
    },
    remove: (name) => {
      files.delete(name);
      return Promise.resolve();
    },
    list: (folder) => {
      const names = [...files.keys()].filter((name) => name.startsWith(`${folder}/`)).sort();
      return Promise.resolve(
        names.map((name) => ({ name: name.slice(folder.length + 1), size: files.get(name)?.length ?? 0, modified: 0 })),
      );
    },
    readBytes: (name, offset, length) => Promise.resolve(files.get(name)?.subarray(offset, offset + length) ?? null),
    writeBytes: (name, offset, bytes) => {
      const before = Buffer.alloc(offset);
      files.get(name)?.copy(before);
      files.set(name, Buffer.concat([before, bytes]));
      return Promise.resolve();
    },
    exclusively: async (name, work) => {
      const turn = (locks.get(name) ?? Promise.resolve()).then(work);
      locks.set(
        name,
        turn.catch(() => undefined),
      );
      return turn;
    },
  };
}
