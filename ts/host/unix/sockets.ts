/** Sockets of the system as streams of bytes. */
import type * as net from 'node:net';
import { PrivateSocket } from '#binding';
import type { ByteStream } from '../../api/endpoints.js';

type Net = typeof net;

// Loaded at its first use: a guest of one wire has no need of the other's parts of Node.
export function loadNet(): Promise<Net> {
  return import('node:net');
}

export async function listenAt(path: string, onConnection: (stream: ByteStream) => void): Promise<AsyncDisposable> {
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
  return {
    [Symbol.asyncDispose]: () => {
      // Connections that there are stay; whoever serves them ends them.
      server.close();
      socket.remove();
      return Promise.resolve();
    },
  };
}

export function adopt({ Socket }: Net, descriptor: number): ByteStream {
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
