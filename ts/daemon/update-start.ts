/** What an update left to do when the agent starts: to clean up, or to see whether the new version is any good. */
import type { Logger } from 'pino';
import type { Host } from '../api/host.js';
import { type Pending, type Switched, readPending, removePending, writePending } from '../commands/update-state.js';
import { describeError } from './log.js';

/** A new version that was started so often and never served for long is put back. */
const ATTEMPTS = 3;
/** A version that has served so long is good, milliseconds. */
const SETTLED_MS = 10_000;

export interface Settling {
  /** The agent serves. */
  ready(): void;
  /** The agent was asked to stop: this start does not count against the version. */
  stopped(): Promise<void>;
}

const NOTHING: Settling = { ready: () => undefined, stopped: () => Promise.resolve() };

/** Does not return when the version before has to come back: then that takes the place of this process. */
export async function startUpdated(host: Host, log: Logger): Promise<Settling> {
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
    await goBack(host, log, pending);
    return NOTHING;
  }
  const counted = { ...pending, attempts: pending.attempts + 1 };
  await writePending(host.state, counted);
  log.info({ from: pending.previous, to: pending.next, attempt: counted.attempts }, 'another version starts');
  return settle(host, log, pending);
}

async function cleanUp(host: Host, log: Logger, pending: Pending, running: string | null): Promise<void> {
  if (pending !== 'preparing' && running !== null) await host.updates.prune([running]);
  await host.updates.clean();
  await removePending(host.state);
  log.warn(
    { version: running, ...(pending === 'preparing' ? {} : { not: pending.next }) },
    'an update did not succeed',
  );
}

async function goBack(host: Host, log: Logger, { previous, next }: Switched): Promise<void> {
  try {
    await host.updates.link(previous);
    log.error({ from: next, to: previous, attempts: ATTEMPTS }, 'the version before comes back');
    await host.updates.restart();
  } catch (error) {
    log.error({ to: previous, error: describeError(error) }, 'the version before cannot be started');
    await removePending(host.state);
  }
}

function settle(host: Host, log: Logger, pending: Switched): Settling {
  let timer: NodeJS.Timeout | undefined;
  const stillPending = async (): Promise<boolean> => {
    const now = await readPending(host.state);
    return now !== null && now !== 'preparing' && now.next === pending.next;
  };
  const confirm = async (): Promise<void> => {
    if (!(await stillPending())) return;
    await removePending(host.state);
    await host.updates.prune([pending.next, pending.previous]);
    log.info({ version: pending.next }, 'the update is confirmed');
  };
  return {
    ready() {
      timer = setTimeout(() => {
        confirm().catch((error: unknown) => {
          log.error({ error: describeError(error) }, 'the update cannot be confirmed');
        });
      }, SETTLED_MS).unref();
    },
    async stopped() {
      clearTimeout(timer);
      if (await stillPending()) await writePending(host.state, pending);
    },
  };
}
