import { EmbeddedStore } from '../host/index.js';
import { listenForShutdown } from '../daemon/shutdown.js';
import { domainId, noMore, print, required, subcommand } from './command-line.js';

export const store = subcommand({
  synopsis: ['store --socket PATH [--domain N]'],
  description:
    'Serves an embedded XenStore until it is stopped. Whoever connects to the socket acts as dom0. ' +
    'Its content is gone when it stops.',
  options: {
    socket: {
      type: 'string',
      argument: 'PATH',
      help: 'where to listen; only a socket of yours that nobody serves is replaced',
    },
    domain: {
      type: 'string',
      argument: 'N',
      help: "make guest N's part of the tree, and a socket PATH.N whose users act as that guest",
    },
  },
  async main(values, positionals) {
    noMore(positionals);
    const socket = required('--socket', values.socket);
    const domain = values.domain === undefined ? null : domainId(values.domain);
    using server = new EmbeddedStore(socket);
    if (domain !== null) server.addDomain(domain, `${socket}.${domain}`);
    // Before it says that it serves: who reads that may stop it, and the sockets have to go.
    using shutdown = listenForShutdown(() => undefined);
    print(`XenStore at ${socket}${domain === null ? '' : `, for guest ${domain} at ${socket}.${domain}`}`);
    // The server's own threads need not keep Node's loop alive; this does.
    const alive = setInterval(() => undefined, 2 ** 30);
    await new Promise((resolve) => {
      shutdown.signal.addEventListener('abort', resolve, { once: true });
    });
    clearInterval(alive);
    return 0;
  },
});
