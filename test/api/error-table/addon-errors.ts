/** How each code of the addon is provoked, in the order of docs/errors.md: its code, what the message says, and how. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmod, lchown, mkdir, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  FileLock,
  FileTree,
  KeyExchange,
  networkApply,
  openPort,
  SealedExchange,
  StoreServer,
  XenStore,
} from '#binding';
import { createScratch } from '../../support/scratch.js';
import type { AddonEntry } from './entry.js';

const run = promisify(execFile);
/** Of xs_wire.h. */
const [DIRECTORY, ERROR] = [1, 16];

/** Does something with a guest's connection to an embedded store. */
function asGuest(work: (store: XenStore) => Promise<unknown>): () => Promise<void> {
  return async () => {
    await using scratch = await createScratch();
    const [host, guest] = [join(scratch.directory, 'host'), join(scratch.directory, 'guest')];
    const server = StoreServer.listen(host);
    server.addDomain(1, guest);
    const store = XenStore.open({ endpoint: guest, poll: 'loop' }, () => undefined);
    try {
      await work(store);
    } finally {
      store.close();
      server.close();
    }
  };
}

/** A key exchange with its private key. */
function begun<T extends { begin(): unknown }>(exchange: T): T {
  exchange.begin();
  return exchange;
}

const finish = (peer: string, room = 33): number => begun(new KeyExchange()).finish(peer, Buffer.alloc(room));
const agree = (peer: Buffer): void => {
  begun(new SealedExchange()).agreeAsAgent(peer);
};

