/** The ends of every line to the host, for the wires. */
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { VsockListener, openPort } from '#binding';
import type { Endpoints, StoreLine } from '../../api/endpoints.js';
import { absent } from '../shared/system-error.js';
import { adopt, listenAt, loadNet } from '../unix/sockets.js';

/** The context id of the host. */
const HOST_CID = 2;
/** What the kernel tells of ports of virtio-serial. */
const PORTS = '/sys/class/virtio-ports';

export function createEndpoints(store: StoreLine): Endpoints {
  return {
    store,
    findPort,
    async openPort(path) {
      return adopt(await loadNet(), openPort(path));
    },
    listen: listenAt,
    async listenVsock({ port, anyPeerPort }, onConnection, onRefusal) {
      const module = await loadNet();
      const onArrival = (): void => {
        const descriptor = listener.take();
        if (descriptor !== null) onConnection(adopt(module, descriptor));
      };
      const listener = VsockListener.listen(port, { peers: [HOST_CID], anyPort: anyPeerPort }, onArrival, onRefusal);
      return {
        [Symbol.asyncDispose]: () => {
          listener.close();
          return Promise.resolve();
        },
      };
    },
  };
}

async function findPort(name: string): Promise<string | null> {
  const link = join('/dev/virtio-ports', name);
  if ((await stat(link).catch(absent)) !== null) return link;
  // The links are udev's, which minimal guests have not.
  for (const device of (await readdir(PORTS).catch(absent)) ?? []) {
    const text = await readFile(join(PORTS, device, 'name'), 'utf8').catch(absent);
    if (text?.trim() === name) return join('/dev', device);
  }
  return null;
}
