import { join, resolve } from 'node:path';
import type { Logger } from 'pino';
import { AgentError } from '../api/errors.js';
import type { Host } from '../api/host.js';
import { hasPending } from '../commands/update-state.js';
import { AGENT_VERSION } from '../commands/version.js';
import { createCommunication } from '../communication/index.js';
import { codec } from '../communication/xenstore/codec.js';
import { type Config, type Override, loadConfig } from '../daemon/config.js';
import { Dispatcher } from '../daemon/dispatcher.js';
import { Extensions } from '../daemon/extensions.js';
import { createHooks } from '../daemon/hooks.js';
import { FileJournal } from '../daemon/journal.js';
import { createLog, type Log } from '../daemon/log.js';
import { addNativeCommands } from '../daemon/native-commands.js';
import { Registry } from '../daemon/registry.js';
import { SETTINGS } from '../daemon/settings.js';
import { type Shutdown, listenForReload, listenForShutdown } from '../daemon/shutdown.js';
import type { Settling } from '../daemon/update-start.js';
import { chooseWires, serveWires } from '../daemon/wires.js';
import { notifyServiceManager } from '../host/addon.js';
import { createEndpoints } from '../host/endpoints.js';
import { createHost } from '../host/host.js';
import { reason } from '../host/reason.js';
import { becomeSoleAgent } from '../host/sole-agent.js';
import { createStoreAccess } from '../host/store.js';
import { appendOnlyFile, isThere, readConfigFiles } from '../host/system.js';
import { TRIAL_STATE } from '../host/trial-state.js';
import { hasNetworkToStart } from '../network/act/unfinished.js';
import { commandOptions, communicationOptions, networkOptions } from './command-options.js';
import { EXIT, choice, domainId, integer, noMore, subcommand } from './command-line.js';
import { PLUGINS_OPTION, extensionOptions, pluginsOverride } from './extension-options.js';
import { stateDirectory, systemRoot } from './system-root.js';

/** What a trial serves: commands that change nothing, by the one wire on which it is asked. */
const TRIAL_COMMANDS = { allow: ['version', 'features'], deny: [] };
const TRIAL_WIRES = ['xenstore'];

/**
 * Names the socket of what starts programs. The unit that makes the sandbox sets it: an option would be an error for the
 * version before, which an update may have to go back to.
 */
const LAUNCHER = 'GUESTWIRE_PROGRAMS';

