import type { Logger } from 'pino';
import type { CommunicationModule, Transport } from '../api/communication.js';
import { AGENT_ERRORS, AgentError, codeOf, messageOf } from '../api/errors.js';
import type { Reports } from '../api/report.js';
import type { Dispatcher } from './dispatcher.js';
import { describeError } from './log.js';
import { reasonOf } from './reason.js';
import { sleep } from '../host/shared/runtime/timers.js';

/** Stands for every wire that is there. */
export const AUTO = 'auto';
/** One wire that is there and not ready yet must not keep the service from being ready by another. Milliseconds. */
const GRACE_MS = 10_000;
/** How every AgentError GW_WIRE_ABSENT begins. */
const [NO_HOST = ''] = AGENT_ERRORS.GW_WIRE_ABSENT[1].split('wanted');

/**
 * The modules that `use` names. A name that none has is logged: a plugin that cannot be loaded today must not keep the
 * other wires from being served. Throws AgentError GW_CONFIG_INVALID when nothing is left.
 */
export function chooseWires(
  modules: readonly CommunicationModule[],
  use: readonly string[],
  log: Logger,
): readonly CommunicationModule[] {
  const known = modules.map(({ name }) => name);
  const chosen = use.includes(AUTO) ? modules : modules.filter(({ name }) => use.includes(name));
  for (const name of use) {
    if (name === AUTO || known.includes(name)) continue;
    if (chosen.length === 0) {
      const wanted = `${AUTO} or some of ${known.join(', ')}`;
      throw new AgentError('GW_CONFIG_INVALID', [`wires.use: found ${name}, wanted ${wanted}`]);
    }
    log.error({ name, known }, 'wires.use names a wire that there is not');
  }
  return chosen;
}

export interface ServeOptions {
  readonly dispatcher: Dispatcher;
  /** What wires tell the host of; where there are none, nothing is told. */
  readonly reports?: Reports;
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Called once, with the names of the wires that are open by then. */
  readonly onReady: (names: readonly string[]) => void;
}

type Opened = { readonly served: Promise<void> } | { readonly name: string; readonly failure: unknown };

/**
 * Serves every wire until `signal` aborts; one that cannot be opened, fails or ends leaves the others alone. Gives
 * false when all have ended before that. Throws when none could be opened: AgentError GW_WIRE_ABSENT, or the
 * error of the one that is there.
 */
export async function serveWires(modules: readonly CommunicationModule[], options: ServeOptions): Promise<boolean> {
  const { onReady } = options;
  const names: string[] = [];
  const opening = modules.map((module) => open(module, options, names));
  const all = Promise.all(opening);
  const first = Promise.any(
    opening.map(async (opened) => {
      if ('failure' in (await opened)) throw new Error('not this one');
    }),
  );
  // An aborted signal ends the wait for a wire that may never be ready.
  const grace = first.then(() => sleep(GRACE_MS, { ref: false })).catch(() => all);
  await Promise.race([all, grace, aborted(options.signal)]);
  if (names.length > 0) onReady([...names]);

  const outcomes = await Promise.race([all, aborted(options.signal).then(() => settled(opening))]);
  const failures = outcomes.flatMap((outcome) => ('failure' in outcome ? [outcome] : []));
  const served = outcomes.flatMap((outcome) => ('served' in outcome ? [outcome.served] : []));
  // Who is asked to stop while a wire is still waited for does not fail for want of another.
  if (served.length === 0 && failures.length > 0 && !options.signal.aborted) throw whyNone(failures);
  await Promise.all(served);
  return options.signal.aborted;
}

async function open(module: CommunicationModule, options: ServeOptions, names: string[]): Promise<Opened> {
  const { name } = module;
  try {
    const transport = await module.open();
    names.push(name);
    return { served: serve(module, transport, options) };
  } catch (failure) {
    // There was no request yet that the message could quote.
    const about = { wire: name, error: describeError(failure), reason: messageOf(failure) };
    if (isAbsence(failure)) options.log.debug(about, 'wire not there');
    else options.log.error(about, 'wire cannot be opened');
    return { name, failure };
  }
}

async function serve(module: CommunicationModule, opened: Transport, options: ServeOptions): Promise<void> {
  const { name, codec } = module;
  const { dispatcher, signal, log } = options;
  try {
    await using transport = opened;
    const stopTelling = startTelling(module, options);
    try {
      await dispatcher.serve(transport, codec, signal, name);
    } finally {
      // It may use the transport.
      await stopTelling();
    }
    if (!signal.aborted) log.error({ wire: name }, 'wire ended');
  } catch (error) {
    log.error({ wire: name, reason: reasonOf(error), error: describeError(error) }, 'wire failed');
  }
}

/** Tells the host what the guest tells by itself, until the agent is asked to stop or what this gives is called. */
function startTelling(module: CommunicationModule, { reports, signal, log }: ServeOptions): () => Promise<void> {
  if (reports === undefined || module.tell === undefined) return () => Promise.resolve();
  const ending = new AbortController();
  const end = (): void => {
    ending.abort();
  };
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  const told = tell(module, reports, ending.signal).catch((error: unknown) => {
    // As most do that are interrupted in their waiting.
    if (ending.signal.aborted && (error as Partial<Error> | null)?.name === 'AbortError') return;
    const about = { wire: module.name, reason: reasonOf(error), error: describeError(error) };
    log.error(about, 'wire does not tell the host about the guest any more');
  });
  return async () => {
    signal.removeEventListener('abort', end);
    end();
    await told;
  };
}

/** What it throws at once is as good as a rejection. */
async function tell(module: CommunicationModule, reports: Reports, signal: AbortSignal): Promise<void> {
  await module.tell?.(reports, signal);
}

export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else
      signal.addEventListener(
        'abort',
        () => {
          resolve();
        },
        { once: true },
      );
  });
}

/** Those that are known by now; what is still being opened is left. */
async function settled(opening: readonly Promise<Opened>[]): Promise<readonly Opened[]> {
  const outcomes = await Promise.all(opening.map((opened) => Promise.race([opened, Promise.resolve(null)])));
  return outcomes.flatMap((outcome) => outcome ?? []);
}

/** The error of a wire that is there says more than that of one that is not. */
function whyNone(outcomes: readonly { readonly name: string; readonly failure: unknown }[]): unknown {
  const failures = outcomes.map(({ failure }) => failure);
  const real = failures.find((failure) => !isAbsence(failure));
  if (real !== undefined || failures.length === 1) return real ?? failures[0];
  // What each says of the machine as a whole is said once.
  const reasons = outcomes.map(({ name, failure }) => `${name}: ${messageOf(failure).replace(NO_HOST, '')}`);
  return new AgentError('GW_WIRE_ABSENT', ['one of the wires in wires.use', `none; ${reasons.join('; ')}`]);
}

/** Whether a module means that this machine has no such wire. */
function isAbsence(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'GW_WIRE_ABSENT' || code === 'XS_NO_ENDPOINT';
}
