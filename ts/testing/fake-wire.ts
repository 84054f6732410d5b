import { type Logger, pino } from 'pino';
import { messageOf } from '../api/errors.js';
import type { Host } from '../api/host.js';
import type { Body, CommunicationModule, Reply } from '../api/communication.js';
import type { Plugin } from '../api/plugin.js';
import type { Report } from '../api/report.js';
import { featuresCommands } from '../commands/features.js';
import { versionCommands } from '../commands/version.js';
import { codec } from '../communication/xenstore/nova/codec.js';
import type { PluginTable } from '../daemon/config-file.js';
import { Dispatcher } from '../daemon/dispatcher.js';
import { createHooks } from '../daemon/hooks.js';
import { FileJournal, type JournalFile } from '../daemon/journal.js';
import { type LoadedPlugin, type PluginOptions, loadPlugin } from '../daemon/plugin.js';
import { PluginServices } from '../daemon/plugin-services.js';
import { guardedWire } from '../daemon/plugin-wire.js';
import { Registry } from '../daemon/registry.js';
import { createReports } from '../daemon/reports.js';
import { serveWires } from '../daemon/wires.js';
import { fakeHost } from './fake-host.js';
import { MemoryTransport } from './memory-transport.js';

export interface FakeWireOptions {
  /** Whether what the agent logs is printed, for a test that fails; false when absent. */
  readonly log?: boolean;
  /** How long a command may take, milliseconds; 60,000 when absent. */
  readonly commandTimeout?: number;
  /** What the configuration has in the plugin's table, as it stands there: `{ every: '15m' }`. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** A line of the agent's log: its level, such as `info`, its message and whatever fields it has. */
export interface LoggedLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/**
 * An agent with one plugin, in this process: the real dispatcher, between a wire in memory and the plugin. Hooks are
 * those below `/etc/guestwire/hooks` of the fake host, as docs/hooks.md has them; what they do is among its `programs`.
 */
export interface FakeWire {
  /** All that the agent and the plugin have logged, at every level. */
  readonly logged: readonly LoggedLine[];
  /** Sends a request and gives the one answer that the host would get, as it would get it. */
  request(name: string, value?: unknown): Promise<Reply>;
  /** As `request`, with whatever bytes in the request's place. */
  send(body: Body): Promise<Reply>;
  /** What the guest tells by itself now, of the fake host and of the plugin, as wires are handed it. */
  report(): Promise<Report>;
  /**
   * Puts `plugin` in the place of the one that runs, as SIGHUP does once the file has changed: commands that run finish.
   * Rejects with what the log would say of one that cannot be used, and the one before stays. `settings`: what the
   * configuration has for it by now; the same as before when absent.
   */
  reload(plugin: Plugin, settings?: FakeWireOptions['settings']): Promise<void>;
  /**
   * Does the scheduled work of that name now, as the agent does when it is due: nothing else begins it here. Rejects with
   * what the log would say when it fails.
   */
  runTask(name: string): Promise<void>;
  /**
   * The agent dies, whatever it is doing, and starts again on the same machine, with its plugin set up anew: requests
   * without an answer come again, and those that had begun get the answer that they were interrupted. Code that runs
   * cannot be ended here: its signal is aborted, and what it still answers reaches nobody.
   */
  crash(): Promise<void>;
  /** Stops the agent and unloads the plugin. */
  close(): Promise<void>;
}

/**
 * Sets the plugin up as the agent does, with its checks, and opens the wires that it brings, so that a test can send
 * requests over those as well. Rejects with what `guestwire commands` would say about the plugin, and when a wire of it
 * cannot be opened.
 */
export async function fakeWire(
  plugin: Plugin,
  host: Host = fakeHost(),
  { log: isPrinted = false, commandTimeout = 60_000, settings = {} }: FakeWireOptions = {},
): Promise<FakeWire> {
  const logged: LoggedLine[] = [];
  const log = createLog(logged, isPrinted);
  let table = tableOf(settings);
  const options = { host, log, loadTimeout: 10_000, commandTimeout, table: () => table };
  /** Requests without an answer. */
  const waiting = new Map<string, Waiting>();
  let running = await start(plugin, '', options);
  let current = plugin;
  let count = 0;

  const deliver = (id: string, { body, answer, fail }: Waiting): void => {
    const { transport } = running;
    transport.push(id, body, transport.answers.has(id));
    const settled = transport.retired(id).then(
      // What follows an answer, its line in the log and the hooks after it, comes in this turn of the loop.
      () => new Promise<void>((resolve) => setImmediate(resolve)),
    );
    void settled.then(() => {
      // An agent that has died answers nobody any more.
      if (transport !== running.transport) return;
      waiting.delete(id);
      try {
        answer(transport.answer(id));
      } catch (error) {
        fail(error);
      }
    });
  };
  const send = (body: Body): Promise<Reply> =>
    new Promise((answer, fail) => {
      const id = String(++count);
      const one = { body, answer, fail };
      waiting.set(id, one);
      deliver(id, one);
    });
  return {
    logged,
    request: (name, value) => send(JSON.stringify({ name, value })),
    send,
    report: () => running.report(),
    async reload(next, newSettings) {
      const before = table;
      if (newSettings !== undefined) table = tableOf(newSettings);
      try {
        await running.reload(next);
        current = next;
      } catch (error) {
        table = before;
        throw error;
      }
    },
    runTask: (name) => running.runTask(name),
    async crash() {
      const { transport, journal } = running;
      running.die();
      running = await start(current, await journal.read(), options);
      for (const [id, answers] of transport.answers) running.transport.answers.set(id, answers);
      for (const [id, one] of waiting) deliver(id, one);
    },
    close: () => running.close(),
  };
}

interface Waiting {
  readonly body: Body;
  readonly answer: (reply: Reply) => void;
  readonly fail: (error: unknown) => void;
}

/** One life of the agent. */
interface Running {
  readonly transport: MemoryTransport;
  readonly journal: JournalFile;
  /** Ends without waiting for anything. */
  die(): void;
  report(): Promise<Report>;
  reload(plugin: Plugin): Promise<void>;
  runTask(name: string): Promise<void>;
  close(): Promise<void>;
}

async function start(plugin: Plugin, journalText: string, options: PluginOptions): Promise<Running> {
  const { host, log, commandTimeout } = options;
  const registry = new Registry({ allow: ['*'], deny: [] });
  for (const module of [versionCommands(), featuresCommands(() => registry.features())]) {
    registry.add(module, { kind: 'native', where: module.name });
  }
  const load = async (next: Plugin): Promise<LoadedPlugin> => {
    const loaded = await loadPlugin('the plugin', () => Promise.resolve(next), options);
    for (const { name } of loaded.modules.flatMap(({ commands }) => commands)) {
      if (registry.origin(name)?.kind !== 'native') continue;
      loaded.unload();
      throw new Error(`the plugin brings the command '${name}', which the agent has itself`);
    }
    return loaded;
  };
  const use = ({ modules, name }: LoadedPlugin): void => {
    registry.removeExtensions();
    for (const module of modules) registry.add(module, { kind: 'plugin', where: name });
  };
  let loaded = await load(plugin);
  use(loaded);
  const journal = memoryJournal(journalText);
  const hooks = createHooks({
    host,
    log,
    directory: '/etc/guestwire/hooks',
    // Where there are none, looking for them finds none.
    isThere: () => true,
    timeoutMs: 30_000,
  });
  const services = new PluginServices(log, commandTimeout);
  const reports = createReports({ host, log, services: () => services.ask([loaded]) });
  const dispatcher = new Dispatcher({
    ...{ commands: registry, journal: await FileJournal.open(journal), log, hooks },
    changed: reports.look,
  });
  const stop = new AbortController();
  const transport = new MemoryTransport();
  const memory: CommunicationModule = { name: 'memory', codec, open: () => Promise.resolve(transport) };
  const refusals = new Map<string, unknown>();
  const brought = loaded.wires.map((wire) => {
    const module = guardedWire({ plugin: loaded, wire, codec, timeout: commandTimeout });
    const open = (): ReturnType<typeof module.open> =>
      module.open().catch((error: unknown) => {
        refusals.set(module.name, error);
        throw error;
      });
    return { ...module, open };
  });
  let serving: Promise<boolean> = Promise.resolve(true);
  const close = async (): Promise<void> => {
    stop.abort();
    await serving;
    loaded.unload();
  };
  const open = await new Promise<readonly string[]>((onReady) => {
    serving = serveWires([memory, ...brought], { dispatcher, reports, signal: stop.signal, log, onReady });
  });
  for (const { name } of brought) {
    if (open.includes(name)) continue;
    await close();
    const cause = refusals.get(name);
    throw new Error(`the plugin's wire ${name} cannot be opened: ${messageOf(cause)}`, { cause });
  }
  return {
    transport,
    journal,
    die() {
      stop.abort();
      loaded.unload();
    },
    report: () => reports.current(),
    async reload(next) {
      const fresh = await load(next);
      use(fresh);
      loaded.unload();
      loaded = fresh;
      reports.look();
    },
    async runTask(name) {
      const task = loaded.tasks.find((one) => one.name === name);
      if (task === undefined) {
        const names = loaded.tasks.map((one) => one.name).join(', ');
        throw new Error(`wanted a task of the plugin (${names === '' ? 'it has none' : names}), got ${name}`);
      }
      await dispatcher.inTurn(() => task.run(stop.signal));
    },
    close,
  };
}

function tableOf(settings: Readonly<Record<string, unknown>>): PluginTable {
  const source = 'the test';
  return { source, values: new Map(Object.entries(settings).map(([key, value]) => [key, { value, source }])) };
}

function createLog(logged: LoggedLine[], isPrinted: boolean): Logger {
  const write = (line: string): void => {
    logged.push(JSON.parse(line) as LoggedLine);
    if (isPrinted) process.stdout.write(line);
  };
  return pino({ level: 'trace', base: null, formatters: { level: (level) => ({ level }) } }, { write });
}

/** What an agent that has died has left on its disk. */
function memoryJournal(before: string): JournalFile {
  let text = before;
  const done = Promise.resolve();
  return {
    read: () => Promise.resolve(text),
    append: (more) => {
      text += more;
      return done;
    },
    replace: (next) => {
      text = next;
      return done;
    },
    [Symbol.asyncDispose]: () => done,
  };
}
