import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { pino } from 'pino';
import { commandOptions } from '../../ts/daemon/command-options.js';
import { codec } from '../../ts/communication/xenstore/nova/codec.js';
import { DEFAULTS } from '../../ts/daemon/config.js';
import { Dispatcher } from '../../ts/daemon/dispatcher.js';
import { FileJournal } from '../../ts/daemon/journal.js';
import { addNativeCommands } from '../../ts/daemon/native-commands.js';
import { Registry } from '../../ts/daemon/registry.js';
import { createHost } from '../../ts/host/linux/host.js';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { appendOnlyFile } from '../../ts/host/shared/system.js';
import { MemoryTransport } from '../support/memory-transport.js';

interface Case {
  readonly id: string;
  readonly request_value: string;
  readonly reply: { readonly message: string; readonly returncode: string } | null;
}
const { cases } = JSON.parse(readFileSync('test/fixtures/unix-protocol-requests.json', 'utf8')) as { cases: Case[] };

const FEATURES =
  'version,features,keyinit,password,injectfile,file_inject,sshkeys,resetnetwork,kmsactivate,agentupdate,' +
  'keyinit_x25519_v1,file_inject_parts';

/**
 * Where the answer is meant to differ from the Unix agent's: it gave none at all (03 to 06, 32), it gave away its
 * language (08, 09, 14, 15, 19, 20, 26), it destroyed a directory (23), it read files of the machine for URLs (29), it has another version and other commands.
 */
const DIFFERENT: Readonly<Record<string, readonly [returncode: string, message: RegExp]>> = {
  '01-empty': ['500', /^Request is malformed: expected a JSON object, got nothing$/],
  '02-garbage': ['500', /^Request is malformed: expected a JSON object, got text that is not JSON$/],
  '03-list': ['500', /^Request is malformed: expected a JSON object, got a list$/],
  '04-string': ['500', /^Request is malformed: expected a JSON object, got text$/],
  '05-number': ['500', /^Request is malformed: expected a JSON object, got a number$/],
  '06-null': ['500', /^Request is malformed: expected a JSON object, got null$/],
  '08-name-list': ['500', /^Request is malformed: expected text as 'name', got a list$/],
  '09-name-null': ['500', /^Request is malformed: expected text as 'name', got null$/],
  '11-version': ['0', /^0\.1\.0$/],
  '12-version-noval': ['0', /^0\.1\.0$/],
  '13-features': ['0', new RegExp(`^${FEATURES}$`)],
  '14-keyinit-garbage': ['500', /^Invalid public key: expected a decimal number/],
  '15-keyinit-novalue': ['500', /^Invalid public key: expected a decimal number/],
  '19-inject-nocomma': ['500', /^Invalid /],
  '20-inject-relative': ['500', /absolute/],
  '23-inject-dir': ['500', /^Refused to write \/etc: /],
  '25-update-none': ['500', /^Invalid arguments: expected url,md5 or an object with url, got a number$/],
  '26-update-nocomma': ['500', /^Invalid arguments: expected url,md5, got text without a comma$/],
  // The digest may be in a manifest; here it is a copy of a system, which comes first.
  '27-update-dict-missing': ['500', /^Refused to update: the agent works on a copy of a system$/],
  '28-update-nofile': ['500', /^Invalid URL: expected https:/],
  '29-update-badmd5': ['500', /^Invalid URL: expected https:.*, got file: which is not taken$/],
  '30-kms': ['500', /^KMS not supported on this OS: /],
  '31-file_inject': ['0', /^$/],
  '32-unicode': ['404', /^No such agent command 'unkn\?wn'$/],
  '33-dupname': ['0', new RegExp(`^${FEATURES}$`)],
};

/** The real commands on a scratch root, behind the real dispatcher. */
class Agent implements AsyncDisposable {
  readonly transport = new MemoryTransport();
  readonly root: string;
  readonly #scratch: ScratchDirectory;
  readonly #stop = new AbortController();
  #served: Promise<void> = Promise.resolve();

  private constructor(scratch: ScratchDirectory) {
    this.#scratch = scratch;
    this.root = `${scratch.path}/root`;
  }

  static async start(): Promise<Agent> {
    const scratch = await ScratchDirectory.create();
    await scratch.write({ 'root/etc/existing.conf': 'old\n' });
    const agent = new Agent(scratch);
    const stateDirectory = `${agent.root}/var/lib/guestwire`;
    const store = { read: () => Promise.resolve(null), list: () => Promise.resolve([]) };
    const { host } = await createHost({ root: agent.root, stateDirectory, live: false, store });
    const registry = new Registry(DEFAULTS.commands);
    const options = commandOptions({ ...DEFAULTS, network: { ...DEFAULTS.network, 'device-timeout': 0 } });
    addNativeCommands(registry, host, options);
    const journal = await FileJournal.open(appendOnlyFile(`${stateDirectory}/journal`));
    const dispatcher = new Dispatcher({ commands: registry, journal, log: pino({ level: 'silent' }) });
    agent.#served = dispatcher.serve(agent.transport, codec, agent.#stop.signal);
    return agent;
  }

  async retired(count: number): Promise<void> {
    const retired = (): number => this.transport.events.filter((event) => event.startsWith('retired')).length;
    for (let tries = 0; retired() < count; tries += 1) {
      assert.ok(tries < 4000, `only ${retired()} of ${count} were retired`);
      await sleep(5);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#served;
    await this.#scratch[Symbol.asyncDispose]();
  }
}

test('every answer that is meant to differ is one to a recorded request', () => {
  const ids = cases.map(({ id }) => id);
  assert.deepEqual(
    Object.keys(DIFFERENT).filter((id) => !ids.includes(id)),
    [],
  );
});

for (const { id, request_value: body, reply } of cases) {
  test(`the Unix agent's recorded request is answered right, once: ${id}`, async () => {
    await using agent = await Agent.start();
    agent.transport.push(id, body);
    await agent.retired(1);
    const answer = agent.transport.answer(id);
    const different = DIFFERENT[id];
    if (different === undefined) {
      assert.deepEqual(answer, { returncode: reply?.returncode, message: reply?.message });
    } else {
      assert.equal(answer.returncode, different[0], answer.message);
      assert.match(answer.message, different[1]);
    }
  });
}

test('the recorded requests do what they say', async () => {
  await using agent = await Agent.start();
  for (const { id, request_value: body } of cases) agent.transport.push(id, body);
  await agent.retired(cases.length);
  assert.equal(await readFile(`${agent.root}/opt/a/b/new.conf`, 'utf8'), 'hello,world\n');
  assert.equal(await readFile(`${agent.root}/etc/existing.conf`, 'utf8'), 'new content\n');
  assert.equal(await readFile(`${agent.root}/tmp/x`, 'utf8'), 'y');
});

test('two thousand random requests get exactly one answer each and are all retired', async () => {
  await using agent = await Agent.start();
  const json = fc.record({
    name: fc.oneof(fc.constantFrom(...FEATURES.split(',').filter((name) => name !== 'resetnetwork')), fc.string()),
    value: fc.oneof(fc.jsonValue(), fc.base64String()),
  });
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 4096 }),
    json.map((value) => Buffer.from(JSON.stringify(value))),
  );
  const bodies = fc.sample(body, 2000);
  for (const [index, bytes] of bodies.entries()) agent.transport.push(String(index), bytes);
  await agent.retired(bodies.length);
  for (const index of bodies.keys()) {
    const { returncode, message } = agent.transport.answer(String(index));
    assert.equal(typeof returncode, 'string');
    assert.doesNotMatch(message, /["\\]/);
  }
});
