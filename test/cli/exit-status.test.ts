import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Agent } from '../support/agent.js';
import { PROGRAM, runCli } from '../support/run-cli.js';
import { ScratchRoot } from '../support/scratch-root.js';
import { ScratchStore } from '../binding/scratch-store.js';

const [, TABLE = ''] = readFileSync('docs/errors.md', 'utf8').split('## Exit statuses');
const documented = [...TABLE.matchAll(/^\| (\d+) \| (.*) \|$/gm)].map(([, status = '', when = '']) => [status, when]);

/** The status of a run on an empty system that finds no XenStore, whatever this machine has. */
function withoutXenStore(root: ScratchRoot): number | null {
  const script = 'for at in /run /dev/xen /proc/xen; do [ ! -d $at ] || mount -t tmpfs tmpfs $at; done; exec "$@"';
  const agent = [process.execPath, PROGRAM, 'run', '--root', root.root];
  const env = { PATH: process.env['PATH'] };
  const { status, stderr } = spawnSync('unshare', ['--mount', 'sh', '-c', script, 'sh', ...agent], { env });
  assert.match(stderr.toString(), /xenbus/);
  return status;
}

/** What leads to each status of docs/errors.md, with the program that really runs. */
const PROVOKED: Readonly<Record<string, (root: ScratchRoot) => Promise<readonly (number | string | null)[]>>> = {
  0: async (root) => {
    await using store = await ScratchStore.start('embedded');
    await using agent = await Agent.start({ store: store.socket, domain: 1, root: root.root });
    const told = await runCli(['call', '--store', store.socket, '--domain', '1', 'version']);
    return [told.code, await agent.stop()];
  },
  1: async (root) => {
    await using store = await ScratchStore.start('embedded');
    await using agent = await Agent.start({ store: store.socket, domain: 1, root: root.root });
    const call = ['call', '--store', store.socket, '--domain', '1', 'raw', 'reboot'];
    const refused = await runCli(call);
    assert.match(refused.stdout + refused.stderr, /No such agent command 'reboot'/);
    await agent.stop();
    const unanswered = await runCli([...call.slice(0, 1), '--timeout', '1', ...call.slice(1)]);
    return [refused.code, unanswered.code];
  },
  2: async () => [(await runCli(['run', '--nope'])).code],
  69: (root) => Promise.resolve([withoutXenStore(root)]),
  75: async (root) => {
    await using store = await ScratchStore.start('embedded');
    await using agent = await Agent.start({ store: store.socket, domain: 1, root: root.root });
    const { code, stderr } = await runCli(['run', '--store', store.socket, '--domain', '1', '--root', root.root]);
    const state = `${root.root}/var/lib/guestwire`;
    assert.equal(
      stderr,
      `guestwire: The state directory ${state} is in use: another guestwire, process ${agent.pid}, serves with it\n`,
    );
    return [code];
  },
  78: async (root) => {
    root.write('etc/guestwire/guestwire.toml', 'nonsense = 1\n');
    return [(await runCli(['run', '--root', root.root])).code];
  },
};

test('every exit status of docs/errors.md is produced below, and no other', () => {
  assert.deepEqual(
    Object.keys(PROVOKED),
    documented.map(([status]) => status),
  );
});

for (const [status = '', when = ''] of documented) {
  test(`the program exits with ${status}: ${when}`, async () => {
    using root = new ScratchRoot();
    const provoke = PROVOKED[status];
    assert.ok(provoke, `nothing leads to ${status}: add an entry above`);
    for (const got of await provoke(root)) assert.equal(got, Number(status));
  });
}
