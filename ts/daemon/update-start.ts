/** What an update left to do when the agent starts: to clean up, or to see whether the new version is any good. */
import type { Logger } from 'pino';
import type { AgentHost } from '../agent/host.js';
import { type Pending, type Switched, readPending, removePending, writePending } from '../commands/update-state.js';
import { describeError, type Log } from './log.js';

/** A new version that was started so often and never served for long is put back. */
const ATTEMPTS = 3;
/** A version that has served so long is good, milliseconds. */
const SETTLED_MS = 10_000;

export interface Settling {
  /** The agent serves. */
  ready(): void;
  /** The agent was asked to stop: this start does not count against the version. Never rejects. */
  stopped(): Promise<void>;
}

const NOTHING: Settling = { ready: () => undefined, stopped: () => Promise.resolve() };

/**
 * Does not return when the version before has to come back: then that takes the place of this process, once `flush` has
 * written out the log. Never rejects: a full or read-only disk must not lock the owner out.
 */
export async function startUpdated(host: AgentHost, { log, flush }: Log): Promise<Settling> {
  try {
    return await start(host, { log, flush });
  } catch (error) {
    log.error({ error: describeError(error) }, 'what an update left is left there');
    return NOTHING;
  }
}

async function start(host: AgentHost, { log, flush }: Log): Promise<Settling> {
  const pending = await readPending(host.state);
  if (pending === null || !host.live) return NOTHING;
  const running = await host.updates.installed().then(
    (installed) => installed.running,
    () => null,
  );
  if (pending === 'preparing' || running !== pending.next) {
    await cleanUp(host, log, pending, running);
    return NOTHING;
  }
  if (pending.attempts >= ATTEMPTS) {
    await goBack(host, { log, flush }, pending);
    return NOTHING;
  }
  const counted = { ...pending, attempts: pending.attempts + 1 };
  await writePending(host.state, counted);
  log.info({ from: pending.previous, to: pending.next, attempt: counted.attempts }, 'another version starts');
  return settle(host, log, pending);
}

async function cleanUp(host: AgentHost, log: Logger, pending: Pending, running: string | null): Promise<void> {
  if (pending !== 'preparing' && running !== null) await host.updates.prune([running]);
  await host.updates.clean();
  await removePending(host.state);
  log.warn(
    { version: running, ...(pending === 'preparing' ? {} : { not: pending.next }) },
    'an update did not succeed',
  );
}

async function goBack(host: AgentHost, { log, flush }: Log, { previous, next }: Switched): Promise<void> {
  try {
    await host.updates.link(previous);
    log.error({ from: next, to: previous, attempts: ATTEMPTS }, 'the version before comes back');
    await flush();
    await host.updates.restart();
  } catch (error) {
    log.error({ to: previous, error: describeError(error) }, 'the version before cannot be started');
    await removePending(host.state);
  }
}

function settle(host: AgentHost, log: Logger, pending: Switched): Settling {
  let timer: NodeJS.Timeout | undefined;
  const isOurs = (now: Pending | null): boolean => now !== null && now !== 'preparing' && now.next === pending.next;
  const confirm = async (): Promise<void> => {
    const now = await readPending(host.state);
    // Another update is under way. Where it comes to nothing, this one is still to be confirmed.
    if (now === 'preparing') wait();
    if (!isOurs(now)) return;
    await removePending(host.state);
    await host.updates.prune([pending.next, pending.previous]);
    log.info({ version: pending.next }, 'the update is confirmed');
  };
  const wait = (): void => {
    timer = setTimeout(() => {
      confirm().catch((error: unknown) => {
        log.error({ error: describeError(error) }, 'the update cannot be confirmed');
      });
    }, SETTLED_MS).unref();
  };
  return {
    ready: wait,
    async stopped() {
      clearTimeout(timer);
      try {
        if (isOurs(await readPending(host.state))) await writePending(host.state, pending);
      } catch (error) {
        log.error({ error: describeError(error) }, 'this start counts against the version');
      }
    },
  };
}
