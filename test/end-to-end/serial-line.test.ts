/** The bundle on a serial line that every user of the guest could open, with one of them who already has. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, lchownSync, mkdirSync, statSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Cleanup, endProcess, wholeOrUndone } from '../support/cleanup.js';
import { createScratch } from '../support/scratch.js';
import { StreamAgent } from '../support/stream-agent.js';
import { StreamClient } from '../support/stream-client.js';

/**
 * The host's side of a pseudo-terminal: says the name of the guest's side, then copies. A virtual machine's line stays
 * when nobody in the guest has it open.
 */
const HOST = `
  use Fcntl;
  sysopen(my $line, '/dev/ptmx', O_RDWR | O_NOCTTY) or die "ptmx: $!";
  my $number = pack('i', 0);
  ioctl($line, 0x40045431, $number) or die "unlock: $!";
  ioctl($line, 0x80045430, $number) or die "number: $!";
  syswrite(STDERR, '/dev/pts/' . unpack('i', $number) . "\\n");
  my $ends = 0;
  until ($ends) {
    my $ready = '';
    vec($ready, $_, 1) = 1 for 0, fileno($line);
    select($ready, undef, undef, undef);
    if (vec($ready, 0, 1)) {
      my $count = sysread(STDIN, my $bytes, 4096);
      if ($count) { syswrite($line, $bytes) } else { $ends = 1 }
    }
    if (vec($ready, fileno($line), 1)) {
      if (sysread($line, my $bytes, 4096)) { syswrite(STDOUT, $bytes) } else { select(undef, undef, undef, 0.01) }
    }
  }
`;

/** A pseudo-terminal with mode 0666, raw, and a link to it as udev makes them. */
class SerialLine implements AsyncDisposable {
  readonly link: string;
  readonly device: string;
  readonly #socket: string;
  readonly #cleanup: Cleanup;

  private constructor(device: string, link: string, socket: string, cleanup: Cleanup) {
    this.device = device;
    this.link = link;
    this.#socket = socket;
    this.#cleanup = cleanup;
  }

  static async make(): Promise<SerialLine> {
    return wholeOrUndone(async (cleanup) => {
      const scratch = await createScratch();
      cleanup.add(() => scratch[Symbol.asyncDispose]());
      const [link, socket] = [join(scratch.directory, 'line'), join(scratch.directory, 'host')];
      const host = spawn('perl', ['-e', HOST], { stdio: 'pipe' });
      cleanup.add(() => endProcess(host));
      const [told] = (await once(host.stderr, 'data')) as [Buffer];
      const device = told.toString().trim();
      execFileSync('stty', ['-F', device, 'raw', '-echo']);
      chmodSync(device, 0o666);
      symlinkSync(device, link);
      const server = createServer((client) => {
        client.pipe(host.stdin, { end: false });
        host.stdout.pipe(client);
      }).listen(socket);
      cleanup.add(() => server.close());
      await once(server, 'listening');
      return new SerialLine(device, link, socket, cleanup);
    });
  }

  connect(): Promise<StreamClient> {
    return StreamClient.connect(this.#socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup[Symbol.asyncDispose]();
  }
}

/** What is tried once a line came on standard input, each with an outcome on a line of its own. */
const ATTACK = `
  $| = 1;
  $SIG{HUP} = 'IGNORE';
  open(my $line, '+<', $ARGV[0]) or die "open: $!";
  print "open\\n";
  <STDIN>;
  my $injected = 0;
  for (split //, '{"id":"forged","name":"version"}' . "\\n") { $injected++ if ioctl($line, 0x5412, $_) }
  print "injected $injected\\n";
  print 'wrote ', (syswrite($line, "forged\\n") // 0), "\\n";
  print 'again ', (open(my $other, '+<', $ARGV[0]) ? 'open' : 'denied'), "\\n";
  my $heard = '';
  eval {
    local $SIG{ALRM} = sub { die };
    alarm 3;
    while (sysread($line, my $bytes, 4096)) { $heard .= $bytes }
  };
  print 'heard ', length $heard, "\\n";
`;

test('who had a serial line open before the agent can neither read nor forge anything on it after', async () => {
  await using line = await SerialLine.make();
  const attacker = spawn(
    'setpriv',
    ['--reuid=65534', '--regid=65534', '--clear-groups', 'setsid', 'perl', '-e', ATTACK, line.device],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  try {
    const said = createInterface({ input: attacker.stdout })[Symbol.asyncIterator]();
    assert.equal((await said.next()).value, 'open');
    await using agent = await StreamAgent.start(['--port', line.link]);
    await agent.logged('port opened');
    const { uid, mode } = statSync(line.device);
    assert.deepEqual([uid, mode & 0o777], [0, 0o600]);

    using host = await line.connect();
    attacker.stdin.write('now\n');
    const password = Buffer.from('a password').toString('base64');
    const set = { username: 'root', password, crypted: false };
    for (let count = 0; count < 20; count += 1) {
      assert.deepEqual(await host.execute('guest-set-user-password', set), {});
      await sleep(50);
    }
    const outcome: string[] = [];
    for (let answer = await said.next(); answer.done !== true; answer = await said.next()) outcome.push(answer.value);
    assert.deepEqual(outcome, ['injected 0', 'wrote 0', 'again denied', 'heard 0']);
    assert.deepEqual(await host.execute('guest-ping'), {});
    assert.equal(await agent.stop(), 0);
  } finally {
    await endProcess(attacker);
  }
});

test("a serial line to which another user's link leads is not used, and the log says why", async () => {
  await using line = await SerialLine.make();
  await using scratch = await createScratch();
  const links = join(scratch.directory, 'links');
  mkdirSync(links);
  symlinkSync(line.link, join(links, 'line'));
  chownSync(links, 65534, 65534);
  lchownSync(join(links, 'line'), 65534, 65534);
  await using agent = await StreamAgent.start(['--port', join(links, 'line')]);
  await agent.logged('port cannot be used');
  assert.match(
    agent.log,
    /"reason":"opening .*links belongs to user 65534, who can make it lead elsewhere: wanted root's/,
  );
  assert.equal(statSync(line.device).mode & 0o777, 0o666);
});

test('a serial line that cannot be had alone is not used, and the log says why', async () => {
  await using line = await SerialLine.make();
  chmodSync(line.device, 0o600);
  await using agent = await StreamAgent.start(['--port', line.link], '', '', [
    ...['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin'],
  ]);
  await agent.logged('port cannot be used');
  assert.match(agent.log, /ending what others have open of it, which needs CAP_SYS_ADMIN: Operation not permitted/);
});

test('a device that is no port for good is told once, and tried again ever more seldom', async () => {
  await using agent = await StreamAgent.start(['--port', '/dev/null', '--log-level', 'debug']);
  await sleep(6000);
  assert.equal(await agent.stop(), 0);
  const tries = agent.log.split('\n').filter((line) => line.includes('"msg":"port cannot be used"'));
  const retries = tries.map((line) => JSON.parse(line) as { level: number; retryMs: number });
  assert.deepEqual(
    retries.slice(0, 2).map(({ level, retryMs }) => [level, retryMs]),
    [
      [40, 1000],
      [20, 2000],
    ],
  );
  // At 0, 1 and 3 seconds.
  assert.ok(retries.length <= 3, tries.join('\n'));
});
