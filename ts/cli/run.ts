import { join, resolve } from 'node:path';
import { type CommunicationOptions, createCommunication } from '../communication/index.js';
import type { FileOptions } from '../commands/file.js';
import { type CommandOptions, createCommands } from '../commands/index.js';
import type { QemuCommand } from '../commands/qemu/index.js';
import { type Config, type Override, loadConfig } from '../daemon/config.js';
import { Dispatcher } from '../daemon/dispatcher.js';
import { FileJournal } from '../daemon/journal.js';
import { createLog } from '../daemon/log.js';
import { Registry } from '../daemon/registry.js';
import { listenForShutdown } from '../daemon/shutdown.js';
import { chooseWires, serveWires } from '../daemon/wires.js';
import { createKeyExchange, createSealedExchange } from '../host/accounts.js';
import { notifyServiceManager } from '../host/addon.js';
import { createEndpoints } from '../host/endpoints.js';
import { createHost } from '../host/host.js';
import { hasNetworkToStart } from '../network/unfinished.js';
import { createStoreAccess } from '../host/store.js';
import { CONFIG_DIRECTORY, appendOnlyFile, readConfigFiles } from '../host/system.js';
import type { NetworkOptions } from '../commands/network.js';
import { AGENT_VERSION } from '../commands/version.js';
import { EXIT, choice, domainId, integer, noMore, subcommand } from './command-line.js';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export const run = subcommand({
  synopsis: [
    'run [--store PATH] [--domain N] [--port PATH] [--listen PATH] [--vsock-port N] [--wire NAMES] [--root DIR] ' +
      '[--config FILE] [--log-level LEVEL]',
  ],
  description:
    'Serves the host in the foreground until it is stopped: SIGTERM and SIGINT let the running command finish. ' +
    'Tells systemd when it is ready. Without other options it finds the wires of this machine: XenStore, and the port of ' +
    "QEMU's guest agent.",
  options: {
    wire: { type: 'string', argument: 'NAMES', help: 'auto, or some of xenstore and stream, separated by commas' },
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
    'log-level': { type: 'string', argument: 'LEVEL', help: LEVELS.join(', ') },
  },
  async main(values, positionals) {
    noMore(positionals);
    const overrides: Override[] = [];
    if (values.store !== undefined) overrides.push(['store', 'endpoint', values.store, '--store']);
    if (values.domain !== undefined) overrides.push(['store', 'domain', domainId(values.domain), '--domain']);
    if (values.wire !== undefined) overrides.push(['wires', 'use', values.wire.split(','), '--wire']);
    if (values.port !== undefined) overrides.push(['stream', 'path', values.port, '--port']);
    if (values.listen !== undefined) overrides.push(['stream', 'listen', values.listen, '--listen']);
    const vsockPort = values['vsock-port'];
    if (vsockPort !== undefined) {
      const number = integer('--vsock-port', vsockPort, { min: 1, max: 0xffff_fffe });
      overrides.push(['stream', 'vsock-port', number, '--vsock-port']);
    }
    const level = values['log-level'];
    if (level !== undefined) overrides.push(['log', 'level', choice('--log-level', level, LEVELS), '--log-level']);
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
      const supported = (): readonly QemuCommand[] => registry.list().filter(({ dialect }) => dialect === 'qemu');
      const modules = createCommands(host, commandOptions(config), () => registry.features(), supported);
      for (const module of modules) registry.add(module, { kind: 'native', where: module.name });
      for (const name of registry.unknownRules())
        log.warn({ name }, 'commands.allow or commands.deny names no command');
      const dispatcher = new Dispatcher({ commands: registry, journal: await FileJournal.open(journalFile), log });
      const wires = createCommunication(
        { endpoints: createEndpoints(access), log },
        communicationOptions(config, host.live),
      );
      let failed = false as boolean;
      const serving = serveWires(chooseWires(wires, config.wires.use), {
        dispatcher,
        signal: shutdown.signal,
        log,
        onReady(names) {
          notifyServiceManager(`READY=1\nSTATUS=Serving ${registry.features().length} commands by ${names.join(', ')}`);
          log.info({ version: AGENT_VERSION, live: host.live, wires: names }, 'ready');
        },
      }).then((complete) => {
        failed = !complete;
      });
      const outcome = await shutdown.within(serving);
      if (outcome === 'overdue') log.error('a command did not finish in time; it is reported at the next start');
      else log.info('stopped');
      return outcome === 'finished' && !failed ? EXIT.ok : EXIT.failure;
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

/** What the wires are told of the configuration. An agent on a copy of a system leaves this machine's port alone. */
export function communicationOptions({ answers, requests, stream }: Config, live: boolean): CommunicationOptions {
  return {
    xenstore: { keepAnswers: answers.keep, pollInterval: requests['poll-interval'] },
    stream: {
      path: stream.path,
      findPort: live,
      listen: stream.listen,
      vsockPort: stream['vsock-port'],
      maxLine: stream['max-line'],
    },
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
export function fileOptions({ files, state }: Config): FileOptions {
  return {
    rules: { allow: files.allow, deny: files.deny, own: [CONFIG_DIRECTORY, resolve(state.directory)] },
    mode: files.mode,
    authorizedKeys: files['authorized-keys'],
    maxSize: files['max-size'],
    uploads: files.uploads,
    uploadLifetimeMs: files['upload-lifetime'],
  };
}
