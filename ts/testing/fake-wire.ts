import { pino } from 'pino';
import { messageOf } from '../api/errors.js';
import type { Host } from '../api/host.js';
import type { Body, CommunicationModule, Reply } from '../api/communication.js';
import type { Plugin } from '../api/plugin.js';
import { featuresCommands } from '../commands/features.js';
import { versionCommands } from '../commands/version.js';
import { codec } from '../communication/xenstore/nova/codec.js';
import { Dispatcher } from '../daemon/dispatcher.js';
import type { Journal } from '../daemon/journal.js';
import { loadPlugin } from '../daemon/plugin.js';
import { guardedWire } from '../daemon/plugin-wire.js';
import { Registry } from '../daemon/registry.js';
import { serveWires } from '../daemon/wires.js';
import { fakeHost } from './fake-host.js';
import { MemoryTransport } from './memory-transport.js';

export interface FakeWireOptions {
  /** Whether what the agent logs is printed, for a test that fails; false when absent. */
  readonly log?: boolean;
  /** How long a command may take, milliseconds; 60,000 when absent. */
  readonly commandTimeout?: number;
}

/** An agent with one plugin, in this process: the real dispatcher, between a wire in memory and the plugin. */
export interface FakeWire {
  /** Sends a request and gives the one answer that the host would get, as it would get it. */
  request(name: string, value?: unknown): Promise<Reply>;
  /** As `request`, with whatever bytes in the request's place. */
  send(body: Body): Promise<Reply>;
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
  { log: isLogged = false, commandTimeout = 60_000 }: FakeWireOptions = {},
): Promise<FakeWire> {
  const log = pino({ level: isLogged ? 'trace' : 'silent', base: null });
  const registry = new Registry({ allow: ['*'], deny: [] });
  for (const module of [versionCommands(), featuresCommands(() => registry.features())]) {
    registry.add(module, { kind: 'native', where: module.name });
  }
  const options = { host, log, loadTimeout: 10_000, commandTimeout };
  const loaded = await loadPlugin('the plugin', () => Promise.resolve(plugin), options);
  for (const module of loaded.modules) {
    for (const [name] of registry.add(module, { kind: 'plugin', where: loaded.name })) {
      throw new Error(`the plugin brings the command '${name}', which the agent has itself`);
    }
  }
  const dispatcher = new Dispatcher({ commands: registry, journal: forgetful(), log });
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
    serving = serveWires([memory, ...brought], { dispatcher, signal: stop.signal, log, onReady });
  });
  for (const { name } of brought) {
    if (open.includes(name)) continue;
    await close();
    const cause = refusals.get(name);
    throw new Error(`the plugin's wire ${name} cannot be opened: ${messageOf(cause)}`, { cause });
  }
  let count = 0;
  const send = (body: Body): Promise<Reply> => {
    const id = String(++count);
    transport.push(id, body);
    return transport.retired(id).then(() => transport.answer(id));
  };
  return {
    request: (name, value) => send(JSON.stringify({ name, value })),
    send,
    close,
  };
}

/** Nothing is to be known of earlier runs. */
function forgetful(): Journal {
  const nothing = (): Promise<void> => Promise.resolve();
  return { earlier: () => null, started: nothing, answered: nothing, done: nothing };
}
