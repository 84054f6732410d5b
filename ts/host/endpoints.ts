/** The ends of every line to the host, for the wires. */
import type * as net from 'node:net';
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PrivateSocket, VsockListener, openPort } from '#binding';
import type { ByteStream, Endpoints, StoreLine } from '../api/endpoints.js';
import { absent } from './system-error.js';

/** The context id of the host. */
const HOST_CID = 2;
/** What the kernel tells of ports of virtio-serial. */
const PORTS = '/sys/class/virtio-ports';

type Net = typeof net;

// Loaded at its first use: a guest of one wire has no need of the other's parts of Node.
function loadNet(): Promise<Net> {
  return import('node:net');
}

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
      return disposable(() => {
        listener.close();
        return Promise.resolve();
      });
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

async function listenAt(path: string, onConnection: (stream: ByteStream) => void): Promise<AsyncDisposable> {
  const { createServer } = await loadNet();
  // A host that has said all that it wanted may still wait for the answer.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    onConnection(streamOf(socket));
  });
  // Not made by Node, which can only change the mode of a socket that is there already.
  const socket = PrivateSocket.listen(path);
  await new Promise<void>((resolve, reject) => {
    // Not once: a connection that cannot be taken later, for want of descriptors, would end the process.
    server.on('error', reject);
    server.listen({ fd: socket.takeDescriptor() }, resolve);
  });
  return disposable(
    () =>
      new Promise((resolve) => {
        // Connections that there are stay; whoever serves them ends them.
        server.close();
        socket.remove();
        resolve();
      }),
  );
}

function adopt({ Socket }: Net, descriptor: number): ByteStream {
  return streamOf(new Socket({ fd: descriptor, readable: true, writable: true, allowHalfOpen: true }));
}

function streamOf(socket: net.Socket): ByteStream {
  // Told to whoever reads or writes; without a listener it would end the process.
  socket.on('error', () => undefined);
  return {
    incoming: { [Symbol.asyncIterator]: () => socket.iterator({ destroyOnReturn: false }) },
    write: (bytes) =>
      new Promise((resolve, reject) => {
        socket.write(bytes, (error) => {
          if (error === undefined || error === null) resolve();
          else reject(error);
        });
      }),
    [Symbol.dispose]: () => {
      socket.destroySoon();
    },
  };
}

function disposable(dispose: () => Promise<void>): AsyncDisposable {
  return { [Symbol.asyncDispose]: dispose };
}
