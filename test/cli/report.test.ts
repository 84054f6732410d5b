/** `guestwire report`, as a person calls it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { hostname, release } from 'node:os';
import { test } from 'node:test';
import type { Report } from '../../ts/api/index.js';
import { PROGRAM, runCli } from '../support/run-cli.js';
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

for (const hiding of ['invisible', 'noaccess']) {
  test(`report tells the volumes where PID 1 cannot be looked at: hidepid=${hiding}`, async () => {
    const { stdout: seen } = await runCli(['report']);
    const { volumes } = JSON.parse(seen) as Report;
    // By default root's group may see all.
    const sandbox = `mount -t proc -o hidepid=${hiding},gid=1 proc /proc &&
      ! cat /proc/1/mountinfo >/dev/null 2>&1 && exec "$0" "$1" report`;
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      [
        ...['--mount', '--propagation', 'private', 'setpriv', '--inh-caps', '-sys_ptrace'],
        ...['--bounding-set', '-sys_ptrace', 'sh', '-c', sandbox, process.execPath, PROGRAM],
      ],
      { encoding: 'utf8' },
    );
    assert.equal(status, 0, stderr);
    const devices = (list: Report['volumes']): readonly string[] => (list ?? []).map(({ device }) => device);
    assert.notEqual(devices(volumes).length, 0);
    assert.deepEqual(devices((JSON.parse(stdout) as Report).volumes), devices(volumes));
  });
}
