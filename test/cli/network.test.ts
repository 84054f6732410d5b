/** `plan`, `apply` and `doctor` on an image that is not running. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { type Scratch, createScratch } from '../support/scratch.js';
import { type CliResult, runCli } from '../support/run-cli.js';

const FACTS = {
  nics: [{ name: 'enX0', mac: '52:54:00:AA:00:01' }],
  networking: { a: { mac: '52:54:00:aa:00:01', gateway: '192.0.2.1', ips: [{ ip: '192.0.2.4', netmask: 24 }] } },
  hostname: 'web1',
};
const NETPLAN = 'network:\n  version: 2\n  ethernets:\n    enX0:\n      dhcp4: true\n';
const OURS = 'etc/netplan/60-guestwire.yaml';

/** An image with netplan; `run` gives it and the facts to the subcommand. */
async function image(): Promise<Scratch & { run(...args: string[]): Promise<CliResult>; facts(what: unknown): void }> {
  const scratch = await createScratch();
  await scratch.write('etc/netplan/50-cloud-init.yaml', NETPLAN, 0o600);
  await scratch.write('usr/sbin/netplan', '', 0o755);
  await scratch.write('etc/hostname', 'old\n');
  await scratch.write('etc/cloud/cloud.cfg', '');
  let facts = await scratch.write('facts.json', JSON.stringify(FACTS));
  return {
    ...scratch,
    facts: (what) => (facts = String(what)),
    run: (...args) => runCli([...args, '--root', scratch.root, '--facts', facts]),
  };
}

