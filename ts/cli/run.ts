import { join, resolve } from 'node:path';
import { createCommunication } from '../communication/index.js';
import { codec } from '../communication/xenstore/codec.js';
import type { Codec, Transport } from '../api/communication.js';
import type { FileOptions } from '../commands/file.js';
import { type CommandOptions, createCommands } from '../commands/index.js';
import { type Config, type Override, loadConfig } from '../daemon/config.js';
import { Dispatcher } from '../daemon/dispatcher.js';
import { Extensions } from '../daemon/extensions.js';
import { FileJournal } from '../daemon/journal.js';
import { createLog } from '../daemon/log.js';
import { Registry } from '../daemon/registry.js';
import { listenForReload, listenForShutdown } from '../daemon/shutdown.js';
import { createKeyExchange, createSealedExchange } from '../host/accounts.js';
import { notifyServiceManager } from '../host/addon.js';
import { createHost } from '../host/host.js';
import { hasNetworkToStart } from '../network/unfinished.js';
import { createStoreAccess } from '../host/store.js';
import { CONFIG_DIRECTORY, appendOnlyFile, readConfigFiles } from '../host/system.js';
import type { NetworkOptions } from '../commands/network.js';
import { AGENT_VERSION } from '../commands/version.js';
import { PLUGINS_OPTION, extensionOptions, pluginsOverride } from './extension-options.js';
import { EXIT, choice, domainId, noMore, subcommand } from './command-line.js';

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
    const stateDirectory = join(root, config.state.directory);

    const { log, flush } = await createLog(config.log);
    using shutdown = listenForShutdown((signal) => {
      notifyServiceManager('STOPPING=1');
      log.info({ signal }, 'stopping');
    });
    try {
      const access = createStoreAccess(config.store);
      const { host, restored } = await createHost({
        root,
        stateDirectory,
        live: values.root === undefined,
        store: access.store,
        backups: config.files.backups,
      });
      if (restored.length > 0) log.warn({ files: restored }, 'files of an interrupted change put back');
      if (await hasNetworkToStart(host)) {
        // Loaded only where there is something: most starts find a network that needs nothing.
        const { startNetwork } = await import('../network/start.js');
        await startNetwork(host, { log, ...networkOptions(config) });
      }
      await using journalFile = appendOnlyFile(join(stateDirectory, 'journal'));
      const registry = new Registry({ rules: config.commands });
      const modules = createCommands(host, commandOptions(config), () => registry.features());
      for (const module of modules) registry.add(module, { kind: 'native', where: module.name });
      const extensions = new Extensions({ registry, host, log, ...extensionOptions(config, values) });
      await extensions.load();
      for (const name of registry.unknownRules())
        log.warn({ name }, 'commands.allow or commands.deny names no command');
      const dispatcher = new Dispatcher({ commands: registry, journal: await FileJournal.open(journalFile), log });
      const serving = createCommunication({
        openStore: (onClose) => access.open(onClose),
        log,
        keepAnswers: config.answers.keep,
        pollInterval: config.requests['poll-interval'],
      }).map(async (wire) => {
        await using transport = await wire.open();
        notifyServiceManager(`READY=1\nSTATUS=Serving ${registry.features().length} commands`);
        log.info({ version: AGENT_VERSION, live: host.live }, 'ready');
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
      return outcome === 'finished' ? EXIT.ok : EXIT.failure;
    } finally {
      flush();
    }
  },
});

/** What the agent's own commands are told of the configuration. */
export function commandOptions(config: Config): CommandOptions {
  return {
    password: {
      createExchange: createKeyExchange,
      createSealedExchange,
      user: config.password.user,
      users: config.password.users,
      unlock: config.password.unlock,
      weakExchange: config.password['weak-exchange'],
      keyLifetimeMs: config.password['key-lifetime'],
    },
    files: fileOptions(config),
    network: networkOptions(config),
  };
}

/** What a reset of the network is told of the configuration. */
export function networkOptions({ network }: Config): NetworkOptions {
  return {
    verifyTimeoutMs: network['verify-timeout'],
    deviceTimeoutMs: network['device-timeout'],
    programTimeoutMs: network['program-timeout'],
  };
}

/** What the file commands are told of the configuration. */
export function fileOptions({ files, state, plugins, scripts }: Config): FileOptions {
  const own = [CONFIG_DIRECTORY, ...[state, plugins, scripts].map(({ directory }) => resolve(directory))];
  return {
    rules: { allow: files.allow, deny: files.deny, own },
    mode: files.mode,
    authorizedKeys: files['authorized-keys'],
    maxSize: files['max-size'],
    uploads: files.uploads,
    uploadLifetimeMs: files['upload-lifetime'],
  };
}
