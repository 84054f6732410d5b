import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import type { RequestListener, ServerResponse } from 'node:http';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Logger, pino } from 'pino';
import type { TransferLimits } from '../../../ts/agent/updates.js';
import { type Certificates, downloadFile, fetchBytes } from '../../../ts/host/shared/download.js';
import { trustedCertificates } from '../../../ts/host/unix/certificates.js';
import { ScratchDirectory } from '../../../ts/host/shared/scratch-directory.js';
import { Authority, type Certificate, UpdateServer } from '../../support/update-server.js';

const DEBIAN = 'etc/ssl/certs/ca-certificates.crt';
const LIMITS: TransferLimits = { maxSize: 1_000_000, insecure: false, signal: new AbortController().signal };
const CONTENT = Buffer.alloc(300_000, 'guestwire ');
const SILENT = pino({ level: 'silent' });

/** A root that trusts an authority, and a directory beside it. */
class Machine implements AsyncDisposable {
  readonly root: string;
  readonly file: string;
  readonly authority: Authority;
  readonly trusted: Certificates = () => trustedCertificates(this.root);
  readonly #scratch: ScratchDirectory;

  private constructor(scratch: ScratchDirectory) {
    this.#scratch = scratch;
    this.root = join(scratch.path, 'root');
    this.file = join(scratch.path, 'archive');
    this.authority = new Authority(scratch.path);
  }

  static async create(bundle: string | null = DEBIAN): Promise<Machine> {
    const machine = new Machine(await ScratchDirectory.create());
    if (bundle === null) return machine;
    mkdirSync(dirname(join(machine.root, bundle)), { recursive: true });
    copyFileSync(machine.authority.file, join(machine.root, bundle));
    return machine;
  }

  fetch(url: string, limits: Partial<TransferLimits> = {}): Promise<Buffer | null> {
    return fetchBytes(this.trusted, new URL(url), { ...LIMITS, ...limits });
  }

  download(url: string, limits: Partial<TransferLimits> = {}, log: Logger = SILENT): ReturnType<typeof downloadFile> {
    return downloadFile(this.trusted, new URL(url), this.file, ['md5', 'sha256'], { ...LIMITS, ...limits }, log);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scratch[Symbol.asyncDispose]();
  }
}

async function refused(work: Promise<unknown>, url: string, why: string | RegExp): Promise<void> {
  const { origin, pathname } = new URL(url);
  await assert.rejects(work, (error: Error & { code?: string }) => {
    assert.equal(error.code, 'GW_UPDATE_DOWNLOAD');
    const prefix = `Could not download ${origin}${pathname}: `;
    assert.ok(error.message.startsWith(prefix), error.message);
    const reason = error.message.slice(prefix.length);
    if (typeof why === 'string') assert.equal(reason, why);
    else assert.match(reason, why);
    return true;
  });
}

const redirectTo =
  (location: string, status = 302): RequestListener =>
  (_, response) =>
    response.writeHead(status, { location }).end();

test('a file comes whole, closed to others, with its digests, and the log says how far it is without secrets', async () => {
  await using machine = await Machine.create();
  await using server = await UpdateServer.start(machine.authority.certify());
  server.files.set('/x', CONTENT);
  const lines: string[] = [];
  const log = pino({ base: null }, { write: (line) => void lines.push(line) });
  const url = server.url('/x?token=secret').replace('https://', 'https://user:secret@');
  const { size, digests } = await machine.download(url, {}, log);
  assert.equal(size, CONTENT.length);
  for (const name of ['md5', 'sha256'] as const) {
    assert.equal(digests[name], createHash(name).update(CONTENT).digest('hex'));
  }
  assert.deepEqual(readFileSync(machine.file), CONTENT);
  assert.equal(statSync(machine.file).mode & 0o777, 0o600);
  const progress = lines.map((line) => JSON.parse(line) as { url: string; size: number; total: number });
  assert.ok(progress.length >= 2 && progress.length <= 10, `${progress.length} lines`);
  assert.ok(
    progress.every(({ total, size: done }, index) => total === size && done > (progress[index - 1]?.size ?? 0)),
  );
  assert.ok(!lines.join('').includes('secret'), lines[0]);
});

