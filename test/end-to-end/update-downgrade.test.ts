/** Whose signature is good, and who is refused all the same: an older version, another product, one that has expired. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Installed, createInstalled } from '../support/installed.js';
import { BUILT_VERSION, type Release, oldForm } from '../support/release.js';
import { Signer } from '../support/signer.js';

const NEXT = '0.2.0';
const RECORD = 'update-record.json';
const OK = { returncode: '0', message: '' };
const ARCHITECTURE = `${process.platform}-${process.arch}`;

/** Whose updates have to be signed, by the real minisign. */
class Guarded implements AsyncDisposable {
  readonly guest: Installed;
  readonly #signer: Signer;
  /** Whatever is refused by its manifest needs no archive of its own. */
  readonly base: Release;

  private constructor(guest: Installed) {
    this.guest = guest;
    this.#signer = new Signer(guest.directory);
    this.base = guest.release(NEXT);
    this.configure();
  }

  static async create(): Promise<Guarded> {
    return new Guarded(await createInstalled());
  }

  configure(...lines: readonly string[]): void {
    this.guest.configure('require-signature = true', `keys = ["${this.#signer.publicKey}"]`, ...lines);
  }

  /** Serves a signed manifest with an archive; gives the URL. */
  offer(manifest: string, archive = this.base.archive): string {
    const { server } = this.guest;
    server.files.set('/offer', archive);
    server.files.set('/offer.manifest', manifest);
    server.files.set('/offer.manifest.minisig', this.#signer.sign(manifest));
    return server.url('/offer');
  }

  /** The manifest of an archive that nobody will download. */
  manifestOf(version: string): string {
    return this.base.manifest.replace(/^version .*$/m, `version ${version}`);
  }

  async ask(url: string): Promise<{ readonly returncode: string; readonly message: string }> {
    const { dom0 } = this.guest;
    const printed = await dom0.answer(await dom0.send(JSON.stringify({ name: 'agentupdate', value: { url } })));
    const { returncode, message } = JSON.parse(printed) as { returncode: string; message: string };
    return { returncode, message };
  }

  /** Asserts that what is signed is refused for this reason, before anything of the archive was fetched. */
  async refuses(manifest: string, why: string | RegExp, archive = this.base.archive): Promise<void> {
    const url = this.offer(manifest, archive);
    this.guest.server.asked.length = 0;
    const { returncode, message } = await this.ask(url);
    assert.equal(returncode, '500', `${manifest}${message}`);
    if (typeof why === 'string') assert.equal(message, `Refused to update: ${why}`);
    else assert.match(message, why);
    assert.deepEqual(this.guest.server.asked, ['/offer.manifest', '/offer.manifest.minisig']);
  }

  async version(): Promise<string> {
    const answer = await this.guest.dom0.call('version', 'agent');
    return answer.kind === 'ok' ? answer.message : answer.why;
  }

  get record(): string {
    return readFileSync(join(this.guest.state, RECORD), 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.guest[Symbol.asyncDispose]();
  }
}

const older = (version: string, highest: string): string =>
  `version ${version} is older than ${highest}, the highest that this guest has had, and is not in update.allow-downgrade`;

test('a signed older version is refused, by what runs and by what ever ran', async () => {
  await using guarded = await Guarded.create();
  const { guest, base } = guarded;
  const last = guest.release('0.0.9');
  {
    await using agent = await guest.start();
    await guarded.refuses(last.manifest, older('0.0.9', BUILT_VERSION), last.archive);
    await guarded.refuses(guarded.manifestOf('0.1.0-rc.1'), older('0.1.0-rc.1', BUILT_VERSION));
    assert.deepEqual(await guarded.ask(guarded.offer(base.manifest)), OK);
    assert.equal(await guarded.version(), NEXT);
    await agent.logged('"msg":"the update is confirmed"');
    await guarded.refuses(guarded.manifestOf('0.1.9'), older('0.1.9', NEXT));
    await guarded.refuses(guarded.manifestOf('0.2.0-rc.11'), older('0.2.0-rc.11', NEXT));
    assert.equal(statSync(join(guest.state, RECORD)).mode & 0o777, 0o600);
    assert.equal(await agent.stop(), 0);
  }
  // An administrator goes back by hand, and lets nobody else do so.
  rmSync(join(guest.lib, 'current'));
  symlinkSync(join('versions', BUILT_VERSION), join(guest.lib, 'current'));
  await using agent = await guest.start();
  assert.equal(await guarded.version(), BUILT_VERSION);
  await guarded.refuses(guarded.manifestOf('0.1.9'), older('0.1.9', NEXT));
  assert.deepEqual(await guarded.ask(guarded.offer(base.manifest)), OK);
  assert.equal(await guarded.version(), NEXT);
  assert.equal(await agent.stop(), 0);
});

test('the automatic way back from a version that does not last is no downgrade, and what was taken stays the least', async () => {
  await using guarded = await Guarded.create();
  const { guest } = guarded;
  const dying = guest.release(NEXT, {
    prelude: `if (!process.argv.includes('--trial')) setTimeout(() => process.exit(9), 1000);`,
  });
  {
    await using agent = await guest.start();
    assert.deepEqual(await guarded.ask(guarded.offer(dying.manifest, dying.archive)), OK);
    assert.equal(await agent.ended(), 9);
  }
  for (const attempt of [2, 3]) {
    await using agent = await guest.start();
    await agent.logged(`"attempt":${attempt}`);
    assert.equal(await agent.ended(), 9);
  }
  await using agent = await guest.start();
  assert.match(agent.log, /"msg":"the version before comes back"/);
  assert.equal(await guarded.version(), BUILT_VERSION);
  assert.deepEqual(await guest.leftovers(), []);
  await guarded.refuses(guarded.manifestOf('0.1.9'), older('0.1.9', NEXT));
  const mended = guest.release('0.2.1');
  assert.deepEqual(await guarded.ask(guarded.offer(mended.manifest, mended.archive)), OK);
  assert.equal(await guarded.version(), '0.2.1');
  assert.equal(await agent.stop(), 0);
});

test('an administrator lets the host go back to the versions that he lists, and to no others', async () => {
  await using guarded = await Guarded.create();
  const { guest } = guarded;
  const last = guest.release('0.0.9');
  guarded.configure('allow-downgrade = ["0.0.*"]');
  {
    await using agent = await guest.start();
    await guarded.refuses(guarded.manifestOf('0.1.0-rc.1'), older('0.1.0-rc.1', BUILT_VERSION));
    assert.deepEqual(await guarded.ask(guarded.offer(last.manifest, last.archive)), OK);
    assert.equal(await guarded.version(), '0.0.9');
    assert.equal(await agent.stop(), 0);
  }
  guarded.configure();
  await using agent = await guest.start();
  await guarded.refuses(guarded.manifestOf('0.0.10'), older('0.0.10', BUILT_VERSION));
  assert.equal(await agent.stop(), 0);
});

test('what is signed for another product or architecture, or has expired, is refused with its own reason', async () => {
  await using guarded = await Guarded.create();
  const { guest, base } = guarded;
  await using agent = await guest.start();
  await guarded.refuses(
    base.manifest.replace('product guestwire', 'product toolbox'),
    'the manifest is for the product toolbox, wanted guestwire',
  );
  await guarded.refuses(
    base.manifest.replace(`architecture ${ARCHITECTURE}`, 'architecture linux-s390x'),
    `the manifest is for linux-s390x, and this agent is for ${ARCHITECTURE}`,
  );
  await guarded.refuses(
    base.manifest.replace(/^expires .*$/m, 'expires 2020-01-31T12:00:00Z'),
    /^Refused to update: the manifest expired at 2020-01-31T12:00:00Z, and it is \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
  );
  await guarded.refuses(
    guarded.manifestOf('2026'),
    'version 2026 cannot be compared with another, wanted one such as 1.2.3',
  );
  // Nothing of it is wrong when it is for what runs: then nothing is taken.
  const running = guarded.manifestOf(BUILT_VERSION).replace(/^expires .*$/m, 'expires 2020-01-31T12:00:00Z');
  assert.deepEqual(await guarded.ask(guarded.offer(running)), {
    returncode: '0',
    message: `Version ${BUILT_VERSION} is running already`,
  });
  assert.deepEqual(await guest.leftovers(), []);
  assert.deepEqual(guest.versions(), [BUILT_VERSION]);
  assert.equal(await agent.stop(), 0);
});

test('a guest whose clock stands at 1970 takes no manifest that had expired when its agent was built', async () => {
  await using guarded = await Guarded.create();
  const { guest, base } = guarded;
  const program = join(guest.lib, 'current/dist/guestwire.js');
  const [first = '', ...rest] = readFileSync(program, 'utf8').split('\n');
  writeFileSync(program, [first, 'Date.now = () => 0;', ...rest].join('\n'));
  await using agent = await guest.start();
  await guarded.refuses(
    base.manifest.replace(/^expires .*$/m, 'expires 2020-01-31T12:00:00Z'),
    /^Refused to update: the manifest expired at 2020-01-31T12:00:00Z, before this agent was built at 20\S+Z; the clock says 1970-01-01T00:00:00Z$/,
  );
  assert.deepEqual(await guarded.ask(guarded.offer(base.manifest)), OK);
  assert.equal(await guarded.version(), NEXT);
  assert.equal(await agent.stop(), 0);
});

test('one manifest of the old form is taken, and no second one', async () => {
  await using guarded = await Guarded.create();
  const { guest, base } = guarded;
  const third = guest.release('0.3.0');
  await using agent = await guest.start();
  assert.deepEqual(await guarded.ask(guarded.offer(oldForm(base.manifest))), OK);
  assert.equal(await guarded.version(), NEXT);
  await guarded.refuses(
    oldForm(third.manifest),
    'the manifest says no product, architecture and expiry, and this guest takes no more of that kind',
  );
  assert.deepEqual(await guarded.ask(guarded.offer(third.manifest, third.archive)), OK);
  assert.equal(await guarded.version(), '0.3.0');
  assert.equal(await agent.stop(), 0);
});

for (const [what, manifest, answer] of [
  ['of what runs', (guarded: Guarded) => guarded.manifestOf(BUILT_VERSION), /is running already$/],
  [
    'that has expired',
    ({ base }: Guarded) => base.manifest.replace(/^expires .*$/m, 'expires 2020-01-31T12:00:00Z'),
    /expired/,
  ],
] as const) {
  test(`after a manifest of the new form, be it one ${what}, none of the old form is taken`, async () => {
    await using guarded = await Guarded.create();
    await using agent = await guarded.guest.start();
    assert.match((await guarded.ask(guarded.offer(manifest(guarded)))).message, answer);
    await guarded.refuses(oldForm(guarded.base.manifest), /says no product, architecture and expiry/);
    assert.equal(await agent.stop(), 0);
  });
}

test('half of the new form is no manifest, nor is one that says anything twice', async () => {
  await using guarded = await Guarded.create();
  const { base } = guarded;
  await using agent = await guarded.guest.start();
  for (const broken of [
    base.manifest.replace(/^product .*\n/m, ''),
    base.manifest.replace(/^architecture .*\n/m, ''),
    base.manifest.replace(/^expires .*\n/m, ''),
    base.manifest.replace(/^expires .*$/m, 'expires never'),
    `${base.manifest}version 0.2.1\n`,
    `${base.manifest}expires 2999-01-01T00:00:00Z\n`,
  ]) {
    await guarded.refuses(
      broken,
      /^Manifest .*: wanted lines of product, version, architecture, expires, sha256 and size/,
    );
  }
  assert.equal(await agent.stop(), 0);
});

test('a record that cannot be read is an error, not a guest that has had nothing', async () => {
  await using guarded = await Guarded.create();
  const { guest, base } = guarded;
  mkdirSync(guest.state, { mode: 0o700 });
  await using agent = await guest.start();
  const path = join(guest.state, RECORD);
  for (const [content, why] of [
    ['', 'its 0 characters are no JSON'],
    ['{"highest":"0.3', 'its 15 characters are no JSON'],
    ['null\n', 'it has no highest version'],
    ['{"highest":null,"scopedOnly":true}\n', 'it has no highest version'],
    ['{"highest":"next","scopedOnly":true}\n', 'it has no highest version'],
    ['{"highest":"0.1.0"}\n', 'its scopedOnly is neither true nor false'],
  ] as const) {
    writeFileSync(path, content);
    const message =
      'update-record.json in the state directory, which has the highest version that this guest has had, ' +
      `cannot be read: ${why}; whoever removes it goes by the running version alone`;
    await guarded.refuses(base.manifest, message);
    assert.equal(guarded.record, content);
  }
  rmSync(path);
  mkdirSync(path);
  await guarded.refuses(base.manifest, /cannot be read: EISDIR/);
  rmSync(path, { recursive: true });
  assert.deepEqual(await guarded.ask(guarded.offer(base.manifest)), OK);
  assert.equal(await guarded.version(), NEXT);
  assert.ok(existsSync(path));
  assert.equal(await agent.stop(), 0);
});