suite('the network of an image', () => {
  test('plan shows files and programs, and changes nothing', async () => {
    await using one = await image();
    const { code, stdout, stderr } = await one.run('plan', 'network');
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^# netplan$/m);
    assert.match(stdout, /^--- \/dev\/null\t?\n\+\+\+ \/etc\/netplan\/60-guestwire\.yaml/m);
    assert.match(stdout, /^\+ {8}- "192\.0\.2\.4\/24"$/m);
    assert.match(stdout, /^- {4}enX0:$/m);
    assert.match(stdout, /^\+web1$/m);
    assert.match(stdout, /^run: \/usr\/sbin\/netplan apply$/m);
    assert.ok(!existsSync(join(one.root, OURS)));
  });

  test("ifupdown-ng is not taken for busybox where busybox is the machine's init", async () => {
    await using scratch = await createScratch();
    await scratch.write('etc/network/interfaces', 'auto lo\niface lo inet loopback\n');
    for (const [link, target] of [
      ['sbin/ifup', '/sbin/ifupdown'],
      ['sbin/init', '/bin/busybox'],
    ] as const) {
      await scratch.write(target.slice(1), '', 0o755);
      symlinkSync(target, join(scratch.root, link));
    }
    const networks = { 0: { mac: FACTS.nics[0]!.mac, type6: 'dhcp' } };
    const facts = await scratch.write('facts.json', JSON.stringify({ nics: FACTS.nics, networks }));
    const { code, stdout, stderr } = await runCli(['plan', 'network', '--root', scratch.root, '--facts', facts]);
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^\+iface enX0 inet6 dhcp$/m);
    assert.match(stdout, /^run: ip addr flush dev enX0 scope global$/m);
  });

  test('apply writes what plan shows; a second time it is right already', async () => {
    await using one = await image();
    assert.deepEqual(await one.run('apply', 'network'), {
      code: 0,
      stdout: 'enX0: configured (netplan)\n',
      stderr: '',
    });
    assert.match(readFileSync(join(one.root, OURS), 'utf8'), /via: "192\.0\.2\.1"/);
    assert.equal(readFileSync(join(one.root, 'etc/hostname'), 'utf8'), 'web1\n');
    assert.deepEqual(await one.run('apply', 'network'), {
      code: 0,
      stdout: 'enX0: already as wanted (netplan)\n',
      stderr: '',
    });
    const { stdout } = await one.run('plan', 'network');
    assert.equal(stdout, '# netplan\nrun: /usr/sbin/netplan apply\n');
  });

  test('plan, apply and doctor fail where the next boot would bring another network, and nothing is written', async () => {
    await using one = await createScratch();
    const interfaces = 'auto lo\niface lo inet loopback\n    post-up ip addr add 198.51.100.9/24 dev enX0\n';
    const path = await one.write('etc/network/interfaces', interfaces);
    await one.write('sbin/ifup', '', 0o755);
    const facts = await one.write('facts.json', JSON.stringify(FACTS));
    const why = /198\.51\.100\.9\/24 too by \/etc\/network\/interfaces/;
    for (const args of [['plan', 'network'], ['apply', 'network'], ['doctor']]) {
      const { code, stdout, stderr } = await runCli([...args, '--root', one.root, '--facts', facts]);
      assert.equal(code, 1);
      assert.match(stdout + stderr, why);
    }
    assert.equal(readFileSync(path, 'utf8'), interfaces);
  });

  test('doctor tells devices, claims and what is wanted', async () => {
    await using one = await image();
    const { code, stdout } = await one.run('doctor');
    assert.equal(code, 0);
    assert.match(stdout, /^ {2}enX0: 192\.0\.2\.4\/24 via 192\.0\.2\.1$/m);
    assert.match(stdout, /^ {2}host name: web1$/m);
    assert.match(
      stdout,
      /^ {2}enX0 52:54:00:aa:00:01 \(no driver known, down, no permanent MAC\); held by no daemon$/m,
    );
    assert.match(stdout, /^ {2}\* netplan: enabled, because \/usr\/sbin\/netplan and \/etc\/netplan\//m);
    assert.match(stdout, /^ {4}not here: .*networkmanager/m);
    assert.equal(existsSync(join(one.root, 'etc/resolv.conf')), false);
    assert.match(stdout, /^\/etc\/resolv\.conf\n {2}absent, or a plain file that nobody else writes$/m);
    assert.match(stdout, /cloud-init\n {2}is installed/);
  });

  test('doctor names what in /etc/hosts leads to an address of others, and a reset takes away what was ours', async () => {
    await using one = await image();
    const named = '198.51.100.7 old intranet';
    await one.write('etc/netplan/50-cloud-init.yaml', NETPLAN.replace('dhcp4: true', 'addresses: [198.51.100.7/24]'));
    await one.write('etc/hosts', `127.0.0.1 localhost\n198.51.100.7 old.example.org old # Added by cloud\n${named}\n`);
    one.facts(await one.write('unnamed.json', JSON.stringify({ ...FACTS, hostname: undefined })));
    const section = (text: string): string | undefined => text.split('\n\n/etc/hosts\n')[1]?.split('\n\n', 1)[0];
    const told = `  '${named}' gives this machine an address that it does not have; a reset leaves the line alone`;
    const { code, stdout } = await one.run('doctor');
    assert.deepEqual([code, section(stdout)?.trimEnd()], [0, told]);
    assert.equal((await one.run('apply', 'network')).code, 0);
    assert.equal(readFileSync(join(one.root, 'etc/hosts'), 'utf8'), `127.0.0.1 localhost\n${named}\n`);
    assert.equal(section((await one.run('doctor')).stdout)?.trimEnd(), told);
    await one.write('etc/hosts', '127.0.0.1 localhost\n192.0.2.4 old.example.org old\n');
    assert.equal(section((await one.run('doctor')).stdout), undefined);
  });

  test('doctor takes a configuration file, and says which scripts and hooks cannot be run, and why', async () => {
    await using one = await image();
    const windows = '#!/bin/sh\r\necho 0\r\n';
    await one.write('opt/commands/greet', windows, 0o755);
    await one.write('opt/commands/well', '#!/bin/sh\necho 0\n', 0o755);
    await one.write('opt/hooks/after/all/10-x', windows, 0o755);
    const config = '[scripts]\ndirectory = "/opt/commands"\n[hooks]\ndirectory = "/opt/hooks"\n';
    const file = await one.write('own.toml', config);
    const { code, stdout } = await one.run('doctor', '--config', file);
    const ending = 'its first line ends with a carriage return: wanted line feeds alone (dos2unix)';
    assert.ok(stdout.includes(`/opt/commands/greet: cannot be used: ${ending}\n`), stdout);
    assert.match(stdout, /^ {2}\S+\/opt\/commands\/well: can be run$/m);
    assert.ok(stdout.includes(`\nhooks in /opt/hooks\n  after/all/10-x: does not run, because `), stdout);
    assert.equal(code, 0);
    assert.doesNotMatch((await one.run('doctor')).stdout, /carriage return|\/opt/);
  });

  test('doctor fails, and says why, where a reset would', async () => {
    await using one = await image();
    one.facts(await one.write('bad.json', JSON.stringify({ ...FACTS, nics: [] })));
    const { code, stdout } = await one.run('doctor');
    assert.equal(code, 1);
    assert.match(stdout, /not usable: .*a: Unknown interface MAC 52:54:00:aa:00:01/);
    assert.match(stdout, /^devices\n {2}none$/m);
  });

  test('an unknown device is named, and nothing is written', async () => {
    await using one = await image();
    one.facts(await one.write('bad.json', JSON.stringify({ ...FACTS, nics: [] })));
    const { code, stderr } = await one.run('apply', 'network');
    assert.equal(code, 1);
    assert.match(stderr, /^guestwire: Invalid network data; nothing was changed: a: Unknown interface MAC/);
    assert.ok(!existsSync(join(one.root, OURS)));
  });

  test('a file that cannot be written is told in words, and not in lines of JSON', async () => {
    await using one = await image();
    symlinkSync('../gone/file', join(one.root, OURS));
    const { code, stdout, stderr } = await one.run('apply', 'network');
    assert.equal(code, 1);
    assert.match(stderr, /^guestwire: Could not write \/etc\/netplan\/60-guestwire\.yaml: [^\n]*\n$/);
    assert.match(stdout, /ERROR.*: the change of the network failed and is taken back/);
    assert.doesNotMatch(stdout, /^\{/m);
  });

  test('of two devices with one MAC the paravirtual one is configured; where it cannot be told, the answer says so', async () => {
    await using one = await image();
    const twins = (...drivers: readonly (string | undefined)[]): string =>
      JSON.stringify({
        ...FACTS,
        nics: drivers.map((driver, index) => ({ name: `ens${index}`, mac: '52:54:00:aa:00:01', driver })),
      });
    one.facts(await one.write('unknown.json', twins(undefined, undefined)));
    const { code, stderr } = await one.run('apply', 'network');
    assert.equal(code, 1);
    assert.match(
      stderr,
      /ens0 \(driver unknown\) and ens1 \(driver unknown\) have the same MAC, and nothing shows which one is paravirtual/,
    );
    assert.ok(!existsSync(join(one.root, OURS)));
    one.facts(await one.write('known.json', twins('mlx5_core', 'vif')));
    assert.equal((await one.run('apply', 'network')).stdout, 'ens1: configured (netplan)\n');
    assert.doesNotMatch(readFileSync(join(one.root, OURS), 'utf8'), /ens0/);
  });

  for (const [what, text, reason] of [
    ['no JSON', '{', /--facts: .*bad\.json is not JSON: /],
    ['a list', '[]', /--facts: .*bad\.json does not have the form that --help describes/],
    ['a device without MAC', '{"nics": [{"name": "eth0"}]}', /does not have the form/],
    ['networks of text', '{"networks": {"0": "dhcp"}}', /does not have the form/],
    [
      'a key that there is not',
      '{"network": {}}',
      /bad\.json: unknown key 'network'; wanted some of networking, networks,/,
    ],
    [
      'one of a device',
      '{"nics": [{"name": "a", "mac": "b", "Up": true}]}',
      /unknown key 'Up'; wanted some of name, mac,/,
    ],
  ] as const) {
    test(`facts that are ${what} are a mistake of the caller`, async () => {
      await using one = await image();
      one.facts(await one.write('bad.json', text));
      const { code, stderr } = await one.run('plan', 'network');
      assert.equal(code, 2);
      assert.match(stderr, reason);
    });
  }

  test('networks as Ansible publishes them may come from a file', async () => {
    await using one = await image();
    const networks = { 0: { mac: '52:54:00:aa:00:01', type: 'dhcp', type6: 'none' } };
    one.facts(await one.write('ansible.json', JSON.stringify({ nics: FACTS.nics, networks })));
    assert.match((await one.run('plan', 'network')).stdout, /^\+ {6}dhcp4: true$/m);
  });

  test('what a reset could not give for good is named by plan, doctor and apply, which fail', async () => {
    await using one = await image();
    const networking = { a: { ...FACTS.networking.a, dns: ['198.51.100.53'] } };
    one.facts(await one.write('dns.json', JSON.stringify({ ...FACTS, networking })));
    const path = await one.write('etc/resolv.conf', 'nameserver 198.51.100.99\n');
    const reason = 'name servers (wanted 198.51.100.53, /etc/resolv.conf, which is immutable, has 198.51.100.99)';
    execFileSync('chattr', ['+i', path]);
    try {
      const planned = await one.run('plan', 'network');
      assert.equal(planned.code, 1);
      assert.ok(planned.stdout.includes(`# not as wanted: ${reason}\n`), planned.stdout);
      const examined = await one.run('doctor');
      assert.equal(examined.code, 1);
      assert.ok(examined.stdout.includes(`  not usable: ${reason}\n`), examined.stdout);
      const stdout = `enX0: configured (netplan)\nnot as wanted: ${reason}\n`;
      assert.deepEqual(await one.run('apply', 'network'), { code: 1, stdout, stderr: '' });
    } finally {
      execFileSync('chattr', ['-i', path]);
    }
    assert.equal((await one.run('apply', 'network')).code, 0);
    assert.equal(readFileSync(path, 'utf8'), 'nameserver 198.51.100.53\n');
    assert.equal((await one.run('doctor')).code, 0);
  });

  test("servers reach Debian's resolvconf for every boot, beside a networkd whose resolved is masked", async () => {
    await using one = await createScratch();
    for (const path of ['usr/sbin/resolvconf', 'etc/resolvconf/update.d/libc']) await one.write(path, '', 0o755);
    await one.write('etc/systemd/network/20-wired.network', '[Match]\nName=enX0\n\n[Network]\nDHCP=yes\n');
    await one.write('usr/lib/systemd/system/resolvconf.service', '[Service]\n');
    await one.write('etc/systemd/system/multi-user.target.wants/systemd-networkd.service', '[Service]\n');
    await one.write('etc/systemd/system/sysinit.target.wants/.keep', '');
    for (const [path, target] of [
      ['etc/resolv.conf', '../run/resolvconf/resolv.conf'],
      ['etc/systemd/system/systemd-resolved.service', '/dev/null'],
      ['etc/systemd/system/sysinit.target.wants/resolvconf.service', '/usr/lib/systemd/system/resolvconf.service'],
    ] as const) {
      symlinkSync(target, join(one.root, path));
    }
    const networking = { a: { ...FACTS.networking.a, dns: ['198.51.100.53'] } };
    const facts = await one.write('facts.json', JSON.stringify({ ...FACTS, networking }));
    const { code, stdout } = await runCli(['apply', 'network', '--root', one.root, '--facts', facts]);
    assert.deepEqual([code, stdout], [0, 'enX0: configured (networkd)\n']);
    const base = readFileSync(join(one.root, 'etc/resolvconf/resolv.conf.d/base'), 'utf8');
    assert.match(base, /^nameserver 198\.51\.100\.53$/m);
    rmSync(join(one.root, 'etc/systemd/system/sysinit.target.wants/resolvconf.service'));
    const planned = await runCli(['plan', 'network', '--root', one.root, '--facts', facts]);
    assert.equal(planned.code, 1);
    assert.match(
      planned.stdout,
      /^# not as wanted: name servers \(.*: resolvconf\.service does not start at a boot\)$/m,
    );
  });

  test('a way of which a program enables what is written is refused until it is enabled, for nothing is run', async () => {
    const ways: readonly (readonly string[])[] = [
      ['etc/systemd/system/multi-user.target.wants/netctl@guestwire\\x2denX0.service', 'usr/bin/netctl'],
      ['etc/runlevels/default/net.enX0', 'etc/init.d/net.lo', 'lib/netifrc/net.sh'],
    ];
    for (const [link = '', ...programs] of ways) {
      await using one = await createScratch();
      for (const path of programs) await one.write(path, '', 0o755);
      const facts = await one.write('facts.json', JSON.stringify(FACTS));
      const apply = (): Promise<CliResult> => runCli(['apply', 'network', '--root', one.root, '--facts', facts]);
      const { code, stderr } = await apply();
      assert.equal(code, 1, link);
      assert.match(
        stderr,
        /The next boot would bring another network: wanted a definition of enX0, got none that counts/,
      );
      await one.write(link, '');
      assert.equal((await apply()).code, 0, link);
    }
  });

  test('bytes of others that are not UTF-8 stay as they are, in the files that are edited', async () => {
    await using one = await createScratch();
    await one.write('sbin/ifup', '', 0o755);
    const path = await one.write('etc/network/interfaces', '');
    const kept = 'auto lo\niface lo inet loopback\n# B\xfcro\niface ppp0 inet ppp\n    provider \x80\xff\n';
    writeFileSync(path, Buffer.from(`${kept}auto enX0\niface enX0 inet dhcp\n`, 'latin1'));
    const facts = await one.write('facts.json', JSON.stringify(FACTS));
    assert.equal((await runCli(['apply', 'network', '--root', one.root, '--facts', facts])).code, 0);
    const now = readFileSync(path, 'latin1');
    assert.ok(now.startsWith(kept), now);
    assert.match(now, /address 192\.0\.2\.4/);
    const again = await runCli(['apply', 'network', '--root', one.root, '--facts', facts]);
    assert.equal(again.stdout, 'enX0: already as wanted (ifupdown)\n');
  });
});