for (const bundle of [
  DEBIAN,
  'etc/pki/tls/certs/ca-bundle.crt',
  'etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  'var/lib/ca-certificates/ca-bundle.pem',
  'etc/ssl/ca-bundle.pem',
  'etc/ssl/cert.pem',
]) {
  test(`the authorities in /${bundle} of the root are trusted`, async () => {
    await using machine = await Machine.create(bundle);
    await using server = await UpdateServer.start(machine.authority.certify());
    server.files.set('/x', 'content');
    assert.equal((await machine.fetch(server.url('/x')))?.toString(), 'content');
  });
}

const UNTRUSTED: readonly (readonly [what: string, certificate: (machine: Machine) => Certificate, why: RegExp])[] = [
  ['one that has expired', ({ authority }) => authority.certify(-1), /^certificate has expired$/],
  [
    'one of an authority that the system does not know',
    ({ file }) => new Authority(dirname(file), 'unknown').certify(),
    /^unable to verify the first certificate$/,
  ],
];
for (const [what, certificate, why] of UNTRUSTED) {
  test(`no byte is taken from a server whose certificate is ${what}`, async () => {
    await using machine = await Machine.create();
    await using server = await UpdateServer.start(certificate(machine));
    server.files.set('/x', CONTENT);
    await refused(machine.download(server.url('/x')), server.url('/x'), why);
    assert.deepEqual(server.asked, []);
  });
}

/** Fetches with the agent's own code in a process whose environment is another; resolves with what it printed. */
async function fetchWith(environment: NodeJS.ProcessEnv, root: string, url: string): Promise<string> {
  const script = `
    import { trustedCertificates } from ${JSON.stringify(new URL('../../../ts/host/unix/certificates.js', import.meta.url).href)};
    import { fetchBytes } from ${JSON.stringify(new URL('../../../ts/host/shared/download.js', import.meta.url).href)};
    const limits = { maxSize: 1000, insecure: false, signal: new AbortController().signal };
    const [root, url] = process.argv.slice(1);
    console.log(await fetchBytes(() => trustedCertificates(root), new URL(url), limits).then(String, (error) => error.message));`;
  const env = { PATH: process.env['PATH'], ...environment };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, root, url], {
    env,
  });
  return stdout.trim();
}

const ENVIRONMENTS: readonly (readonly [what: string, environment: (authority: string) => NodeJS.ProcessEnv])[] = [
  ['NODE_TLS_REJECT_UNAUTHORIZED=0', () => ({ NODE_TLS_REJECT_UNAUTHORIZED: '0' })],
  ['NODE_EXTRA_CA_CERTS', (authority) => ({ NODE_EXTRA_CA_CERTS: authority })],
  [
    'SSL_CERT_FILE and --use-openssl-ca',
    (authority) => ({ SSL_CERT_FILE: authority, NODE_OPTIONS: '--use-openssl-ca' }),
  ],
];
for (const [what, environment] of ENVIRONMENTS) {
  test(`certificates are verified as ever in an environment with ${what}`, async () => {
    await using machine = await Machine.create();
    const stranger = new Authority(dirname(machine.file), 'stranger');
    await using trusted = await UpdateServer.start(machine.authority.certify());
    await using unknown = await UpdateServer.start(stranger.certify());
    for (const server of [trusted, unknown]) server.files.set('/x', 'content');
    const set = environment(stranger.file);
    assert.equal(await fetchWith(set, machine.root, trusted.url('/x')), 'content');
    assert.equal(
      await fetchWith(set, machine.root, unknown.url('/x')),
      `Could not download ${unknown.url('/x')}: unable to verify the first certificate`,
    );
    assert.deepEqual(unknown.asked, []);
  });
}

