import { StoreServer } from '#binding';

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
