/** The agent as on a live Red Hat system: /etc and /usr/sbin are the test's own, in mounts of the agent's own. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BUNDLE } from '../support/agent.js';
import { endOf, wholeOrUndone } from '../support/cleanup.js';
import { Dom0, localTools } from '../support/dom0.js';
import { type Scratch, createScratch } from '../support/scratch.js';
import { startXenstored } from '../support/xenstored.js';

const DOMAIN = 7;
const KEY = '1-f00ba4';
const VALUE = { activation_key: KEY, profile: 'web1', domains: ['rhn.example.org'] };
const OLD = 'serverURL=https://old.example.org/XMLRPC\n';
const NEW = 'serverURL=https://rhn.example.org/XMLRPC;\nnoSSLServerURL=http://rhn.example.org/XMLRPC;\n';

/** An agent in mounts of its own; `log` has what it printed. */
class Guest implements AsyncDisposable {
  log = '';
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = endOf(child);
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.log += text));
  }

  static async start(scratch: Scratch, socket: string, config: string): Promise<Guest> {
    const script = [
      `mount --bind ${join(scratch.root, 'etc')} /etc`,
      `mount --bind ${join(scratch.root, 'usr/sbin')} /usr/sbin`,
      'exec "$@"',
    ];
    const run = ['run', '--store', socket, '--domain', String(DOMAIN), '--config', config, '--log-level', 'trace'];
    const args = ['-m', 'sh', '-ec', script.join('\n'), 'sh', process.execPath, BUNDLE, ...run];
    const guest = new Guest(spawn('unshare', args, { stdio: ['ignore', 'pipe', 'inherit'] }));
    return wholeOrUndone(async (cleanup) => {
      cleanup.add(() => guest[Symbol.asyncDispose]());
      for (let tries = 0; !guest.log.includes('"msg":"ready"'); tries += 1) {
        assert.ok(tries < 1000, guest.log);
        await sleep(20);
      }
      return guest;
    });
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.#child.kill(signal);
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.end('SIGKILL');
  }
}

test('a live system is registered; a registration that the agent does not survive is undone', async () => {
  await using scratch = await createScratch();
  await using store = await startXenstored('c', scratch.directory);
  const dom0 = new Dom0(localTools(store.socket), DOMAIN);
  const gate = join(scratch.directory, 'gate');
  const called = join(scratch.directory, 'called');
  const rhn = join(scratch.root, 'etc/sysconfig/rhn');
  const read = (name: string): string | null =>
    existsSync(join(rhn, name)) ? readFileSync(join(rhn, name), 'utf8') : null;
  // Stands in for Red Hat's: it waits until it is told to go on.
  const program = [
    '#!/bin/sh',
    `echo "$0 $*" >> ${called}`,
    `until [ -e ${gate} ]; do sleep 0.05; done`,
    '[ -e /etc/sysconfig/rhn/systemid ] || echo new > /etc/sysconfig/rhn/systemid',
  ];
  chmodSync(await scratch.write('usr/sbin/rhnreg_ks', `${program.join('\n')}\n`), 0o755);
  await scratch.write('etc/sysconfig/rhn/up2date', OLD);
  await scratch.write('etc/sysconfig/rhn/systemid', 'old\n');
  mkdirSync(scratch.state, { mode: 0o700 });
  const config = await scratch.write('guestwire.toml', `[state]\ndirectory = "${scratch.state}"\n`);

  const id = await dom0.send(JSON.stringify({ name: 'kmsactivate', value: VALUE }));
  {
    await using first = await Guest.start(scratch, store.socket, config);
    while (!existsSync(called)) await sleep(10);
    assert.equal(read('up2date'), NEW);
    assert.equal(read('systemid'), null);
    await first.end('SIGKILL');
  }
  await using second = await Guest.start(scratch, store.socket, config);
  const interrupted = await dom0.answer(id);
  assert.match(interrupted, /"500","message":"Interrupted: the agent was stopped while it ran kmsactivate/);
  assert.equal(read('up2date'), OLD);
  assert.equal(read('systemid'), 'old\n');

  // The program that the first agent left behind finds an identity, and leaves it.
  await scratch.write('../gate', '');
  await sleep(200);
  assert.deepEqual(await dom0.call('kmsactivate', VALUE), { kind: 'ok', message: '' });
  assert.equal(read('up2date'), NEW);
  assert.equal(read('systemid'), 'new\n');
  const line = `/usr/sbin/rhnreg_ks --activationkey ${KEY} --profile web1 --force\n`;
  assert.equal(readFileSync(called, 'utf8'), line.repeat(2));
  await second.end('SIGTERM');
  assert.ok(!second.log.includes(KEY));
});
