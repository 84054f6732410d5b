import { join } from 'node:path';
import { StoreServer } from '#binding';
import { openStore, type StoreConnection } from '../../ts/host/shared/store.js';
import { localTools } from './dom0.js';
import { startXenstored } from './xenstored.js';

export const GUEST = 7;

/** A store with one guest in it. */
export interface GuestStore extends AsyncDisposable {
  /** Whoever connects here acts as dom0. */
  readonly dom0: string;
  /** Where the guest connects, under its own permissions and quotas; the same as dom0 for oxenstored, which has no such place. */
  readonly guest: string;
  /** What the agent is started with to be that guest. */
  readonly agent: { readonly store: string; readonly domain?: number };
}

/** Starts a store in `directory`, and makes in it what a toolstack makes for a guest. */
export async function startGuestStore(
  kind: 'xenstored' | 'oxenstored' | 'embedded',
  directory: string,
): Promise<GuestStore> {
  const [dom0, guest] = [join(directory, 'socket'), join(directory, `dom${GUEST}.client`)];
  if (kind === 'embedded') {
    const server = StoreServer.listen(dom0);
    server.addDomain(GUEST, guest);
    const close = (): Promise<void> => {
      server.close();
      return Promise.resolve();
    };
    return { dom0, guest, agent: { store: guest }, [Symbol.asyncDispose]: close };
  }
  const server = await startXenstored(kind === 'xenstored' ? 'c' : 'ocaml', directory);
  const end = async (): Promise<void> => {
    await server[Symbol.asyncDispose]();
  };
  if (kind === 'oxenstored') {
    return { dom0, guest: dom0, agent: { store: dom0, domain: GUEST }, [Symbol.asyncDispose]: end };
  }
  await server.addDomain(GUEST);
  const tool = localTools(dom0);
  const home = `/local/domain/${GUEST}`;
  await tool('write', [`${home}/domid`, String(GUEST), `${home}/data`, '', `${home}/vm-data`, '']);
  await tool('chmod', [home, 'n0', `r${GUEST}`]);
  for (const name of ['data', 'vm-data']) await tool('chmod', [`${home}/${name}`, `n${GUEST}`]);
  return { dom0, guest, agent: { store: guest }, [Symbol.asyncDispose]: end };
}

/** The host's side of the guest's part of the tree. */
export function hostOf({ dom0 }: GuestStore): StoreConnection {
  return openStore({ endpoint: dom0, domain: GUEST, poll: 'loop' }, () => undefined);
}

/** Another program of the guest. */
export function inGuest({ guest }: GuestStore): StoreConnection {
  return openStore({ endpoint: guest, domain: null, poll: 'loop' }, () => undefined);
}
