/**
 * The agent in a guest of KVM, over a real port of virtio-serial, asked by a host that sends what libvirt sends and what
 * QEMU's documentation has. One machine, emulated; after the first step that fails, the others fail at once.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { type TestContext, after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KVM_MAC, KvmMachine } from '../support/kvm/machine.js';
import { PUBLIC_KEY } from '../support/public-key.js';
import { StreamClient } from '../support/stream-client.js';
import { buildKvmImages } from '../support/xen/images.js';

const QEMU_COMMANDS = [
  ...['guest-sync', 'guest-sync-delimited', 'guest-ping', 'guest-info', 'guest-get-host-name', 'guest-get-osinfo'],
  ...['guest-network-get-interfaces', 'guest-set-user-password', 'guest-ssh-get-authorized-keys'],
  ...['guest-ssh-add-authorized-keys', 'guest-ssh-remove-authorized-keys', 'guest-file-open', 'guest-file-read'],
  ...['guest-file-write', 'guest-file-close', 'guest-shutdown'],
];

interface GuestInterface {
  readonly name: string;
  readonly 'hardware-address': string;
  readonly 'ip-addresses': readonly { readonly 'ip-address': string; readonly prefix: number }[];
}

let machine: KvmMachine;
let client: StreamClient;
let opened: StreamClient | null = null;
let broken = false;

function step(name: string, run: (t: TestContext) => Promise<void>): void {
  test(name, async (t) => {
    assert.ok(!broken, 'an earlier step failed');
    broken = true;
    await run(t);
    broken = false;
  });
}

async function connect(): Promise<void> {
  client = await StreamClient.connect(machine.agentSocket);
  opened = client;
}

suite('a guest of KVM', { timeout: 900_000 }, () => {
  before(async () => {
    const images = buildKvmImages((line) => {
      console.log(line);
    });
    machine = await KvmMachine.boot(images);
    await machine.logged('"msg":"ready"');
  });
  after(async () => {
    opened?.[Symbol.dispose]();
    await machine[Symbol.asyncDispose]();
  });

  step('the port is found without udev, and XenStore is not missed', async () => {
    const log = await machine.run('cat /var/log/guestwire.log');
    assert.match(log, /"wires":\["stream"\]/);
    assert.match(log, /"path":"\/dev\/vport\d+p1","msg":"port opened"/);
  });

  step('libvirt and QEMU synchronize, ping and ask what there is', async () => {
    await connect();
    client.send('{"execute":"guest-sync", "arguments":{"id":1732650000123}}\n');
    assert.equal((await client.line()).toString(), '{"return":1732650000123}');
    await client.synchronize();
    assert.deepEqual(await client.execute('guest-ping'), {});
    const info = (await client.execute('guest-info')) as { supported_commands: { name: string; enabled: boolean }[] };
    assert.deepEqual(
      info.supported_commands.map(({ name }) => name),
      QEMU_COMMANDS,
    );
    assert.ok(info.supported_commands.every(({ enabled }) => enabled));
  });

  step('the system is described as the guest itself describes it', async () => {
    const host = (await client.execute('guest-get-host-name')) as { 'host-name': string };
    assert.equal(host['host-name'], await machine.run('hostname'));
    const os = (await client.execute('guest-get-osinfo')) as Record<string, string>;
    assert.equal(os['kernel-release'], await machine.run('uname -r'));
    assert.equal(os['kernel-version'], await machine.run('uname -v'));
    assert.equal(os['machine'], await machine.run('uname -m'));
    assert.deepEqual(
      [os['id'], os['name'], os['version-id'], os['variant']],
      ['minimal', 'Minimal guest', '1', undefined],
    );
  });

  step('interfaces and addresses are those that ip shows', async () => {
    const interfaces = (await client.execute('guest-network-get-interfaces')) as GuestInterface[];
    const eth0 = interfaces.find(({ name }) => name === 'eth0');
    assert.equal(eth0?.['hardware-address'], KVM_MAC);
    const shown = await machine.run(`ip address show dev eth0 | sed -n 's/^ *inet6\\{0,1\\} \\([^ ]*\\).*/\\1/p'`);
    const told = eth0['ip-addresses'].map((address) => `${address['ip-address']}/${address.prefix}`);
    assert.deepEqual([...told].sort(), shown.split('\n').sort());
    assert.ok(told.includes('192.0.2.10/24') && told.includes('2001:db8::10/64'), told.join(' '));
  });

  step('a password that the host sets is the one that su takes', async () => {
    const su = (text: string): string =>
      `su -s /bin/sh nobody -c "echo ${text} | su root -c 'echo let in; id -u'" 2>&1; true`;
    const set = (password: string, crypted: boolean): Promise<unknown> =>
      client.execute('guest-set-user-password', {
        username: 'root',
        password: Buffer.from(password).toString('base64'),
        crypted,
      });
    assert.doesNotMatch(await machine.run(su('by-libvirt')), /let in/);
    assert.deepEqual(await set('by-libvirt', false), {});
    assert.match(await machine.run(su('by-libvirt')), /let in\n0/);
    const hash = execFileSync('openssl', ['passwd', '-6', 'by-hash'], { encoding: 'utf8' }).trim();
    assert.deepEqual(await set(hash, true), {});
    assert.match(await machine.run(su('by-hash')), /let in\n0/);
    assert.doesNotMatch(await machine.run(su('by-libvirt')), /let in/);
  });

  step('a file goes there and comes back byte for byte', async () => {
    const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, index) => (index * 31 + (index >> 8)) % 256));
    const handle = await client.execute('guest-file-open', { path: '/etc/from-the-host', mode: 'w' });
    for (let at = 0; at < bytes.length; at += 65_536) {
      const piece = bytes.subarray(at, at + 65_536);
      const written = await client.execute('guest-file-write', { handle, 'buf-b64': piece.toString('base64') });
      assert.deepEqual(written, { count: piece.length, eof: false });
    }
    assert.equal(await machine.run('test -e /etc/from-the-host || echo not yet'), 'not yet');
    assert.deepEqual(await client.execute('guest-file-close', { handle }), {});
    assert.match(
      await machine.run('md5sum /etc/from-the-host'),
      new RegExp(createHash('md5').update(bytes).digest('hex')),
    );

    const reader = await client.execute('guest-file-open', { path: '/etc/from-the-host' });
    const read = (await client.execute('guest-file-read', { handle: reader, count: 1_000_000 })) as {
      'buf-b64': string;
      eof: boolean;
    };
    assert.ok(read.eof);
    assert.ok(Buffer.from(read['buf-b64'], 'base64').equals(bytes));
    assert.deepEqual(await client.execute('guest-file-close', { handle: reader }), {});
  });

  step("root's ssh keys are added, listed and removed", async () => {
    assert.deepEqual(
      await client.execute('guest-ssh-add-authorized-keys', { username: 'root', keys: [PUBLIC_KEY] }),
      {},
    );
    assert.equal(await machine.run('cat /root/.ssh/authorized_keys'), PUBLIC_KEY);
    assert.deepEqual(await client.execute('guest-ssh-get-authorized-keys', { username: 'root' }), {
      keys: [PUBLIC_KEY],
    });
    assert.deepEqual(
      await client.execute('guest-ssh-remove-authorized-keys', { username: 'root', keys: [PUBLIC_KEY] }),
      {},
    );
    assert.deepEqual(await client.execute('guest-ssh-get-authorized-keys', { username: 'root' }), { keys: [] });
  });

  step("the agent's own commands go over the same line", async () => {
    const version = await client.ask({ id: 'a', name: 'version', value: '' });
    assert.deepEqual([version['id'], version['returncode']], ['a', '0']);
    assert.match(String(version['message']), /^\d+\.\d+\.\d+$/);
    const features = await client.ask({ id: 2, name: 'features' });
    assert.match(String(features['message']), /^version,features,.*resetnetwork/);
    assert.doesNotMatch(String(features['message']), /guest-/);
    const b64 = (text: string): string => Buffer.from(text).toString('base64');
    const value = { b64_path: b64('/etc/own-dialect'), b64_file: b64('own, too') };
    assert.deepEqual(await client.ask({ id: null, name: 'file_inject', value }), {
      id: null,
      returncode: '0',
      message: '',
    });
    assert.equal(await machine.run('cat /etc/own-dialect'), 'own, too');
  });

  step(
    'a host that goes in the middle of a line and comes back finds a clean one, and nothing spins meanwhile',
    async () => {
      const cpu = async (): Promise<number> => {
        const stat = await machine.run('cat /proc/$(pidof node)/stat');
        const [user, system] = stat
          .slice(stat.lastIndexOf(')') + 2)
          .split(' ')
          .slice(11, 13);
        return Number(user) + Number(system);
      };
      client.send('{"execute":"guest-set-user-');
      await sleep(300);
      client[Symbol.dispose]();
      await sleep(500);
      const start = await cpu();
      await sleep(3000);
      const ticks = (await cpu()) - start;
      assert.ok(ticks <= 15, `${ticks} hundredths of a second of processor time in 3 s`);
      await connect();
      // No sentinel: what came before the hang-up must be forgotten without one.
      client.send('{"execute":"guest-ping"}\n');
      assert.equal((await client.line()).toString(), '{"return":{}}');
    },
  );

  step('an answer for a host that is gone is not given to the next', async () => {
    client.send('{"execute":"guest-file-open","arguments":{"path":"/etc/from-the-host"}}\n');
    const { return: handle } = JSON.parse((await client.line()).toString()) as { return: number };
    client.send(`{"execute":"guest-file-read","arguments":{"handle":${handle},"count":200000}}\n`);
    client[Symbol.dispose]();
    await sleep(1500);
    await connect();
    await client.synchronize();
    assert.deepEqual(await client.execute('guest-ping'), {});
  });

  step('vsock is for the host alone: a program of the guest is hung up on, and the log says so once', async () => {
    // The kernel connects it, the agent ends it without a word.
    for (let tries = 0; tries < 3; tries += 1) {
      const heard = await machine.run(
        `{ echo '{"execute":"guest-ping"}'; sleep 1; } | timeout 5 socat - VSOCK-CONNECT:1:4000,bind=:1000 2>&1; true`,
      );
      assert.doesNotMatch(heard, /return/);
      assert.doesNotMatch(heard, /refused|No such device/i);
    }
    const log = await machine.run('cat /var/log/guestwire.log');
    assert.equal(
      log.match(/"reason":"context id 1 is not the host's","msg":"vsock connection refused/g)?.length,
      1,
      log,
    );
  });

  /** The addon, with the guest itself in the place of the host. It answers whom it lets in, and prints whom it does not. */
  const startVsock = (port: number, anyPort: boolean): Promise<string> => {
    const server = `
      import { VsockListener } from '/usr/lib/guestwire/native/binding.js';
      import { Socket } from 'node:net';
      const listener = VsockListener.listen(${port}, { peers: [1], anyPort: ${anyPort} }, () => {
        const socket = new Socket({ fd: listener.take(), readable: true, writable: true, allowHalfOpen: true });
        socket.on('data', (chunk) => socket.end('heard ' + chunk));
      }, (reason) => console.log('refused: ' + reason));
      console.log('listening');`;
    return machine.run(`
      echo ${Buffer.from(server).toString('base64')} | base64 -d > /tmp/server-${port}.mjs
      node /tmp/server-${port}.mjs > /tmp/server-${port}.log &
      while ! grep -q listening /tmp/server-${port}.log; do sleep 0.1; done`);
  };
  const askVsock = (port: number, options: string, user = 'root'): Promise<string> =>
    machine.run(
      `su -s /bin/sh ${user} -c 'echo over vsock | timeout 10 socat -t 5 - VSOCK-CONNECT:1:${port}${options}' 2>&1; true`,
    );

  step('a privileged program of the host is served over vsock, and another user of the host is not', async () => {
    await startVsock(5000, false);
    assert.equal(await askVsock(5000, ',bind=:1000'), 'heard over vsock');
    assert.doesNotMatch(await askVsock(5000, ''), /heard/);
    assert.doesNotMatch(await askVsock(5000, '', 'nobody'), /heard/);
    // The kernel keeps the ports that count from who is not privileged.
    assert.match(await askVsock(5000, ',bind=:1000', 'nobody'), /bind.*(denied|not permitted)/i);
    const log = await machine.run('cat /tmp/server-5000.log');
    assert.match(log, /^listening\nrefused: any user of the host may come from port \d+$/);
  });

  step('with any port of a peer let in, whoever is at the host is served over vsock', async () => {
    await startVsock(5001, true);
    assert.equal(await askVsock(5001, '', 'nobody'), 'heard over vsock');
  });

  step('connections that a worker has no more time to take are closed when it is torn down', async () => {
    const server = `
      import { Worker } from 'node:worker_threads';
      import { readdirSync, writeFileSync } from 'node:fs';
      import { once } from 'node:events';
      import { execFileSync } from 'node:child_process';
      const busy = () => new Worker(\`
        import('/usr/lib/guestwire/native/binding.js').then(({ VsockListener }) => {
          const listener = VsockListener.listen(5002, { peers: [1], anyPort: true }, () => listener.take(), () => {});
          require('node:worker_threads').parentPort.postMessage('listening');
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
        });\`, { eval: true });
      const descriptors = () => readdirSync('/proc/self/fd').length;
      const round = async () => {
        const worker = busy();
        await once(worker, 'message');
        for (let count = 0; count < 5; count += 1) {
          execFileSync('/bin/sh', ['-c', 'echo x | timeout 3 socat -t 0.1 - VSOCK-CONNECT:1:5002 || true']);
        }
        await worker.terminate();
        await new Promise((resolve) => setTimeout(resolve, 500));
      };
      await round();
      const before = descriptors();
      for (let count = 0; count < 3; count += 1) await round();
      console.log(descriptors() - before);`;
    const left = await machine.run(
      `echo ${Buffer.from(server).toString('base64')} | base64 -d > /tmp/torn.mjs; node /tmp/torn.mjs`,
    );
    assert.equal(left, '0');
  });

  step('five hundred requests in a row are answered in their order', async () => {
    const started = performance.now();
    for (let sent = 0; sent < 500; sent += 100) {
      const batch = Array.from({ length: 100 }, (_, index) => sent + index);
      client.send(batch.map((id) => `{"execute":"guest-sync","arguments":{"id":${id}}}\n`).join(''));
      for (const id of batch) assert.equal((await client.line()).toString(), `{"return":${id}}`);
    }
    console.log(`500 requests over virtio-serial, emulated: ${Math.round(performance.now() - started)} ms`);
  });

  step('a shutdown is not answered, and powers the machine off', async () => {
    client.send('{"execute":"guest-shutdown","arguments":{"mode":"powerdown"}}\n');
    assert.equal(await machine.off(), 0);
    await assert.rejects(client.line(1000), /received: $/);
    assert.match(machine.console, /powering off/);
  });
});
