/** What the agent before this one did with a request, case by case; test/end-to-end/update.test.ts has the command itself. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { AGENT_ERRORS, AgentError } from '../../ts/api/errors.js';
import { updateCommands } from '../../ts/commands/agentupdate.js';
import { parseUpdateRequest } from '../../ts/commands/update-request.js';
import { readPending, writePending } from '../../ts/commands/update-state.js';
import { updateOptions } from '../../ts/daemon/command-options.js';
import { DEFAULTS } from '../../ts/daemon/config.js';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { unpackArchive } from '../../ts/host/shared/unpack.js';
import { fakeHost } from '../../ts/testing/fake-host.js';
import { NO_UPDATES } from '../support/no-updates.js';
import { call } from '../support/command-context.js';
import { createScratchHost } from '../support/scratch-host.js';
import { createScratch } from '../support/scratch.js';

interface OldCase {
  readonly tar?: readonly string[];
  readonly init?: string;
  readonly md5?: string;
  readonly url?: string;
  readonly value?: unknown;
  readonly restart?: string;
  readonly reply: readonly [returncode: string, message: string];
}

const { cases } = JSON.parse(readFileSync('test/fixtures/unix-agentupdate-cases.json', 'utf8')) as {
  cases: readonly OldCase[];
};
const MD5 = '0123456789abcdef0123456789abcdef';

/** Packs these names with the real tar, and unpacks them as an update does. */
async function unpackOld(names: readonly string[]): Promise<string> {
  await using scratch = await ScratchDirectory.create();
  const place = join(scratch.path, 'a/b/c/d');
  mkdirSync(place, { recursive: true });
  // An installer that would leave a mark.
  const mark = join(scratch.path, 'ran');
  const files = names.map((name) => name.replace(/ .*$/, ''));
  for (const name of files) await scratch.write({ [`in/1/2/3/${name}`]: { text: `touch ${mark}\n`, mode: 0o755 } });
  const archive = join(scratch.path, 'archive');
  execFileSync('tar', ['czPf', archive, ...files], { cwd: join(scratch.path, 'in/1/2/3'), stdio: 'ignore' });
  const message = await unpackArchive(archive, place, 1_000_000).then(
    () => 'unpacked',
    (error: unknown) => (error as Error).message,
  );
  assert.ok(!existsSync(mark), 'nothing of the archive was run');
  assert.ok(!existsSync(join(scratch.path, 'etc/evil')), 'nothing was written outside');
  return message;
}

/** An old agent's archive brings a shell script that installs it; a version of guestwire brings nothing that is run as such. */
const noInstaller = 'Unusable archive: it has no dist/guestwire.js';

/**
 * In the order of the fixture: what this agent does instead, or as well. Null where an init script is run, which this agent
 * has no need of: test/end-to-end/update.test.ts shows what it does.
 */
const NOW: readonly (((old: OldCase) => void | Promise<void>) | null)[] = [
  async ({ tar }) => {
    assert.equal(await unpackOld(tar!), noInstaller);
  },
  async ({ tar }) => {
    assert.equal(await unpackOld(tar!), noInstaller);
  },
  // Defect: a failed installer left its tree behind, half installed.
  async () => {
    assert.equal(await unpackOld(['installer.sh']), noInstaller);
  },
  async () => {
    assert.equal(await unpackOld(['installer.sh']), noInstaller);
  },
  // Defect: the path led outside, as root.
  async ({ tar }) => {
    assert.equal(await unpackOld(tar!), 'Unusable archive: it has an entry that leads outside: ../../../etc/evil');
  },
  // Defect: an archive of anything at all was a success.
  async () => {
    assert.equal(await unpackOld(['something']), noInstaller);
  },
  // Defect: the new version was installed, and nobody started it. Here it replaces the process; no init script is run.
  null,
  ({ reply: [, text] }) => {
    assert.equal(text.replace('MD5', '%s').replace(/<\w+>/g, '%s'), AGENT_ERRORS.GW_UPDATE_DIGEST[1]);
    // Defect: upper-case digits did not match.
    assert.equal(parseUpdateRequest(`https://localhost/x,${MD5.toUpperCase()}`).digests.md5, MD5);
  },
  // Defect: the name of a URL had to have a dot.
  ({ reply: [, text] }) => {
    assert.throws(() => parseUpdateRequest(`nonsense,${MD5}`), { message: new RegExp(`^${text}: expected https:`) });
    assert.equal(parseUpdateRequest(`https://localhost/x,${MD5}`).url.pathname, '/x');
  },
  // Defect: the message was one of the programming language.
  ({ reply: [, text] }) => {
    assert.equal(text, 'need more than 1 value to unpack');
    assert.throws(() => parseUpdateRequest('x'), { message: /^Invalid arguments: expected url,md5/ });
  },
  // A URL alone may be enough here: its manifest has the digest. What is missing is said without "dictionary".
  ({ value }) => {
    assert.throws(() => parseUpdateRequest(value), { message: /^Invalid URL/ });
    assert.deepEqual(parseUpdateRequest({ url: 'https://localhost/x' }).digests, {});
  },
  ({ value, reply: [, text] }) => {
    assert.throws(() => parseUpdateRequest(value), { message: new RegExp(`^${text}: expected`) });
  },
  // No restart, so none that fails: see above.
  null,
];

for (const [index, old] of cases.entries()) {
  const { reply, ...given } = old;
  const now = NOW[index];
  if (now === null) continue;
  test(`where the old agent answered ${JSON.stringify(reply)} to ${JSON.stringify(given)}`, () => now!(old));
}

test('every case of the old agent is looked at', () => {
  assert.equal(NOW.length, cases.length);
});

for (const [what, download] of [
  ['fails', () => Promise.reject(new AgentError('GW_UPDATE_DOWNLOAD', ['https://localhost/x', 'why']))],
  ['is for the version that runs', () => Promise.resolve({ size: 1, digests: { md5: MD5 } })],
] as const) {
  test(`an update that ${what} leaves that of the running version to be confirmed or undone as before`, async () => {
    const host = fakeHost();
    const before = { previous: '1', next: '2', attempts: 1 };
    await writePending(host.state, before);
    const updates = {
      ...NO_UPDATES,
      installed: () => Promise.resolve({ running: '2', architecture: 'linux-x64', builtAt: 0 }),
      download,
      unpack: () => Promise.resolve('2'),
      clean: () => Promise.resolve(),
    };
    const module = updateCommands({ ...host, updates }, updateOptions(DEFAULTS));
    await call(module, 'agentupdate', `https://localhost/x,${MD5}`);
    assert.deepEqual(await readPending(host.state), before);
  });
}

test('on a copy of a system the command is refused before anything is looked at', async () => {
  await using scratch = await createScratch();
  const module = updateCommands(createScratchHost(scratch), updateOptions(DEFAULTS));
  assert.deepEqual(await call(module, 'agentupdate', `https://localhost/x,${MD5}`), {
    returncode: '500',
    message: 'Refused to update: the agent works on a copy of a system',
  });
});
