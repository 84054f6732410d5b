/**
 * The addon's functions under names of ours, so that the rest of the program never imports `#binding`. Its XenStore
 * client is wrapped by host/store.ts; key exchange, locks and password hashes by host/accounts.ts.
 */
import { StoreServer, commit, notify } from '#binding';
/** The commit that the addon was built from, or `unknown`. */
export function buildCommit(): string {
  return commit();
}

/** Tells systemd about the service, as sd_notify(3) does. False when nobody listens: that is no reason to stop. */
export function notifyServiceManager(state: string): boolean {
  try {
    return notify(state);
  } catch {
    return false;
  }
}

/** The embedded XenStore server on a unix socket: for the demo, for tests, for machines without Xen. */
export class EmbeddedStore implements Disposable {
  readonly #server: StoreServer;

  /**
   * Listens at `socket`; one of ours that nobody serves any more is replaced, and nothing else is. Whoever connects there
   * acts as dom0.
   */
  constructor(socket: string) {
    this.#server = StoreServer.listen(socket);
  }

  /** Makes `/local/domain/<domid>` as a toolstack does; whoever connects to `socket` acts as that guest. */
  addDomain(domid: number, socket: string): void {
    this.#server.addDomain(domid, socket);
  }

  [Symbol.dispose](): void {
    this.#server.close();
  }
}
