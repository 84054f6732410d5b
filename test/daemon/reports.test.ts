/** Reports of a machine that changes: when they are made, and who is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import type { Report, ReportedService, Reports } from '../../ts/api/index.js';
import { deferredReports } from '../../ts/daemon/deferred-reports.js';
import { type ReportOptions, createReports } from '../../ts/daemon/reports.js';
import { openHost } from '../../ts/host/index.js';
import { fakeHost, memoryStore } from '../../ts/testing/index.js';

const silent = pino({ level: 'silent' });

function machine(
  more: Partial<ReportOptions> = {},
): ReturnType<typeof createReports> & { host: ReturnType<typeof fakeHost> } {
  const host = fakeHost({
    hostname: 'web1',
    nics: [{ name: 'eth0', mac: '52:54:00:00:00:01' }],
    files: {
      '/usr/lib/os-release': 'ID=debian\nVERSION_ID="12"\n',
      '/proc/meminfo': 'MemTotal: 1024 kB\nMemAvailable: 512 kB\n',
      '/proc/1/mountinfo': '27 1 254:0 / / rw - ext4 /dev/vda rw\n',
    },
  });
  return { ...createReports({ host, log: silent, ...more }), host };
}

/** What is told, as it comes. */
function listen(reports: Reports): {
  told: Report[];
  /** When each came, milliseconds. */
  at: number[];
  until: (count: number) => Promise<void>;
  stop: () => Promise<void>;
} {
  const told: Report[] = [];
  const at: number[] = [];
  const ending = new AbortController();
  const listening = (async () => {
    for await (const report of reports.changes(ending.signal)) {
      at.push(performance.now());
      told.push(report);
    }
  })();
  return {
    told,
    at,
    async until(count) {
      for (let tries = 0; told.length < count; tries += 1) {
        assert.ok(tries < 6000, `only ${told.length} of ${count} reports came`);
        await sleep(5);
      }
    },
    async stop() {
      ending.abort();
      await listening;
    },
  };
}

test('a report has all that the machine tells', async () => {
  const { agent, os, memory, nics, volumes, services } = await machine().current();
  assert.deepEqual([agent.name, os.id, os.versionId, os.hostname], ['guestwire', 'debian', '12', 'web1']);
  assert.deepEqual(memory, { total: 1024 * 1024, available: 512 * 1024 });
  assert.deepEqual(
    nics.map(({ name, addresses }) => [name, addresses]),
    [['eth0', []]],
  );
  assert.deepEqual(volumes, [{ device: '/dev/vda', fileSystem: 'ext4', mountPoints: ['/'] }]);
  assert.deepEqual(services, []);
});

test("the administrator's os-release goes before the distribution's", async () => {
  const reports = machine();
  reports.host.files.put('/etc/os-release', 'ID=mine\n');
  assert.equal((await reports.current(['os'])).os.id, 'mine');
});

test("where PID 1 cannot be looked at, the volumes are those of the agent's own mounts", async () => {
  const host = fakeHost({ files: { '/proc/self/mountinfo': '27 1 254:0 / / rw - ext4 /dev/vda rw\n' } });
  const { volumes } = await createReports({ host, log: silent }).current(['volumes']);
  assert.deepEqual(volumes, [{ device: '/dev/vda', fileSystem: 'ext4', mountPoints: ['/'] }]);
  const own = openHost({ root: '/', stateDirectory: '/nonexistent', live: true, store: memoryStore({}) });
  assert.match((await own.files.readText('/proc/self/mountinfo')) ?? '', / \/proc /);
});

test('who wants a part waits for no other', async () => {
  const reports = machine({ services: () => new Promise(() => undefined) });
  assert.deepEqual(Object.keys(await reports.current(['os', 'nics'])), ['os', 'nics']);
});

