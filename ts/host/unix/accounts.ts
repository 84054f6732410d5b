import { FileLock, hashPassword } from '#binding';
import { type Accounts, AgentError, type Host } from '../../api/index.js';
import { codeOf } from '../../api/errors.js';
import { LockBusyError, PWD_LOCK, realPath, takeLockFiles } from './lock-files.js';
import { reason } from '../shared/reason.js';

/** How long lckpwdf(3) waits, too. Milliseconds. */
const LOCK_TIMEOUT = 15_000;

/** The accounts of a machine. `primitives`: see {@link createPrimitives}; `now` gives milliseconds since 1970. */
export function createAccounts(
  { live, files, processes }: Pick<Host, 'live' | 'files' | 'processes'>,
  primitives: Primitives,
  now: () => number = Date.now,
): Accounts {
  const machine = { live, files, processes, accounts: primitives, now };
  return {
    ...primitives,
    async setPassword(user, password, options) {
      const { setPassword } = await import('./set-password.js');
      return setPassword(machine, user, password, options);
    },
    async loginState(user) {
      const { loginState } = await import('./login-facts.js');
      return loginState(files, user, now());
    },
  };
}

/** What the C library does for accounts. */
type Primitives = Pick<Accounts, 'hashPassword' | 'lock'>;

/** For the system below `root`. */
export function createPrimitives(root: string, lockTimeout = LOCK_TIMEOUT): Primitives {
  return {
    async hashPassword(password, scheme) {
      try {
        return await hashPassword(password.reveal(), scheme);
      } catch (cause) {
        throw new AgentError('GW_INTERNAL', [`the password could not be hashed with ${scheme}`], { cause });
      }
    },

    lock: () => lockPasswordFiles(root, lockTimeout),
  };
}

/** The lock of lckpwdf(3) comes first, as with shadow-utils, and lets everybody else wait for the rest. */
async function lockPasswordFiles(root: string, timeout: number): Promise<AsyncDisposable> {
  const deadline = Date.now() + timeout;
  let lock: FileLock | null = null;
  try {
    lock = await FileLock.acquire(await realPath(root, PWD_LOCK), timeout);
    const held = lock;
    const release = await takeLockFiles(root, deadline);
    return {
      async [Symbol.asyncDispose]() {
        try {
          await release();
        } finally {
          held.release();
        }
      },
    };
  } catch (cause) {
    lock?.release();
    const [path, why] = whyNotLocked(cause, timeout);
    throw new AgentError('GW_FILE_FAILED', [path, why], { cause });
  }
}

function whyNotLocked(error: unknown, timeout: number): readonly [path: string, why: string] {
  const waited = `waited for ${timeout / 1000} s`;
  if (error instanceof LockBusyError) return [error.path, `${error.message}; ${waited}`];
  if (codeOf(error) === 'LOCK_TIMEOUT') return [PWD_LOCK, `another program holds it; ${waited}`];
  return [PWD_LOCK, reason(error)];
}