export const ADDON_ENTRIES: Readonly<Record<string, AddonEntry>> = {
  XS_NOT_FOUND: {
    says: /^no XenStore node vm-data\/hostname$/,
    provoke: asGuest((store) => store.read('vm-data/hostname')),
  },

  XS_REFUSED: {
    says: /\/local\/domain\/0\/name.*EACCES/,
    provoke: asGuest((store) => store.write('/local/domain/0/name', Buffer.from('x'))),
  },

  XS_INVALID_PATH: { says: /data\/\/host.*empty name/, provoke: asGuest((store) => store.read('data//host')) },

  XS_TOO_LARGE: {
    says: /5005.*4096/,
    provoke: asGuest((store) => store.write('data', Buffer.alloc(5000))),
  },

  XS_CLOSED: {
    says: /closed/,
    provoke: asGuest((store) => {
      store.close();
      return store.read('data');
    }),
  },

  XS_IO: {
    says: /socket.*Connection refused/,
    async provoke() {
      await using scratch = await createScratch();
      const endpoint = join(scratch.directory, 'socket');
      // A socket that nobody serves any more, as a store leaves it that was killed.
      const code = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
      await run(process.execPath, ['-e', code, endpoint]).catch(() => undefined);
      XenStore.open({ endpoint, poll: 'loop' }, () => undefined);
    },
  },

  XS_PROTOCOL: {
    says: /a piece of a list without a generation/,
    async provoke() {
      await using scratch = await createScratch();
      const endpoint = join(scratch.directory, 'socket');
      // No store answers so; bytes that are no message at all end the connection, which is XS_CLOSED.
      const server = createServer((socket) =>
        socket.on('data', (request) => {
          const whole = request.readUInt32LE(0) === DIRECTORY;
          const body = Buffer.from(whole ? 'E2BIG\0' : 'x');
          const header = Buffer.from(request.subarray(0, 16));
          if (whole) header.writeUInt32LE(ERROR, 0);
          header.writeUInt32LE(body.length, 12);
          socket.write(Buffer.concat([header, body]));
        }),
      );
      server.listen(endpoint);
      await once(server, 'listening');
      const store = XenStore.open({ endpoint, poll: 'loop' }, () => undefined);
      try {
        await store.list('data');
      } finally {
        store.close();
        server.close();
      }
    },
  },

  XS_NO_ENDPOINT: {
    says: /\/nowhere\/xenbus/,
    provoke: () => XenStore.open({ endpoint: '/nowhere/xenbus', poll: 'loop' }, () => undefined),
  },

  DH_NOT_A_DECIMAL: { says: /decimal/, provoke: () => finish('0x19') },
  DH_OUT_OF_RANGE: { says: /between 2 and 162259276829213363391578010288125$/, provoke: () => finish('1') },
  DH_NOT_BEGUN: { says: /./, provoke: () => new KeyExchange().finish('25', Buffer.alloc(33)) },
  DH_NO_ROOM: { says: /./, provoke: () => finish('1234567', 1) },

  DH_BAD_LENGTH: {
    says: /31/,
    provoke: () => {
      agree(Buffer.alloc(31, 9));
    },
  },

  DH_LOW_ORDER: {
    says: /low order/,
    provoke: () => {
      agree(Buffer.alloc(32));
    },
  },

  SEAL_BROKEN: {
    says: /./,
    provoke() {
      const [host, agent] = [new SealedExchange(), new SealedExchange()];
      const [hostKey, agentKey] = [host.begin(), agent.begin()];
      host.agreeAsHost(agentKey);
      agent.agreeAsAgent(hostKey);
      const message = host.seal(Buffer.from('text'));
      message[0]! ^= 1;
      agent.open(message, Buffer.alloc(message.length));
    },
  },

  NETLINK_FAILED: {
    says: /^setting device 2147483647 up: ENODEV$/,
    provoke: () => {
      networkApply([{ type: 'up', index: 0x7fff_ffff }]);
    },
  },

  STREAM_FAILED: {
    says: /^opening \/dev\/virtio-ports\/absent: No such file or directory/,
    provoke: () => openPort('/dev/virtio-ports/absent'),
  },

  FILE_REFUSED: {
    says: /^the link \/tmp\/f belongs to uid 65534, and stands where others may write: wanted root's$/,
    async provoke() {
      await using scratch = await createScratch();
      await mkdir(join(scratch.root, 'tmp'));
      await chmod(join(scratch.root, 'tmp'), 0o1777);
      await symlink('/etc/f', join(scratch.root, 'tmp/f'));
      await lchown(join(scratch.root, 'tmp/f'), 65534, 65534);
      await new FileTree(scratch.root).read('/tmp/f');
    },
  },

  FILE_MOVED: {
    says: /^\/link is a link now$/,
    async provoke() {
      await using scratch = await createScratch();
      await symlink('etc', join(scratch.root, 'link'));
      await new FileTree(scratch.root).place('/link/f', { last: 'exact', home: null, expected: null });
    },
  },

  LOCK_TIMEOUT: {
    says: /\.pwd\.lock/,
    async provoke() {
      await using scratch = await createScratch();
      const path = join(scratch.directory, '.pwd.lock');
      const lock = await FileLock.acquire(path, 1000);
      try {
        await FileLock.acquire(path, 20);
      } finally {
        lock.release();
      }
    },
  },

  HASH_FAILED: {
    says: /^cannot hash the password: /,
    async provoke() {
      // The salt is all that can fail: strace makes the kernel have no random bytes, once node has had its own.
      const code = `
        import { spawn } from 'node:child_process';
        import { once } from 'node:events';
        import { hashPassword } from '#binding';
        const fault = ['-e', 'trace=getrandom', '-e', 'inject=getrandom:error=EIO'];
        const strace = spawn('strace', ['-f', '-o', '/dev/null', ...fault, '-p', String(process.pid)]);
        await once(strace.stderr, 'data');
        const told = await hashPassword(Buffer.from('S3cret'), 'yescrypt').catch(({ code, message }) => ({ code, message }));
        strace.kill();
        console.log(JSON.stringify(told));`;
      const { stdout } = await run(process.execPath, ['--input-type=module', '-e', code]);
      const told = JSON.parse(stdout) as unknown;
      assert.equal(typeof told, 'object', 'the password was hashed');
      throw Object.assign(new Error(), told);
    },
  },
};
