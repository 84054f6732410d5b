/** A server of archives on this machine's loopback, and certificates of an authority that openssl makes for it. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { type RequestListener, type Server, createServer as createHttpServer } from 'node:http';
import { type ServerOptions, createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';

/** What is served below a path: bytes, or whatever a test wants to do to a client. */
export type Served = string | Uint8Array | RequestListener;

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** An authority with files in a directory of the test's. */
export class Authority {
  /** The file of its certificate, PEM. */
  readonly file: string;
  readonly #key: string;
  readonly #directory: string;

  constructor(directory: string, name = 'authority') {
    this.#directory = directory;
    this.file = join(directory, `${name}.pem`);
    this.#key = join(directory, `${name}.key`);
    openssl('req', '-x509', ...KEY, '-nodes', '-keyout', this.#key, '-out', this.file, '-subj', `/CN=${name}`);
  }

  /** A certificate for localhost and 127.0.0.1; with a negative number of days it has expired. */
  certify(days = 2): Certificate {
    const [key, request, cert, extensions] = ['key', 'csr', 'pem', 'ext'].map((end) =>
      join(this.#directory, `server.${end}`),
    ) as [string, string, string, string];
    writeFileSync(extensions, 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
    openssl('req', ...KEY, '-nodes', '-keyout', key, '-out', request, '-subj', '/CN=localhost');
    const signer = ['-CA', this.file, '-CAkey', this.#key, '-extfile', extensions];
    openssl('x509', '-req', '-in', request, ...signer, '-days', String(days), '-out', cert);
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  }
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Serves `files` by path until the end of `await using`. Paths that are asked for are noted. */
export class UpdateServer implements AsyncDisposable {
  readonly files = new Map<string, Served>();
  readonly asked: string[] = [];
  readonly #server: Server;
  readonly #scheme: string;

  private constructor(certificate: (Certificate & ServerOptions) | null) {
    const listener: RequestListener = (request, response) => {
      const path = (request.url ?? '').split('?', 1)[0]!;
      this.asked.push(path);
      const served = this.files.get(path);
      if (typeof served === 'function') served(request, response);
      else if (served === undefined) response.writeHead(404).end();
      else response.writeHead(200, { 'content-length': Buffer.byteLength(served) }).end(served);
    };
    this.#server = certificate === null ? createHttpServer(listener) : createHttpsServer(certificate, listener);
    this.#scheme = certificate === null ? 'http' : 'https';
  }

  /** By https with a certificate, by http without. */
  static async start(certificate: (Certificate & ServerOptions) | null): Promise<UpdateServer> {
    const server = new UpdateServer(certificate);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  url(path: string): string {
    return `${this.#scheme}://localhost:${this.port}${path}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