test('of this machine a report tells the kernel, the memory and the devices; of a copy only what stands there', async () => {
  const host = (live: boolean, root: string): ReturnType<typeof openHost> =>
    openHost({ root, stateDirectory: '/nonexistent', live, store: memoryStore({}) });
  const own = await createReports({ host: host(true, '/'), log: silent }).current();
  assert.ok(own.memory !== null && own.volumes !== null);
  assert.ok(own.nics.every(({ addresses }) => addresses !== null));
  const copy = await createReports({ host: host(false, '/nonexistent'), log: silent }).current();
  assert.deepEqual([copy.memory, copy.volumes, copy.nics, copy.os.hostname, copy.os.id], [null, null, [], null, null]);
  assert.equal(copy.os.kernel.release, own.os.kernel.release);
});

test('who listens is told at once, then of each change, and at most once a second', async () => {
  const reports = machine();
  const { told, at, until, stop } = listen(reports);
  await until(1);
  assert.equal(told[0]?.os.hostname, 'web1');
  // A burst, whose last state is what counts.
  for (let count = 2; count < 20; count += 1) {
    await reports.host.network.setHostname(`web${count}`);
    reports.look();
  }
  await until(2);
  const [first = 0, second = 0] = at;
  assert.ok(second - first > 900, `${second - first} ms`);
  assert.equal(told[1]?.os.hostname, 'web19');
  // Nothing has changed: nothing is told, though it is looked at.
  let looks = 0;
  const hostname = reports.host.network.hostname.bind(reports.host.network);
  reports.host.network.hostname = async () => {
    looks += 1;
    return hostname();
  };
  reports.look();
  for (let tries = 0; looks === 0 && tries < 6000; tries += 1) await sleep(5);
  await sleep(20);
  assert.deepEqual([looks, told.length], [1, 2]);
  await stop();
});

test('a change that nobody announces is found by looking again after a while', async () => {
  const reports = machine({ poll: 10 });
  const { told, until, stop } = listen(reports);
  await until(1);
  await reports.host.network.setHostname('web2');
  await until(2);
  assert.equal(told[1]?.os.hostname, 'web2');
  await stop();
});

test('each who listens is told, and what one is told no other can change', async () => {
  const reports = machine();
  const [a, b] = [listen(reports), listen(reports)];
  await Promise.all([a.until(1), b.until(1)]);
  await reports.host.network.setHostname('web2');
  reports.look();
  await Promise.all([a.until(2), b.until(2)]);
  assert.throws(() => {
    (a.told[1] as { os: { hostname: string } }).os.hostname = 'changed';
  }, TypeError);
  await a.stop();
  await reports.host.network.setHostname('web3');
  reports.look();
  await b.until(3);
  assert.deepEqual([a.told.length, b.told.length], [2, 3]);
  await b.stop();
});

test('one who listens only after the end is told nothing', async () => {
  const told: Report[] = [];
  for await (const report of machine().changes(AbortSignal.abort())) told.push(report);
  assert.deepEqual(told, []);
});

test('a machine that cannot be asked is logged once, and asked again', async () => {
  const logged: string[] = [];
  const log = pino({}, { write: (line: string) => void logged.push(line) });
  const reports = machine({ poll: 10, log });
  const hostname = reports.host.network.hostname.bind(reports.host.network);
  let failures = 0;
  reports.host.network.hostname = () => {
    failures += 1;
    return failures > 2 ? hostname() : Promise.reject(new RangeError('broken'));
  };
  const { until, stop } = listen(reports);
  await until(1);
  await stop();
  assert.equal(logged.filter((line) => line.includes('"report cannot be made"')).length, 1, logged.join(''));
  assert.equal(logged.filter((line) => line.includes('"reports are made again"')).length, 1, logged.join(''));
});

test('services are those that plugins tell', async () => {
  const services: ReportedService[] = [{ name: 'db', values: { version: '15', status: 'running' } }];
  assert.deepEqual((await machine({ services: () => Promise.resolve(services) }).current()).services, services);
});

test('reports that are loaded when they are wanted are the same', async () => {
  const { host } = machine();
  const reports = deferredReports({ host, log: silent });
  reports.look();
  const { told, until, stop } = listen(reports);
  await until(1);
  assert.deepEqual(told[0], await reports.current());
  await host.network.setHostname('web2');
  reports.look();
  await until(2);
  await stop();
});
