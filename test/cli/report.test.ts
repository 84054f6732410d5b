/** `guestwire report`, as a person calls it. */
import assert from 'node:assert/strict';
import { hostname, release } from 'node:os';
import { test } from 'node:test';
import type { Report } from '../../ts/api/index.js';
import { runCli } from '../support/run-cli.js';
import { createScratch } from '../support/scratch.js';

test('report prints what this machine would tell, the kernel and its memory included', async () => {
  const { code, stdout } = await runCli(['report']);
  assert.equal(code, 0);
  const { os, memory, agent, nics, services } = JSON.parse(stdout) as Report;
  assert.deepEqual([agent.name, os.hostname, os.kernel.release], ['guestwire', hostname(), release()]);
  assert.ok(memory !== null && memory.total > 0);
  assert.ok(nics.every(({ addresses }) => addresses !== null));
  assert.deepEqual(services, []);
});

test('report --root tells of the copy alone, with the services of the plugins that are named', async () => {
  await using scratch = await createScratch();
  await scratch.write('etc/os-release', 'ID=debian\nVERSION_ID="12"\n');
  await scratch.write('etc/hostname', 'web1\n');
  await scratch.write('sys/class/net/eth0/address', '52:54:00:00:00:01\n');
  const plugin = `export default { apiVersion: 1, name: 'db', setup: (host) => [{ kind: 'reports', module: {
    services: async () => [{ name: 'db', values: { status: (await host.files.readText('/run/db')).trim() } }] } }] };`;
  await scratch.write('plugins/db.mjs', plugin);
  await scratch.write('run/db', 'running\n');
  const { code, stdout } = await runCli(['report', '--root', scratch.root, '--plugins', `${scratch.root}/plugins`]);
  assert.equal(code, 0);
  const { os, memory, volumes, nics, services } = JSON.parse(stdout) as Report;
  assert.deepEqual([os.id, os.versionId, os.hostname, os.prettyName], ['debian', '12', 'web1', null]);
  assert.deepEqual([memory, volumes], [null, null]);
  assert.deepEqual(
    nics.map(({ name, mac, addresses }) => [name, mac, addresses]),
    [['eth0', '52:54:00:00:00:01', null]],
  );
  assert.deepEqual(services, [{ name: 'db', values: { status: 'running' } }]);
});
