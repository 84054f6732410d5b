import { join, resolve } from 'node:path';
import type { Logger } from 'pino';
import type { Command } from '../api/command.js';
import type { Host } from '../api/host.js';
import type { UpdateOptions } from '../commands/agentupdate.js';
import { hasPending } from '../commands/update-state.js';
import { createCommunication } from '../communication/index.js';
import type { FileOptions } from '../commands/file.js';
import { createCommands } from '../commands/index.js';
import { type Config, type Override, loadConfig } from '../daemon/config.js';
import { Dispatcher } from '../daemon/dispatcher.js';
import { FileJournal } from '../daemon/journal.js';
import { createLog } from '../daemon/log.js';
import { type Shutdown, listenForShutdown } from '../daemon/shutdown.js';
import type { Settling } from '../daemon/update-start.js';
import { createKeyExchange, createSealedExchange } from '../host/accounts.js';
import { notifyServiceManager } from '../host/addon.js';
import { createHost } from '../host/host.js';
import { hasNetworkToStart } from '../network/unfinished.js';
import { createStoreAccess } from '../host/store.js';
import { TRIAL_STATE } from '../host/trial-state.js';
import { CONFIG_DIRECTORY, appendOnlyFile, readConfigFiles } from '../host/system.js';
import type { NetworkOptions } from '../commands/network.js';
import { AGENT_VERSION } from '../commands/version.js';
import { EXIT, choice, domainId, noMore, subcommand } from './command-line.js';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export const run = subcommand({
  synopsis: ['run [--store PATH] [--domain N] [--root DIR] [--config FILE] [--log-level LEVEL]'],
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
      const commands = createCommands(host, {
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
        update: updateOptions(config),
      });
      const dispatcher = new Dispatcher({
        commands: trial === undefined ? commands : telling(commands),
        journal: await FileJournal.open(journalFile),
        log,
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
        notifyServiceManager(`READY=1\nSTATUS=Serving ${commands.size} commands`);
        log.info({ version: AGENT_VERSION, live: host.live }, 'ready');
        update?.ready();
        await dispatcher.serve(transport, wire.codec, shutdown.signal);
      });
      const outcome = await shutdown.within(Promise.all(serving).then(() => undefined));
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

/** Commands that change nothing. */
function telling(commands: ReadonlyMap<string, Command>): ReadonlyMap<string, Command> {
  return new Map([...commands].filter(([, { lane }]) => lane === 'immediate'));
}

/** Loaded only where there is something: most starts come after no update. */
async function updateStart(host: Host, log: Logger): Promise<Settling> {
  const { startUpdated } = await import('../daemon/update-start.js');
  return startUpdated(host, log);
}

/** What an update is told of the configuration. */
export function updateOptions({ update }: Config): UpdateOptions {
  return {
    keys: update.keys,
    requireSignature: update['require-signature'],
    insecure: update.http,
    maxSize: update['max-size'],
    timeoutMs: update.timeout,
    trialTimeoutMs: update['trial-timeout'],
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
export function fileOptions({ files, state, update }: Config): FileOptions {
  return {
    rules: {
      allow: files.allow,
      deny: files.deny,
      own: [CONFIG_DIRECTORY, resolve(state.directory), resolve(update.directory)],
    },
    mode: files.mode,
    authorizedKeys: files['authorized-keys'],
    maxSize: files['max-size'],
    uploads: files.uploads,
    uploadLifetimeMs: files['upload-lifetime'],
  };
}
