import { join, resolve } from 'node:path';
import type { Logger } from 'pino';
import type { Host } from '../api/host.js';
import { hasPending } from '../commands/update-state.js';
import { createCommunication } from '../communication/index.js';
import { codec } from '../communication/xenstore/codec.js';
import type { Codec, Transport } from '../api/communication.js';
import { createCommands } from '../commands/index.js';
import { type Override, loadConfig } from '../daemon/config.js';
import { Dispatcher } from '../daemon/dispatcher.js';
import { Extensions } from '../daemon/extensions.js';
import { FileJournal } from '../daemon/journal.js';
import { createHooks } from '../daemon/hooks.js';
import { createLog } from '../daemon/log.js';
import { Registry } from '../daemon/registry.js';
import { type Shutdown, listenForReload, listenForShutdown } from '../daemon/shutdown.js';
import type { Settling } from '../daemon/update-start.js';
import { notifyServiceManager } from '../host/addon.js';
import { createHost } from '../host/host.js';
import { hasNetworkToStart } from '../network/unfinished.js';
import { createStoreAccess } from '../host/store.js';
import { TRIAL_STATE } from '../host/trial-state.js';
import { appendOnlyFile, isThere, readConfigFiles } from '../host/system.js';
import { AGENT_VERSION } from '../commands/version.js';
import { commandOptions, networkOptions } from './command-options.js';
import { PLUGINS_OPTION, extensionOptions, pluginsOverride } from './extension-options.js';
import { EXIT, choice, domainId, noMore, subcommand } from './command-line.js';

/** What a trial serves: commands that change nothing. */
const TRIAL_COMMANDS = { allow: ['version', 'features'], deny: [] };

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export const run = subcommand({
  synopsis: ['run [--store PATH] [--domain N] [--root DIR] [--config FILE] [--plugins DIR] [--log-level LEVEL]'],
  description:
    'Serves the host in the foreground until it is stopped: SIGTERM and SIGINT let the running command finish. ' +
    'Tells systemd when it is ready. Without --store it finds the XenStore of this machine.',
  options: {
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
    'log-level': { type: 'string', argument: 'LEVEL', help: LEVELS.join(', ') },
  },
  async main(values, positionals) {
    noMore(positionals);
    const overrides: Override[] = [];
    if (values.store !== undefined) overrides.push(['store', 'endpoint', values.store, '--store']);
    if (values.domain !== undefined) overrides.push(['store', 'domain', domainId(values.domain), '--domain']);
    const level = values['log-level'];
    if (level !== undefined) overrides.push(['log', 'level', choice('--log-level', level, LEVELS), '--log-level']);
    overrides.push(...pluginsOverride(values.plugins));
    const root = resolve(values.root ?? '/');
    const { config } = await loadConfig(await readConfigFiles(root, values.config ?? null), overrides);
    const { trial } = values;
    const stateDirectory = join(root, config.state.directory, trial === undefined ? '' : TRIAL_STATE);

    const { log, flush } = await createLog(config.log);
    using shutdown = listenForShutdown((signal) => {
      notifyServiceManager('STOPPING=1');
      log.info({ signal }, 'stopping');
    });
    if (trial !== undefined) endWithInput(shutdown);
    let next = null as (() => Promise<void>) | null;
    try {
      const access = createStoreAccess({ ...config.store, ...(trial === undefined ? {} : { below: trial }) });
      const { host, restored } = await createHost({
        root,
        stateDirectory,
        live: values.root === undefined,
        store: access.store,
        backups: config.files.backups,
        updates: {
          directory: resolve(config.update.directory),
          store: config.store,
          program: process.argv[1] ?? '',
        },
      });
      const update = trial === undefined && (await hasPending(host.state)) ? await updateStart(host, log) : null;
      if (restored.length > 0) log.warn({ files: restored }, 'files of an interrupted change put back');
      if (trial === undefined && (await hasNetworkToStart(host))) {
        // Loaded only where there is something: most starts find a network that needs nothing.
        const { startNetwork } = await import('../network/start.js');
        await startNetwork(host, { log, ...networkOptions(config) });
      }
      await using journalFile = appendOnlyFile(join(stateDirectory, 'journal'));
      const registry = new Registry(trial === undefined ? config.commands : TRIAL_COMMANDS);
      const modules = createCommands(host, commandOptions(config), () => registry.features());
      for (const module of modules) registry.add(module, { kind: 'native', where: module.name });
      const extensions = new Extensions({ registry, host, log, ...extensionOptions(config, values) });
      if (trial === undefined) await extensions.load();
      for (const name of registry.unknownRules())
        log.warn({ name }, 'commands.allow or commands.deny names no command');
      const { directory, timeout } = config.hooks;
      const hooks = createHooks({ host, log, directory, isThere, timeoutMs: timeout });
      const journal = await FileJournal.open(journalFile);
      const dispatcher = new Dispatcher({
        commands: registry,
        journal,
        log,
        hooks,
        handOver(action) {
          next = action;
          shutdown.stop();
        },
      });
      const serving = createCommunication({
        openStore: (onClose) => access.open(onClose),
        log,
        keepAnswers: config.answers.keep,
        pollInterval: config.requests['poll-interval'],
      }).map(async (wire) => {
        await using transport = await wire.open();
        notifyServiceManager(`READY=1\nSTATUS=Serving ${registry.features().length} commands`);
        log.info({ version: AGENT_VERSION, live: host.live }, 'ready');
        update?.ready();
        await dispatcher.serve(transport, wire.codec, shutdown.signal);
      });
      const serve = (transport: Transport, itsCodec: Codec): Promise<void> =>
        dispatcher.serve(transport, itsCodec, shutdown.signal);
      const all = Promise.all([...serving, extensions.serve(serve, codec, shutdown.signal)]);
      const stopReloading = listenForReload(async () => {
        await extensions.load();
        log.info({ features: registry.features() }, 'plugins and scripts looked at again');
      });
      const outcome = await shutdown.within(all.then(() => undefined));
      stopReloading();
      extensions.unload();
      if (outcome === 'overdue') log.error('a command did not finish in time; it is reported at the next start');
      else log.info('stopped');
      await update?.stopped();
      return outcome === 'finished' ? EXIT.ok : EXIT.failure;
    } finally {
      flush();
      // Whoever asked the agent to end meanwhile gets that, and the next start is the new version's.
      if (next !== null && !shutdown.asked) await next();
    }
  },
});

/** A trial lasts no longer than the agent that holds the other end of its standard input. */
function endWithInput(shutdown: Shutdown): void {
  process.stdin.once('close', () => {
    shutdown.stop();
  });
  process.stdin.resume();
}

/** Loaded only where there is something: most starts come after no update. */
async function updateStart(host: Host, log: Logger): Promise<Settling> {
  const { startUpdated } = await import('../daemon/update-start.js');
  return startUpdated(host, log);
}
