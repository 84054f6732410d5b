/** Facts in, report out: what the guest tells of the texts and tables that it finds. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { LiveAddress, Nic, Report } from '../../ts/api/index.js';
import { differs } from '../../ts/report/difference.js';
import { readMemory } from '../../ts/report/linux/memory.js';
import { reportNics } from '../../ts/report/nics.js';
import { readOsRelease } from '../../ts/report/os-release.js';
import { readVolumes } from '../../ts/report/linux/volumes.js';

const MIB = 1024 * 1024;

test('what os-release does not say is null, and an empty text is what it says', () => {
  assert.deepEqual(readOsRelease('ID=arch\nPRETTY_NAME="Arch Linux"\nVARIANT=\n'), {
    id: 'arch',
    name: null,
    prettyName: 'Arch Linux',
    version: null,
    versionId: null,
    variant: '',
    variantId: null,
  });
  assert.ok(Object.values(readOsRelease(null)).every((value) => value === null));
});

test('memory is bytes; a kernel before 3.14 tells nothing of what is available, and a copy of a system nothing at all', () => {
  const old = 'MemTotal:        1024 kB\nMemFree:          512 kB\nSwapTotal:       2048 kB\n';
  assert.deepEqual(readMemory(`${old}MemAvailable:      10 kB\n`), { total: MIB, available: 10 * 1024 });
  assert.deepEqual(readMemory(old), { total: MIB, available: null });
  assert.equal(readMemory(null), null);
});

test('the memory of the kernel that runs here is read', () => {
  const memory = readMemory(readFileSync('/proc/meminfo', 'utf8'));
  assert.ok(memory !== null && memory.available !== null);
  assert.ok(memory.available > 0 && memory.available <= memory.total);
});

const nic = (name: string, index: number): Nic => ({
  ...{ name, index, mac: `52:54:00:00:00:0${index}`, permanentMac: null, driver: 'vif', kind: null, master: null },
  ...{ up: true, mtu: 1500, physical: true },
});

test('devices are in the order of the kernel, each with its own addresses', () => {
  const address = (name: string, text: string, more: Partial<LiveAddress> = {}): LiveAddress => ({
    ...{ nic: name, address: text, prefix: 24, unusable: false, dynamic: false },
    ...more,
  });
  const reported = reportNics(
    [nic('a', 3), nic('b', 2)],
    [
      address('a', '192.0.2.1', { dynamic: true, lifetime: { validUntil: 1, preferredUntil: null } }),
      address('gone', '192.0.2.9'),
      address('a', '2001:db8::1', { unusable: true, temporary: true }),
    ],
  );
  const told = { driver: 'vif', kind: null, master: null, up: true, mtu: 1500 };
  assert.deepEqual(reported, [
    { name: 'b', mac: '52:54:00:00:00:02', ...told, addresses: [] },
    {
      ...{ name: 'a', mac: '52:54:00:00:00:03', ...told },
      addresses: [
        { family: 'ipv4', address: '192.0.2.1', prefix: 24, usable: true, dynamic: true, temporary: false },
        { family: 'ipv6', address: '2001:db8::1', prefix: 24, usable: false, dynamic: false, temporary: true },
      ],
    },
  ]);
  assert.deepEqual(
    reportNics([nic('a', 1)], null).map(({ addresses }) => addresses),
    [null],
  );
});

test('a volume is a file system on a disk, with all places where the whole of it is mounted', () => {
  const mountinfo = [
    '22 27 0:21 / /proc rw,relatime - proc proc rw',
    '27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard',
    '28 27 0:25 / /tmp ro - tmpfs tmpfs rw,size=4k',
    '29 27 254:1 / /srv/my\\040data rw shared:1 master:2 - xfs /dev/vdb1 rw',
    '30 27 254:0 /etc /run/inner rw - ext4 /dev/vda rw',
    '31 27 254:1 / /mnt rw - xfs /dev/vdb1 rw',
    '32 27 0:40 /@home /home rw - btrfs /dev/vdc rw,space_cache,subvolid=256,subvol=/@home',
    '33 27 0:41 /@var /var rw - btrfs /dev/vdc rw,space_cache,subvolid=257,subvol=/@var',
    '34 27 0:40 /@home/u /run/u rw - btrfs /dev/vdc rw,space_cache,subvolid=256,subvol=/@home',
    '35 27 7:0 / /snap/x ro - squashfs /dev/loop0 ro',
    '36 27 0:50 / /net rw - nfs4 server:/export rw',
    'no such line',
    '',
  ].join('\n');
  assert.deepEqual(readVolumes(mountinfo), [
    { device: '/dev/vda', fileSystem: 'ext4', mountPoints: ['/'] },
    { device: '/dev/vdb1', fileSystem: 'xfs', mountPoints: ['/srv/my data', '/mnt'] },
    { device: '/dev/vdc', fileSystem: 'btrfs', mountPoints: ['/home', '/var'] },
  ]);
  assert.equal(readVolumes(null), null);
});

const REPORT: Report = {
  agent: { name: 'guestwire', version: '1.0.0' },
  os: {
    ...readOsRelease('ID=debian'),
    hostname: 'guest',
    kernel: { release: '6.1', version: '#1', machine: 'x86_64' },
  },
  memory: { total: 1024 * MIB, available: 500 * MIB },
  nics: reportNics([nic('a', 1)], []),
  volumes: [],
  services: [],
};

test('a little more or less memory is no news, and anything else is', () => {
  const memory = (available: number | null, total = 1024 * MIB): Report => ({
    ...REPORT,
    memory: { total, available },
  });
  assert.equal(differs(REPORT, structuredClone(REPORT)), false);
  assert.equal(differs(REPORT, memory(520 * MIB)), false);
  assert.equal(differs(REPORT, memory(521 * MIB)), true);
  assert.equal(differs(REPORT, memory(479 * MIB)), true);
  assert.equal(differs(memory(100 * MIB, 512 * MIB), memory(115 * MIB, 512 * MIB)), false);
  assert.equal(differs(memory(100 * MIB, 512 * MIB), memory(116 * MIB, 512 * MIB)), true);
  assert.equal(differs(REPORT, memory(null)), true);
  assert.equal(differs(REPORT, memory(500 * MIB, 2048 * MIB)), true);
  assert.equal(differs(REPORT, { ...REPORT, memory: null }), true);
  assert.equal(differs(REPORT, { ...memory(501 * MIB), os: { ...REPORT.os, hostname: 'other' } }), true);
  assert.equal(differs(REPORT, { ...REPORT, nics: [] }), true);
  assert.equal(differs(REPORT, { ...REPORT, services: [{ name: 'db', values: { status: 'running' } }] }), true);
});
