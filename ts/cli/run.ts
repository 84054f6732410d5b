import { type Agent, type Purpose, createAgent } from '../daemon/agent.js';
import { type Override, loadConfig } from '../daemon/config.js';
import { createLog } from '../daemon/log.js';
import { SETTINGS } from '../daemon/settings.js';
import { type Shutdown, listenForShutdown } from '../daemon/shutdown.js';
import { notifyServiceManager } from '../host/index.js';
import { readConfigFiles } from '../host/shared/system.js';
import { EXIT, choice, domainId, integer, noMore, subcommand } from './command-line.js';
import { PLUGINS_OPTION, extensionOptions, pluginsOverride } from './extension-options.js';
import { stateDirectory, systemRoot } from './system-root.js';

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
      argument: 'WHERE',
      help: 'serve version and features alone, below this node of the store or at this socket, for an update',
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
    const launcher = process.env[LAUNCHER] ?? '';

    const logging = await createLog(config.log);
    const { log, flush } = logging;
    using shutdown = listenForShutdown((signal) => {
      notifyServiceManager('STOPPING=1');
      log.info({ signal }, 'stopping');
    });
    if (trial !== undefined) endWithInput(shutdown);
    let next: Agent['next'] = null;
    try {
      await using agent = await createAgent(trial === undefined ? { for: 'serving' } : trialAt(trial), {
        root,
        live,
        config,
        stateDirectory: await stateDirectory(root, loaded, live),
        extensions: extensionOptions(loaded, values),
        reread: async () => (await loadConfig(await readConfigFiles(root, values.config ?? null))).plugins,
        launcher: launcher === '' ? null : launcher,
        program: process.argv[1] ?? '',
        log: logging,
        shutdown,
      });
      const isWell = await agent.serve();
      next = agent.next;
      return isWell ? EXIT.ok : EXIT.failure;
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

/** A path is that of a socket; nodes of the store are relative. */
function trialAt(where: string): Purpose {
  return { for: 'trial', at: where.startsWith('/') ? { socket: where } : { node: where } };
}