test('the environment brings back no version of TLS that is broken, and gets no keys', async () => {
  await using machine = await Machine.create();
  const weak = 'DEFAULT@SECLEVEL=0';
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: weak } as const;
  await using server = await UpdateServer.start({ ...machine.authority.certify(), ...old });
  await using sound = await UpdateServer.start(machine.authority.certify());
  for (const { files } of [server, sound]) files.set('/x', 'content');
  const keys = join(dirname(machine.file), 'keys');
  const environment = { NODE_OPTIONS: `--tls-min-v1.0 --tls-cipher-list=${weak}`, SSLKEYLOGFILE: keys };
  assert.match(await fetchWith(environment, machine.root, server.url('/x')), /protocol version|unsupported protocol/);
  assert.deepEqual(server.asked, []);
  assert.equal(await fetchWith(environment, machine.root, sound.url('/x')), 'content');
  assert.ok(!existsSync(keys));
});

test('a certificate for another name is refused', async () => {
  await using machine = await Machine.create();
  await using server = await UpdateServer.start(machine.authority.certify());
  const url = server.url('/x').replace('localhost', '127.0.0.2');
  await refused(machine.fetch(url), url, /does not match certificate|ECONNREFUSED/);
});

test('a system without trusted certificates trusts nobody', async () => {
  await using machine = await Machine.create(null);
  await using server = await UpdateServer.start(machine.authority.certify());
  await refused(machine.fetch(server.url('/x')), server.url('/x'), /^no trusted certificates: looked for \/etc\/ssl/);
});

test('what is not there is null for a manifest and an error for an archive; other statuses are errors', async () => {
  await using machine = await Machine.create();
  await using server = await UpdateServer.start(machine.authority.certify());
  assert.equal(await machine.fetch(server.url('/none')), null);
  await refused(machine.download(server.url('/none')), server.url('/none'), 'the server has no such file');
  server.files.set('/broken', (_, response) => response.writeHead(503).end());
  await refused(machine.fetch(server.url('/broken')), server.url('/broken'), 'the server answered with status 503');
});

test('redirects are followed, five of them, and to https alone', async () => {
  await using machine = await Machine.create();
  await using server = await UpdateServer.start(machine.authority.certify());
  await using plain = await UpdateServer.start(null);
  server.files.set('/0', 'content');
  for (let count = 1; count <= 6; count += 1) {
    server.files.set(`/${count}`, redirectTo(count % 2 === 0 ? `/${count - 1}` : server.url(`/${count - 1}`), 308));
  }
  assert.equal((await machine.fetch(server.url('/5')))?.toString(), 'content');
  await refused(machine.fetch(server.url('/6')), server.url('/6'), 'more than 5 redirects');
  plain.files.set('/x', 'content');
  server.files.set('/plain', redirectTo(plain.url('/x')));
  for (const insecure of [false, true]) {
    const why = 'the server redirects to http://, wanted https://';
    await refused(machine.fetch(server.url('/plain'), { insecure }), server.url('/plain'), why);
  }
  server.files.set('/file', redirectTo('file:///etc/passwd'));
  await refused(machine.fetch(server.url('/file')), server.url('/file'), /redirects to file:/);
  assert.deepEqual(plain.asked, []);
});

test('http:// works where it is allowed, and may lead to https://', async () => {
  await using machine = await Machine.create();
  await using server = await UpdateServer.start(machine.authority.certify());
  await using plain = await UpdateServer.start(null);
  plain.files.set('/x', 'content');
  plain.files.set('/to', redirectTo(server.url('/x')));
  server.files.set('/x', 'secure');
  assert.equal((await machine.fetch(plain.url('/x'), { insecure: true }))?.toString(), 'content');
  assert.equal((await machine.fetch(plain.url('/to'), { insecure: true }))?.toString(), 'secure');
});

test('a file that is too large is refused, whether the server says so or not', async () => {
  await using machine = await Machine.create();
  await using server = await UpdateServer.start(machine.authority.certify());
  server.files.set('/told', CONTENT);
  server.files.set('/untold', (_, response) => {
    response.write(CONTENT);
    response.end();
  });
  for (const path of ['/told', '/untold']) {
    const why = 'it is larger than the 299999 bytes that are allowed';
    await refused(machine.download(server.url(path), { maxSize: 299_999 }), server.url(path), why);
    assert.equal((await machine.download(server.url(path), { maxSize: 300_000 })).size, 300_000);
  }
});

