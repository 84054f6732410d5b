/** The agent as a whole: which parts it is made of, and how each is given what it needs. */
import type { Logger } from 'pino';
import { AgentError } from '../api/errors.js';
import type { CommunicationModule } from '../api/communication.js';
import type { AgentHost } from '../agent/host.js';
import type { Host } from '../api/host.js';
import { hasPending } from '../commands/update-state.js';
import { AGENT_VERSION } from '../commands/version.js';
import { createCommunication } from '../communication/index.js';
import { codec } from '../communication/xenstore/nova/codec.js';
import { createEndpoints, createHost, notifyServiceManager, openUpdates } from '../host/index.js';
import { reason } from '../host/shared/reason.js';
import { becomeSoleAgent } from '../host/shared/sole-agent.js';
import { createStoreLine, storeThrough } from '../host/shared/store-line.js';
import { appendOnlyFile, isThere } from '../host/shared/system.js';
import { TRIAL_STATE } from '../host/shared/trial-state.js';
import { hasNetworkToStart } from '../network/act/unfinished.js';
import { commandOptions, communicationOptions, networkOptions } from './command-options.js';
import type { Config, PluginTables } from './config.js';
import { deferredReports } from './deferred-reports.js';
import { Dispatcher } from './dispatcher.js';
import { Extensions, type ExtensionOptions } from './extensions.js';
import { type Hooks, createHooks } from './hooks.js';
import { FileJournal } from './journal.js';
import type { Log } from './log.js';
import { addNativeCommands } from './native-commands.js';
import { Registry } from './registry.js';
import type { WatchedReports } from './reports.js';
import { type Shutdown, listenForReload } from './shutdown.js';
import type { Settling } from './update-start.js';
import { chooseWires, serveWires } from './wires.js';
import { join, resolve } from '../host/shared/runtime/path.js';

/** What a trial serves: commands that change nothing, by the one wire on which it is asked. */
const TRIAL_COMMANDS = { allow: ['version', 'features'], deny: [] };

/**
 * What the agent is for. `serving`: the host's requests. `trial`: to show an agent that serves already, and would hand over
 * to this version, that this one can: it is asked below a node of the store, or at a socket, and changes nothing.
 */
export type Purpose = { readonly for: 'serving' } | { readonly for: 'trial'; readonly at: TrialPlace };

export type TrialPlace = { readonly node: string } | { readonly socket: string };

export interface Setup {
  /** Absolute: `/`, or a copy of a system. */
  readonly root: string;
  /** False on a copy. */
  readonly live: boolean;
  readonly config: Config;
  /** Absolute, of this machine. */
  readonly stateDirectory: string;
  readonly extensions: Pick<ExtensionOptions, 'plugins' | 'scripts'>;
  /** Reads the tables of plugins in the configuration again. */
  readonly reread: () => Promise<PluginTables>;
  /** Socket of what starts programs for an agent that runs in a sandbox; null where it starts them itself. */
  readonly launcher: string | null;
  /** What this process was started as. */
  readonly program: string;
  readonly log: Log;
  readonly shutdown: Shutdown;
}

export interface Agent extends AsyncDisposable {
  /** Serves until `shutdown` asks it to end. Gives false where it failed before, or a command did not end in time. */
  serve(): Promise<boolean>;
  /** What is to follow in place of this process, once it has served: another version. Null for nothing. */
  readonly next: (() => Promise<void>) | null;
}

/**
 * Makes the agent and, to serve, puts right what an earlier run left half done. Throws AgentError GW_STATE_IN_USE where
 * another agent serves with the state directory, and GW_CONFIG_INVALID where no wire is left to serve by.
 */
export async function createAgent(purpose: Purpose, setup: Setup): Promise<Agent> {
  return purpose.for === 'serving' ? createServing(setup) : createTrial(purpose.at, setup);
}

async function createServing(setup: Setup): Promise<Agent> {
  const { root, live, config, stateDirectory, launcher, program, log: logging } = setup;
  const { log } = logging;
  await becomeSole(stateDirectory, log);
  const line = createStoreLine(config.xenstore, log);
  const { host, recovered } = await createHost({
    root,
    stateDirectory,
    live,
    store: storeThrough(line),
    backups: config.files.backups,
    launcher,
  });
  const updates = openUpdates({
    ...{ root, stateDirectory, program, store: config.xenstore },
    directory: resolve(config.update.directory),
  });
  const update = (await hasPending(host.state)) ? await updateStart({ ...host, updates }, logging) : null;
  const { restored, left } = recovered;
  if (restored.length > 0) log.warn({ files: restored }, 'files of an interrupted change put back');
  for (const file of left) log.error(file, 'a file of an interrupted change is left alone');
  await startNetwork(host, log, config);

  const registry = new Registry(config.commands);
  addNativeCommands(registry, host, commandOptions(config), updates);
  const native = createCommunication({ endpoints: createEndpoints(line), log }, communicationOptions(config, live));
  const ownWires = native.map(({ name }) => name);
  const extensions = new Extensions({ registry, host, log, ownWires, isAgent: true, ...setup.extensions });
  await extensions.load();
  for (const name of registry.unknownRules()) log.warn({ name }, 'commands.allow or commands.deny names no command');
  const reports = deferredReports({ host, log, services: () => extensions.services() });
  const { directory, timeout } = config.hooks;
  return assemble(setup, {
    line,
    registry,
    reports,
    hooks: createHooks({ host, log, directory, isThere, timeoutMs: timeout }),
    modules: chooseWires([...native, ...(await extensions.wires(codec))], config.wires.use, log),
    reload: async () => {
      await extensions.load(setup.reread);
      reports.look();
      log.info({ features: registry.features() }, 'plugins and scripts looked at again');
    },
    tasks: extensions,
    onReady: () => update?.ready(),
    async onEnd(asked) {
      extensions.unload();
      // A start that ended by itself counts against the version.
      if (asked) await update?.stopped();
    },
  });
}

