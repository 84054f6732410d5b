import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StoreServer } from '#binding';
import { wholeOrUndone } from '../support/cleanup.js';
import { startXenstored } from '../support/xenstored.js';
import { connect, type Operation } from './connection.js';

/** The guest that every store has. */
export const GUEST = 7;
export const HOME = `/local/domain/${GUEST}`;
/** What is the guest's own of its home. */
const OWN = ['attr', 'control', 'data', 'feature', 'vm-data'];

/** A store's sockets. */
export interface Place {
  readonly dom0: string;
  readonly guest: string;
}

/** The embedded store and both real ones, with the guest's home as a toolstack makes it. */
export interface Stores extends AsyncDisposable {
  readonly embedded: Place;
  readonly xenstored: Place;
  readonly oxenstored: Place;
}

export function startStores(): Promise<Stores> {
  return wholeOrUndone(async (cleanup) => {
    const folder = mkdtempSync(join(tmpdir(), 'guestwire-store-'));
    cleanup.add(() => {
      rmSync(folder, { recursive: true, force: true });
    });
    const server = StoreServer.listen(join(folder, 'embedded'));
    cleanup.add(() => {
      server.close();
    });
    const embedded = { dom0: join(folder, 'embedded'), guest: join(folder, 'guest') };
    server.addDomain(GUEST, embedded.guest);
    const real = async (kind: 'c' | 'ocaml'): Promise<Place> => {
      const store = await startXenstored(kind, mkdtempSync(join(folder, `${kind}-`)));
      cleanup.add(() => store[Symbol.asyncDispose]());
      const place = { dom0: store.socket, guest: await store.addDomain(GUEST) };
      await makeHome(place.dom0);
      return place;
    };
    const [xenstored, oxenstored] = [await real('c'), await real('ocaml')];
    return { embedded, xenstored, oxenstored, [Symbol.asyncDispose]: () => cleanup[Symbol.asyncDispose]() };
  });
}

/** Makes what a toolstack makes for a guest; the embedded store has done so by itself. */
async function makeHome(dom0: string): Promise<void> {
  using connection = await connect(dom0);
  const steps: readonly (readonly [Operation, string])[] = [
    ['MKDIR', '/tool\0'],
    ['WRITE', `${HOME}/domid\0${GUEST}`],
    ['SET_PERMS', `${HOME}\0n0\0r${GUEST}\0`],
    ['SET_PERMS', `${HOME}/domid\0n0\0r${GUEST}\0`],
    ...OWN.flatMap(
      (name) =>
        [
          ['MKDIR', `${HOME}/${name}\0`],
          ['SET_PERMS', `${HOME}/${name}\0n${GUEST}\0`],
        ] as const,
    ),
  ];
  for (const [operation, body] of steps) {
    const answer = await connection.ask(operation, body);
    if (answer !== 'OK\0') throw new Error(`making the guest's home: ${operation} ${body}: ${answer}`);
  }
}
