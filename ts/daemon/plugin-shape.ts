/** Whether what a plugin's file exports, and what its `setup` gives, has the shape of ts/api/plugin.ts. */
import { COMMAND_NAME, type CommandModule } from '../api/command.js';
import type { Transport } from '../api/communication.js';
import {
  API_VERSION,
  type Contribution,
  type Plugin,
  type PluginReports,
  type PluginWire,
  type ScheduledTask,
} from '../api/plugin.js';
import type { ReportedService } from '../api/report.js';
import type { SettingKinds } from '../api/settings.js';
import { parseDuration } from './units.js';

/** As `wires.use` takes them. */
const WIRE_NAME = /^[a-z0-9-]{1,64}$/;

const SETTING_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
const SETTING_KINDS: Readonly<Record<keyof SettingKinds, true>> = {
  boolean: true,
  choice: true,
  integer: true,
  duration: true,
  size: true,
  path: true,
  text: true,
  texts: true,
};

/** Says which field is wrong, what was wanted and what was there. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
}

/** Throws ShapeError. */
export function checkPlugin(exported: unknown): Plugin {
  if (exported === undefined) throw new ShapeError('has no default export: wanted export default definePlugin({...})');
  const plugin = object('default export', exported, 'what definePlugin({...}) gives');
  if (plugin['apiVersion'] === undefined) {
    throw new ShapeError('apiVersion: is not there; wanted export default definePlugin({...}), which adds it');
  }
  if (plugin['apiVersion'] !== API_VERSION) {
    throw new ShapeError(`apiVersion: wanted ${API_VERSION}, which this agent has, got ${show(plugin['apiVersion'])}`);
  }
  text('name', plugin['name']);
  callable('setup', plugin['setup']);
  if (plugin['settings'] !== undefined) checkSettings(plugin['settings']);
  return exported as Plugin;
}

/** Whether each default is what its setting wants is seen when the settings are made. */
function checkSettings(settings: unknown): void {
  for (const [key, item] of Object.entries(object('settings', settings))) {
    const at = `settings.${key}`;
    if (!SETTING_NAME.test(key))
      throw wrong('a key of settings', 'a letter, then letters, digits, _ and -, at most 64', key);
    const setting = object(at, item);
    const { kind, about, choices } = setting;
    if (typeof kind !== 'string' || !Object.hasOwn(SETTING_KINDS, kind)) {
      throw wrong(`${at}.kind`, `one of ${Object.keys(SETTING_KINDS).join(', ')}`, kind);
    }
    if (setting['default'] === undefined) throw wrong(`${at}.default`, 'a value, or null for none', undefined);
    text(`${at}.about`, about);
    if (kind === 'choice') for (const choice of list(`${at}.choices`, choices)) text(`${at}.choices`, choice);
    for (const bound of ['min', 'max']) {
      const needed = kind === 'integer' || (kind === 'size' && bound === 'min' && setting[bound] !== undefined);
      if (needed && !Number.isSafeInteger(setting[bound]))
        throw wrong(`${at}.${bound}`, 'a whole number', setting[bound]);
    }
  }
}

export interface Contributions {
  readonly modules: readonly CommandModule[];
  readonly wires: readonly PluginWire[];
  readonly reports: readonly PluginReports[];
  readonly tasks: readonly Task[];
}

/** Scheduled work, with its times in milliseconds. */
export interface Task extends Pick<ScheduledTask, 'name' | 'timeout' | 'run'> {
  readonly every: number;
  readonly delay: number;
}

/** Throws ShapeError. */
export function checkContributions(given: unknown): Contributions {
  const modules: CommandModule[] = [];
  const wires: PluginWire[] = [];
  const reports: PluginReports[] = [];
  const tasks: Task[] = [];
  for (const [index, item] of list('what setup gives', given).entries()) {
    const at = `contribution ${index + 1}`;
    const { kind, module, tasks: scheduled } = object(at, item);
    if (kind === 'commands') checkCommands(`${at}.module`, module);
    else if (kind === 'communication') checkWire(`${at}.module`, module);
    else if (kind === 'reports') callable(`${at}.module.services`, object(`${at}.module`, module)['services']);
    else if (kind === 'schedule') tasks.push(...checkTasks(`${at}.tasks`, scheduled));
    else throw wrong(`${at}.kind`, "'commands', 'communication', 'reports' or 'schedule'", kind);
    const contribution = item as Contribution;
    if (contribution.kind === 'commands') modules.push(contribution.module);
    else if (contribution.kind === 'communication') wires.push(contribution.module);
    else if (contribution.kind === 'reports') reports.push(contribution.module);
  }
  const names = modules.flatMap(({ commands }) => commands.map(({ name }) => name));
  refuseTwice('command', names);
  refuseTwice(
    'task',
    tasks.map(({ name }) => name),
  );
  refuseTwice(
    'wire',
    wires.map(({ name }) => name),
  );
  return { modules, wires, reports, tasks };
}

function refuseTwice(what: string, names: readonly string[]): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new ShapeError(`brings the ${what} '${twice}' twice`);
}

/** How many services a plugin may tell, and how many values of each. */
const MAX_SERVICES = 16;
/** Characters of a value: a host keeps it in a node of its store. */
const MAX_VALUE = 512;
/** The agent tells of itself. */
const OWN_SERVICE = 'guestwire';