/** Changes nothing, so it has no hooks, no plugins and no network to start; nor does it end another agent's change. */
async function createTrial(at: TrialPlace, setup: Setup): Promise<Agent> {
  const { root, live, config, log: logging } = setup;
  const { log } = logging;
  const stateDirectory = join(setup.stateDirectory, TRIAL_STATE);
  const line = createStoreLine({ ...config.xenstore, ...('node' in at ? { below: at.node } : {}) }, log);
  const { host } = await createHost({ root, stateDirectory, live, store: storeThrough(line) });
  const registry = new Registry(TRIAL_COMMANDS);
  addNativeCommands(registry, host, commandOptions(config));
  const options = communicationOptions(config, live);
  const alone = { ...options.stream, path: null, findPort: false, vsockPort: null };
  const native = createCommunication(
    { endpoints: createEndpoints(line), log },
    { ...options, stream: { ...alone, listen: 'socket' in at ? at.socket : null } },
  );
  const modules = chooseWires(native, ['node' in at ? 'xenstore' : 'stream'], log);
  return assemble({ ...setup, stateDirectory }, { line, registry, modules });
}

/** What differs by what the agent is for. */
interface Parts {
  readonly line: Disposable;
  readonly registry: Registry;
  readonly modules: readonly CommunicationModule[];
  readonly hooks?: Hooks;
  /** A trial tells the host nothing. */
  readonly reports?: WatchedReports;
  /** At each SIGHUP. */
  readonly reload?: () => Promise<void>;
  /** The scheduled work of plugins. */
  readonly tasks?: Pick<Extensions, 'beginTasks' | 'endTasks'>;
  readonly onReady?: () => void;
  /** `asked`: by a signal. */
  readonly onEnd?: (asked: boolean) => Promise<void>;
}

async function assemble(setup: Setup, parts: Parts): Promise<Agent> {
  const { live, stateDirectory, shutdown } = setup;
  const { log } = setup.log;
  const { registry, modules, hooks, reports, tasks } = parts;
  let next: Agent['next'] = null;
  const journalFile = appendOnlyFile(join(stateDirectory, 'journal'));
  const dispatcher = new Dispatcher({
    commands: registry,
    journal: await FileJournal.open(journalFile),
    log,
    ...(hooks === undefined ? {} : { hooks }),
    changed: () => reports?.look(),
    handOver(action) {
      next = action;
      shutdown.stop();
    },
  });
  const onReady = (wires: readonly string[]): void => {
    notifyServiceManager(`READY=1\nSTATUS=Serving ${registry.features().length} commands by ${wires.join(', ')}`);
    log.info({ version: AGENT_VERSION, live, wires }, 'ready');
    parts.onReady?.();
    if (!shutdown.signal.aborted) tasks?.beginTasks((work) => dispatcher.inTurn(work));
  };
  return {
    get next() {
      return next;
    },
    async serve() {
      let served = true as boolean;
      shutdown.signal.addEventListener('abort', () => tasks?.endTasks(), { once: true });
      const wires = serveWires(modules, {
        ...{ dispatcher, signal: shutdown.signal, log, onReady },
        ...(reports === undefined ? {} : { reports }),
      });
      const serving = wires.then((toTheEnd) => {
        served = toTheEnd;
        tasks?.endTasks();
        // Of these nothing but the line knows.
        return dispatcher.inTurn(() => Promise.resolve());
      });
      const stopReloading = parts.reload === undefined ? null : listenForReload(parts.reload);
      const outcome = await shutdown.within(serving);
      stopReloading?.();
      if (outcome === 'overdue') log.error('a command did not finish in time; it is reported at the next start');
      else log.info('stopped');
      await parts.onEnd?.(shutdown.asked);
      return outcome === 'finished' && served;
    },
    async [Symbol.asyncDispose]() {
      parts.line[Symbol.dispose]();
      await journalFile[Symbol.asyncDispose]();
    },
  };
}

async function becomeSole(stateDirectory: string, log: Logger): Promise<void> {
  await becomeSoleAgent(stateDirectory).catch((error: unknown) => {
    if (error instanceof AgentError) throw error;
    // A full or read-only disk must not lock the owner out: a password can still be set.
    log.warn({ reason: reason(error) }, 'cannot make sure that no other agent serves with the state directory');
  });
}

// What follows is loaded only where there is something: most starts come after no update, and find a network that needs
// nothing.

async function updateStart(host: AgentHost, log: Log): Promise<Settling> {
  const { startUpdated } = await import('./update-start.js');
  return startUpdated(host, log);
}

async function startNetwork(host: Host, log: Logger, config: Config): Promise<void> {
  if (!(await hasNetworkToStart(host))) return;
  const start = await import('../network/act/start.js');
  await start.startNetwork(host, { log, ...networkOptions(config) });
}