/** How a connection ends before what it carries does; a `length` is told by the server. */
const CUT: readonly (readonly [what: string, length: boolean, end: (response: ServerResponse) => void])[] = [
  ['is broken before its length is reached', true, (response) => response.destroy()],
  ['is closed before its length is reached', true, (response) => response.socket?.end()],
  ['is broken in the middle of chunks', false, (response) => response.destroy()],
  ['is closed in the middle of chunks', false, (response) => response.socket?.end()],
];
for (const [what, length, end] of CUT) {
  for (const scheme of ['https', 'http'] as const) {
    test(`a download whose connection ${what} says that it ended early, and how much came: by ${scheme}`, async () => {
      await using machine = await Machine.create();
      await using server = await UpdateServer.start(scheme === 'https' ? machine.authority.certify() : null);
      let came = (): void => undefined;
      const received = new Promise<void>((resolve) => (came = resolve));
      server.files.set('/cut', (_, response) => {
        response.writeHead(200, length ? { 'content-length': CONTENT.length } : {});
        response.write(CONTENT.subarray(0, 1000));
        // What breaks a connection may overtake what was sent before.
        void received.then(() => {
          end(response);
        });
      });
      const url = server.url('/cut');
      const work = machine.download(url, { insecure: true });
      const why = `it ended early: ${length ? `1000 of ${CONTENT.length} bytes came` : '1000 bytes came, and then no end'}`;
      const outcome = refused(work, url, why);
      while (!existsSync(machine.file) || statSync(machine.file).size < 1000) await sleep(10);
      came();
      await outcome;
    });
  }
}

test('a server that hangs up without an answer is told from one that ends early', async () => {
  await using machine = await Machine.create();
  await using server = await UpdateServer.start(machine.authority.certify());
  server.files.set('/x', ({ socket }) => socket.destroy());
  await refused(machine.download(server.url('/x')), server.url('/x'), 'the server hung up before it answered');
});

test('a server that stops sending, or never begins, is given up when the time is over or the agent is to stop', async () => {
  await using machine = await Machine.create();
  await using server = await UpdateServer.start(machine.authority.certify());
  server.files.set('/slow', (_, response) => void response.writeHead(200).write('x'));
  server.files.set('/mute', () => undefined);
  for (const path of ['/slow', '/mute']) {
    const started = performance.now();
    const timeout = AbortSignal.timeout(300);
    await refused(machine.download(server.url(path), { signal: timeout }), server.url(path), /^it took too long: /);
    assert.ok(performance.now() - started < 5000);
    const stop = new AbortController();
    setTimeout(() => {
      stop.abort();
    }, 100);
    const work = machine.download(server.url(path), { signal: stop.signal });
    await refused(work, server.url(path), 'the agent was asked to stop');
  }
});

test('a server that cannot be reached is an error that says so', async () => {
  await using machine = await Machine.create();
  let url: string;
  {
    await using server = await UpdateServer.start(machine.authority.certify());
    url = server.url('/x');
  }
  await refused(machine.fetch(url), url, /ECONNREFUSED/);
});

test('where the file cannot be written the server is hung up on at once', async () => {
  await using machine = await Machine.create();
  await using server = await UpdateServer.start(machine.authority.certify());
  const hungUp = new Promise<string>((resolve) => {
    server.files.set('/x', (_, response) => {
      response.once('close', () => {
        resolve('hung up');
      });
      response.writeHead(200, { 'content-length': 1000 }).write('x');
    });
  });
  mkdirSync(machine.file);
  await refused(machine.download(server.url('/x')), server.url('/x'), /\/archive: .*directory/);
  assert.equal(await Promise.race([hungUp, sleep(2000, 'still connected')]), 'hung up');
});