/** What a plugin's `services` gives, as copies in an order of their own. Throws ShapeError. */
export function checkServices(given: unknown): readonly ReportedService[] {
  const services = limited('what services gives', given).map((item, index): ReportedService => {
    const at = `service ${index + 1}`;
    const { name, values } = object(at, item);
    commandName(`${at}.name`, name);
    if (name === OWN_SERVICE) throw new ShapeError(`${at}.name: '${OWN_SERVICE}' is the agent's own`);
    const entries = Object.entries(object(`${at}.values`, values)).sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [key, value] of limited(`${at}.values`, entries)) {
      commandName(`a name in ${at}.values`, key);
      if (typeof value === 'string' && value.length <= MAX_VALUE && !/\p{Cc}/u.test(value)) continue;
      throw wrong(`${at}.values.${key}`, `text of one line, at most ${MAX_VALUE}`, value);
    }
    return { name: name as string, values: Object.fromEntries(entries) as Record<string, string> };
  });
  refuseTwice(
    'service',
    services.map(({ name }) => name),
  );
  return services;
}

function limited<T>(at: string, value: readonly T[]): readonly T[];
function limited(at: string, value: unknown): readonly unknown[];
function limited(at: string, value: unknown): readonly unknown[] {
  const items = list(at, value);
  if (items.length <= MAX_SERVICES) return items;
  throw new ShapeError(`${at}: wanted at most ${MAX_SERVICES}, got ${items.length}`);
}

/** What a wire's `open` gives. Throws ShapeError. */
export function checkTransport(wire: string, opened: unknown): Transport {
  const at = `what open of ${wire} gives`;
  if (typeof opened !== 'object' || opened === null) throw wrong(at, 'an object', opened);
  const transport = opened as Readonly<Record<string | symbol, unknown>>;
  for (const name of ['requests', 'stillWanted', 'respond', 'retire']) callable(`${name} of ${at}`, transport[name]);
  if (transport['begun'] !== undefined) callable(`begun of ${at}`, transport['begun']);
  callable(`[Symbol.asyncDispose] of ${at}`, transport[Symbol.asyncDispose]);
  return opened as Transport;
}

function checkCommands(at: string, module: unknown): void {
  const { name, commands } = object(at, module);
  text(`${at}.name`, name);
  for (const [index, item] of list(`${at}.commands`, commands).entries()) {
    const inner = `${at}.commands[${index}]`;
    const { name: command, lane, handle, forms, failureCode, timeout } = object(inner, item);
    commandName(`${inner}.name`, command);
    if (lane !== 'serial' && lane !== 'immediate') throw wrong(`${inner}.lane`, "'serial' or 'immediate'", lane);
    callable(`${inner}.handle`, handle);
    if (timeout !== undefined) milliseconds(`${inner}.timeout`, timeout);
    if (failureCode !== undefined) text(`${inner}.failureCode`, failureCode);
    for (const form of forms === undefined ? [] : list(`${inner}.forms`, forms)) commandName(`${inner}.forms`, form);
  }
}

/** Nobody is to have no turn for it. Milliseconds. */
const SHORTEST_INTERVAL = 1000;

function checkTasks(at: string, tasks: unknown): readonly Task[] {
  return list(at, tasks).map((item, index) => {
    const inner = `${at}[${index}]`;
    const task = object(inner, item);
    commandName(`${inner}.name`, task['name']);
    callable(`${inner}.run`, task['run']);
    if (task['timeout'] !== undefined) milliseconds(`${inner}.timeout`, task['timeout']);
    const every = duration(`${inner}.every`, task['every'], SHORTEST_INTERVAL);
    const delay = task['delay'] === undefined ? every : duration(`${inner}.delay`, task['delay'], 0);
    const { name, timeout } = item as ScheduledTask;
    const run: Task['run'] = (context) => (item as ScheduledTask).run(context);
    return { name, every, delay, run, ...(timeout === undefined ? {} : { timeout }) };
  });
}

/** As text, or in milliseconds already. */
function duration(at: string, value: unknown, min: number): number {
  const found = typeof value === 'string' ? parseDuration(value) : value;
  if (Number.isInteger(found) && (found as number) >= min && (found as number) < 2 ** 31) return found as number;
  throw wrong(at, `a duration such as '15m' or '90s', or milliseconds, ${min} to 2147483647`, value);
}

function checkWire(at: string, wire: unknown): void {
  const { name, open, codec, tell } = object(at, wire);
  if (typeof name !== 'string' || !WIRE_NAME.test(name)) {
    throw wrong(`${at}.name`, 'small letters, digits and -, at most 64', name);
  }
  callable(`${at}.open`, open);
  if (tell !== undefined) callable(`${at}.tell`, tell);
  if (codec === undefined) return;
  const { decode, encode } = object(`${at}.codec`, codec);
  callable(`${at}.codec.decode`, decode);
  callable(`${at}.codec.encode`, encode);
}

function commandName(at: string, value: unknown): void {
  if (typeof value === 'string' && COMMAND_NAME.test(value)) return;
  throw wrong(at, 'letters, digits, _ and -, at most 64', value);
}

function text(at: string, value: unknown): void {
  if (typeof value !== 'string' || value === '') throw wrong(at, 'text', value);
}

/** As Node's timers take them. */
function milliseconds(at: string, value: unknown): void {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) < 2 ** 31) return;
  throw wrong(at, 'milliseconds, 1 to 2147483647', value);
}

function callable(at: string, value: unknown): void {
  if (typeof value !== 'function') throw wrong(at, 'a function', value);
}

function list(at: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw wrong(at, 'a list', value);
  return value;
}

function object(at: string, value: unknown, wanted = 'an object'): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(at, wanted, value);
  return value as Record<string, unknown>;
}

function wrong(at: string, wanted: string, got: unknown): ShapeError {
  return new ShapeError(`${at}: wanted ${wanted}, got ${show(got)}`);
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return value === '' ? 'empty text' : `'${value.slice(0, 40)}'`;
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