export const run = subcommand({
  synopsis: [
    'run [--store PATH] [--domain N] [--wire NAMES] [--root DIR] [--config FILE] [--plugins DIR] [--log-level LEVEL]',
    'run [--port PATH] [--listen PATH] [--vsock-port N] [...]',
  ],
  description:
    'Serves the host in the foreground until it is stopped: SIGTERM and SIGINT let the running command finish. ' +
    'Tells systemd when it is ready. Without other options it finds the wires of this machine: XenStore, and the port of ' +
    "QEMU's guest agent.",
  options: {
    wire: {
      type: 'string',
      argument: 'NAMES',
      help: 'auto, or some of xenstore, stream and those of plugins, separated by commas',
    },
    port: { type: 'string', argument: 'PATH', help: 'serve this port, such as one below /dev/virtio-ports' },
    listen: { type: 'string', argument: 'PATH', help: 'serve who connects to this unix socket' },
    'vsock-port': { type: 'string', argument: 'N', help: 'serve the host at this port of vsock' },
    store: { type: 'string', argument: 'PATH', help: "xenstored's socket, or a device" },
    domain: { type: 'string', argument: 'N', help: "take every node under /local/domain/N, for dom0's socket" },
    root: {
      type: 'string',
      argument: 'DIR',
      help: 'work on this copy of a system: nothing is run, nothing live changes',
    },
    config: { type: 'string', argument: 'FILE', help: 'read this configuration file and no other' },
    plugins: PLUGINS_OPTION,
    trial: {
      type: 'string',
      argument: 'NODE',
      help: 'serve version and features below this node alone, for an update',
    },
    'log-level': { type: 'string', argument: 'LEVEL', help: SETTINGS.log.level.choices.join(', ') },
  },
  async main(values, positionals) {
    noMore(positionals);
    const { trial } = values;
    const root = systemRoot(values.root);
    const live = values.root === undefined;
    const loaded = await loadConfig(await readConfigFiles(root, values.config ?? null), overridesOf(values));
    const { config } = loaded;
    const ownState = join(await stateDirectory(root, loaded, live), trial === undefined ? '' : TRIAL_STATE);
    const launcher = process.env[LAUNCHER] ?? '';

    const { log, flush } = await createLog(config.log);
    using shutdown = listenForShutdown((signal) => {
      notifyServiceManager('STOPPING=1');
      log.info({ signal }, 'stopping');
    });
    if (trial !== undefined) endWithInput(shutdown);
    let next = null as (() => Promise<void>) | null;
    try {
      if (trial === undefined) {
        await becomeSoleAgent(ownState).catch((error: unknown) => {
          if (error instanceof AgentError) throw error;
          // A full or read-only disk must not lock the owner out: a password can still be set.
          log.warn({ reason: reason(error) }, 'cannot make sure that no other agent serves with the state directory');
        });
      }
      const access = createStoreAccess({ ...config.xenstore, ...(trial === undefined ? {} : { below: trial }) });
      const { host, recovered } = await createHost({
        root,
        stateDirectory: ownState,
        live,
        store: access.store,
        backups: config.files.backups,
        launcher: launcher === '' ? null : launcher,
        updates: {
          directory: resolve(config.update.directory),
          store: config.xenstore,
          program: process.argv[1] ?? '',
        },
      });
      const update =
        trial === undefined && (await hasPending(host.state)) ? await updateStart(host, { log, flush }) : null;
      const { restored, left } = recovered;
      if (restored.length > 0) log.warn({ files: restored }, 'files of an interrupted change put back');
      for (const file of left) log.error(file, 'a file of an interrupted change is left alone');
      if (trial === undefined) await startNetwork(host, log, config);
      await using journalFile = appendOnlyFile(join(ownState, 'journal'));

      const registry = new Registry(trial === undefined ? config.commands : TRIAL_COMMANDS);
      addNativeCommands(registry, host, commandOptions(config));
      const native = createCommunication(
        { endpoints: createEndpoints(access), log },
        communicationOptions(config, host.live),
      );
      const ownWires = native.map(({ name }) => name);
      const extensions = new Extensions({ registry, host, log, ownWires, ...extensionOptions(config, values) });
      if (trial === undefined) await extensions.load();
      for (const name of registry.unknownRules()) {
        log.warn({ name }, 'commands.allow or commands.deny names no command');
      }
      const { directory, timeout } = config.hooks;
      const dispatcher = new Dispatcher({
        commands: registry,
        journal: await FileJournal.open(journalFile),
        log,
        // A trial changes nothing, and hooks are for requests of the host's.
        ...(trial === undefined ? { hooks: createHooks({ host, log, directory, isThere, timeoutMs: timeout }) } : {}),
        handOver(action) {
          next = action;
          shutdown.stop();
        },
      });
      const wires = [...native, ...(await extensions.wires(codec))];
      let served = true as boolean;
      const serving = serveWires(chooseWires(wires, trial === undefined ? config.wires.use : TRIAL_WIRES, log), {
        dispatcher,
        signal: shutdown.signal,
        log,
        onReady(names) {
          notifyServiceManager(`READY=1\nSTATUS=Serving ${registry.features().length} commands by ${names.join(', ')}`);
          log.info({ version: AGENT_VERSION, live: host.live, wires: names }, 'ready');
          update?.ready();
        },
      }).then((toTheEnd) => {
        served = toTheEnd;
      });
      const stopReloading = listenForReload(async () => {
        await extensions.load();
        log.info({ features: registry.features() }, 'plugins and scripts looked at again');
      });
      const outcome = await shutdown.within(serving);
      stopReloading();
      extensions.unload();
      if (outcome === 'overdue') log.error('a command did not finish in time; it is reported at the next start');
      else log.info('stopped');
      // A start that ended by itself counts against the version.
      if (shutdown.asked) await update?.stopped();
      return outcome === 'finished' && served ? EXIT.ok : EXIT.failure;
    } finally {
      await flush();
      // Whoever asked the agent to end meanwhile gets that, and the next start is the new version's.
      if (next !== null && !shutdown.asked) await next();
    }
  },
});

type Values = Readonly<
  Partial<
    Record<'store' | 'domain' | 'wire' | 'port' | 'listen' | 'vsock-port' | 'log-level' | 'plugins', string | undefined>
  >
>;

/** What the command line says instead of the configuration. */
function overridesOf(values: Values): readonly Override[] {
  const overrides: Override[] = [...pluginsOverride(values.plugins)];
  if (values.store !== undefined) overrides.push(['xenstore', 'endpoint', values.store, '--store']);
  if (values.domain !== undefined) overrides.push(['xenstore', 'domain', domainId(values.domain), '--domain']);
  if (values.wire !== undefined) overrides.push(['wires', 'use', values.wire.split(','), '--wire']);
  if (values.port !== undefined) overrides.push(['stream', 'path', values.port, '--port']);
  if (values.listen !== undefined) overrides.push(['stream', 'listen', values.listen, '--listen']);
  const vsockPort = values['vsock-port'];
  if (vsockPort !== undefined) {
    const number = integer('--vsock-port', vsockPort, SETTINGS.stream['vsock-port']);
    overrides.push(['stream', 'vsock-port', number, '--vsock-port']);
  }
  const level = values['log-level'];
  if (level !== undefined) {
    const chosen = choice('--log-level', level, SETTINGS.log.level.choices);
    overrides.push(['log', 'level', chosen, '--log-level']);
  }
  return overrides;
}

/** A trial lasts no longer than the agent that holds the other end of its standard input. */
function endWithInput(shutdown: Shutdown): void {
  process.stdin.once('close', () => {
    shutdown.stop();
  });
  process.stdin.resume();
}

// What follows is loaded only where there is something: most starts come after no update, and find a network that needs
// nothing.

async function updateStart(host: Host, log: Log): Promise<Settling> {
  const { startUpdated } = await import('../daemon/update-start.js');
  return startUpdated(host, log);
}

async function startNetwork(host: Host, log: Logger, config: Config): Promise<void> {
  if (!(await hasNetworkToStart(host))) return;
  const start = await import('../network/act/start.js');
  await start.startNetwork(host, { log, ...networkOptions(config) });
}
