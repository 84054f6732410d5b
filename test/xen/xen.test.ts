/**
 * Everything on the real thing: the hypervisor, its xenstored, the kernel's xenbus device in dom0 and in a guest, and a
 * host that uses nothing but dom0's own tools. docs/testing.md says how the machine is made.
 */
import assert from 'node:assert/strict';
import { type TestContext, after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Dom0, PATIENCE, type Tools } from '../support/dom0.js';
import { buildExample } from '../support/programs.js';
import { buildImages, GUEST_MAC } from '../support/xen/images.js';
import { Guest, XenMachine } from '../support/xen/machine.js';

const OK = { kind: 'ok', message: '' } as const;
/** Stands for a guest when the agent runs in dom0. */
const STAND_IN = 99;

/** Where the agent runs, and the host that it answers. */
interface Place {
  readonly host: Dom0;
  /** Runs a script where the agent is; gives what it printed. */
  readonly inside: (script: string) => Promise<string>;
  /** The directory that is the agent's root, without a final slash. */
  readonly root: string;
}

/** A new command's case is one entry here: what the host asks, and what is seen where the agent is. */
const CASES: Readonly<Record<string, (place: Place) => Promise<void>>> = {
  async version({ host }) {
    const answer = await host.call('version', 'agent');
    assert.equal(answer.kind, 'ok');
    assert.match(answer.message, /^\d+\.\d+\.\d+$/);
  },
  async features({ host }) {
    const answer = await host.call('features', '');
    const names = answer.kind === 'ok' ? answer.message.split(',') : [];
    for (const name of Object.keys(CASES)) if (name !== 'unknown') assert.ok(names.includes(name), name);
  },
  async keyinit({ host }) {
    // 5^2: the smallest key that a host may have.
    const answer = await host.call('keyinit', '25');
    assert.match(answer.kind === 'ok' ? answer.message : '', /^\d+$/);
  },
  async password({ host, inside, root }) {
    for (const digest of ['md5', 'default'] as const) {
      const password = `new-${digest}`;
      assert.deepEqual(await host.setPassword(password, digest), OK);
      if (root !== '') {
        assert.match(await inside(`cat ${root}/etc/shadow`), /^root:\$(y|6)\$/m);
        continue;
      }
      const su = (text: string): string =>
        `su -s /bin/sh nobody -c "echo ${text} | su root -c 'echo let in; id -u'" 2>&1; true`;
      assert.match(await inside(su(password)), /let in\n0/);
      assert.doesNotMatch(await inside(su('wrong')), /let in/);
    }
  },
  async injectfile({ host, inside, root }) {
    const value = Buffer.from('/etc/from-the-host,some\ntext, with a comma').toString('base64');
    assert.deepEqual(await host.call('injectfile', value), OK);
    assert.equal(await inside(`cat ${root}/etc/from-the-host`), 'some\ntext, with a comma');
  },
  async file_inject({ host, inside, root }) {
    const bytes = Buffer.from(Array.from({ length: 2000 }, (_, index) => (index * 7) % 256));
    const value = {
      b64_path: Buffer.from('/root/.ssh/new,file').toString('base64'),
      b64_file: bytes.toString('base64'),
    };
    assert.deepEqual(await host.call('file_inject', value), OK);
    assert.equal(await inside(`base64 -w 0 '${root}/root/.ssh/new,file'`), bytes.toString('base64'));
    assert.equal(await inside(`stat -c %a '${root}/root/.ssh/new,file' '${root}/root/.ssh'`), '600\n700');
  },
  async resetnetwork({ host, inside, root }) {
    await host.publish(networkOf('203.0.113.10'));
    assert.deepEqual(await host.call('resetnetwork', ''), OK);
    assert.match(await inside(`cat ${root}/etc/network/interfaces`), /# The owner's\.[\s\S]*203\.0\.113\.10/);
    assert.equal(await inside(`cat ${root}/etc/hostname`), 'web1.example.org');
  },
  async unknown({ host }) {
    const answer = await host.call('no_such_command', '');
    assert.deepEqual(answer, { kind: 'error', why: 'AgentError (returncode 404 not in' });
  },
};

/** Other tests come and go on the two processors that it is emulated with: the boot may have been the quiet part. */
const SLOWER = 4;

function networkOf(address: string): Readonly<Record<string, string>> {
  return {
    'vm-data/hostname': 'web1.example.org',
    [`vm-data/networking/${GUEST_MAC.replaceAll(':', '').toUpperCase()}`]: JSON.stringify({
      label: 'public',
      mac: GUEST_MAC.toUpperCase(),
      gateway: '203.0.113.1',
      ips: [{ ip: address, enabled: '1', netmask: '255.255.255.0', gateway: '203.0.113.1' }],
      ip6s: [{ ip: '2001:db8::10', enabled: '1', netmask: 64, gateway: '2001:db8::1' }],
      gateway_v6: '2001:db8::1',
      dns: ['203.0.113.53'],
    }),
  };
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** dom0 of the emulated machine, speaking with the guest of that number. */
function hostOf(machine: XenMachine, domain: number): Dom0 {
  const tools: Tools = (program, args) => machine.run([`xenstore-${program}`, ...args.map(quoted)].join(' '));
  return new Dom0(tools, domain, PATIENCE * machine.slowness);
}

suite('on the real hypervisor', () => {
  let machine: XenMachine;
  let guest: Guest;
  let host: Dom0;
  const version = JSON.stringify({ name: 'version', value: 'agent' });

  before(
    async () => {
      for (const name of ['conformance', 'drill']) buildExample(name);
      const images = buildImages((line) => {
        console.log(line);
      });
      machine = await XenMachine.boot(images);
      console.log(`everything may take ${machine.slowness.toFixed(1)} times as long as on a quiet machine`);
    },
    { timeout: 1_800_000 },
  );

  let failed = false;

  /**
   * One machine, one story: after a step that failed the others would only wait for what does not come. `seconds`: how long
   * it may take on a machine that does nothing else.
   */
  function step(name: string, seconds: number, tell: (t: TestContext) => Promise<void>): void {
    test(name, async (t) => {
      assert.ok(!failed, 'an earlier step failed');
      failed = true;
      const limit = seconds * machine.slowness * SLOWER;
      const inTime = new AbortController();
      const overdue = sleep(limit * 1000, undefined, { signal: inTime.signal }).then(() => {
        throw new Error(`not done after ${limit.toFixed(0)} s`);
      });
      try {
        await Promise.race([tell(t), overdue]);
      } finally {
        overdue.catch(() => undefined);
        inTime.abort();
      }
      failed = false;
    });
  }

  /** Each command's case, at `place`. */
  async function everyCommand(t: TestContext, place: Place): Promise<void> {
    for (const [name, check] of Object.entries(CASES)) {
      const broken: string[] = [];
      await t.test(name, async () => {
        broken.push(name);
        await check(place);
        broken.pop();
      });
      if (broken.length > 0)
        throw new Error(`${name}: what the agent logged:\n${await place.inside('cat /var/log/guestwire.log')}`);
    }
  }

  after(async () => {
    if (process.env['GUESTWIRE_XEN_LOG'] === '1') console.log(await guest.run('cat /var/log/guestwire.log'));
    await machine[Symbol.asyncDispose]();
  });

  for (const device of ['/dev/xen/xenbus', '/proc/xen/xenbus']) {
    step(`dom0: ${device} is a store like any other`, 180, async () => {
      assert.match(await machine.run(`/test/conformance ${device} /conformance`), /^\d+ passed, 0 failed$/m);
    });
  }

  step("dom0: every command, over dom0's own device", 300, async (t) => {
    await machine.run(`
      for path in etc/network root sys/class/net/eth0 sbin var/lib; do mkdir -p /scratch/$path; done
      cd /scratch
      printf 'root:x:0:0:root:/root:/bin/sh\\n' > etc/passwd
      printf 'root:*:19700:0:99999:7:::\\n' > etc/shadow
      printf '# The owner'"'"'s.\\nauto lo\\niface lo inet loopback\\n' > etc/network/interfaces
      echo scratch > etc/hostname
      echo ${GUEST_MAC} > sys/class/net/eth0/address
      echo 1 > sys/class/net/eth0/type
      cp /bin/busybox sbin/ifup
      cp /bin/busybox sbin/ifdown
      xenstore-write /local/domain/${STAND_IN}/data ''
      guestwire run --store /dev/xen/xenbus --domain ${STAND_IN} --root /scratch > /var/log/guestwire.log 2>&1 &
      echo $! > /run/guestwire.pid
      until grep -q '"ready"' /var/log/guestwire.log; do sleep 0.1; done`);
    const place: Place = {
      host: hostOf(machine, STAND_IN),
      inside: (script) => machine.run(script),
      root: '/scratch',
    };
    await everyCommand(t, place);
    await machine.run(`kill $(cat /run/guestwire.pid); xenstore-rm /local/domain/${STAND_IN}`);
  });

  step('a guest of kernel, busybox and agent starts and answers', 180, async () => {
    guest = await machine.startGuest();
    host = hostOf(machine, guest.domain);
    const asked = await host.send(version);
    await guest.logged('"ready"');
    assert.match(await host.answer(asked), /"returncode":"0"/);
    assert.equal(await guest.run('test -e /bin/bash || test -e /usr/bin/systemctl || echo neither'), 'neither');
    // The agent is a child of init, and init is a shell of busybox.
    assert.equal(
      await guest.run('cat /proc/$(pidof node)/stat | cut -d " " -f 4; readlink /proc/1/exe'),
      '1\n/bin/busybox',
    );
  });

  step('guest: the device of its kernel is a store like any other', 180, async () => {
    assert.match(await guest.run('/test/conformance /dev/xen/xenbus data/conformance'), /^\d+ passed, 0 failed$/m);
  });

  step('guest: every command', 300, async (t) => {
    const place: Place = { host, inside: (script) => guest.run(script), root: '' };
    await everyCommand(t, place);
    await t.test('the new network carries packets of both families, through netback', async () => {
      await machine.run('ping -c 1 -w 60 203.0.113.10');
      await machine.run('ping -6 -c 1 -w 60 2001:db8::10');
      assert.equal(await guest.run('hostname'), 'web1.example.org');
    });
  });

  step('guest: without ifup it sets the network itself, and names what it cannot do', 120, async () => {
    const description = '/etc/guestwire/network.json';
    await guest.run('mv /etc/network/interfaces /root/interfaces');
    assert.deepEqual(await host.call('resetnetwork', ''), OK);
    await guest.run(`grep -q 203.0.113.10 ${description}`);
    await machine.run('ping -c 1 -w 60 203.0.113.10');

    await machine.run(`xenstore-rm ${host.path('vm-data/networking')}`);
    await host.publish({ 'vm-data/networks/0/mac': GUEST_MAC, 'vm-data/networks/0/type': 'dhcp' });
    const answer = await host.answer(await host.send(JSON.stringify({ name: 'resetnetwork', value: '' })));
    assert.match(
      answer,
      /"returncode":"1","message":"Not possible with the direct renderer: DHCP on eth0; nothing was changed"/,
    );
    await machine.run(`xenstore-rm ${host.path('vm-data/networks')}; ping -c 1 -w 60 203.0.113.10`);
    await host.publish(networkOf('203.0.113.10'));
    await guest.run(`rm ${description}; mv /root/interfaces /etc/network/interfaces`);
  });

  step('guest: a hundred requests at once get one answer each', 180, async () => {
    const ids = Array.from({ length: 100 }, (_, index) => `flood-${index}`);
    const pairs = ids.map((id) => `${host.path(`data/host/${id}`)} ${quoted(version)}`);
    const answers = ids.map((id) => host.path(`data/guest/${id}`));
    const printed = await machine.run(`
      xenstore-write ${pairs.join(' ')}
      until [ -z "$(xenstore-list ${host.path('data/host')})" ]; do sleep 0.1; done
      xenstore-read ${answers.join(' ')}`);
    assert.deepEqual(
      printed.split('\n').map((line) => /"returncode":"(.*?)"/.exec(line)?.[1]),
      Array(100).fill('0'),
    );
    assert.equal(await guest.run(`grep -c '"flood-[0-9]*".*"command finished"' /var/log/guestwire.log`), '100');
  });

  step('guest: a quota that is used up stops nothing for longer than it lasts', 240, async (t) => {
    await t.test('nodes: answers that were read make room for the next', async () => {
      await guest.run('/test/drill nodes /dev/xen/xenbus data/fill');
      assert.match(await host.answer(await host.send(version)), /"returncode":"0"/);
      await machine.run(`xenstore-rm ${host.path('data/fill')}`);
    });
    await t.test('nodes: without any room nothing is done, and the answer comes once there is', async () => {
      await machine.run(`xenstore-rm ${host.path('data/guest')}`);
      await guest.run('/test/drill nodes /dev/xen/xenbus data/fill');
      const value = Buffer.from('/etc/without-room,text').toString('base64');
      const waiting = await host.send(JSON.stringify({ name: 'injectfile', value }));
      await guest.logged('the store has no room for answers');
      await guest.run('test ! -e /etc/without-room');
      await machine.run(`xenstore-rm ${host.path('data/fill')}`);
      assert.match(await host.answer(waiting), /"returncode":"0"/);
      await guest.run('test -e /etc/without-room');
    });
    await t.test('size: the longest answer there can be fits a node', async () => {
      const id = await host.send(JSON.stringify({ name: 'x'.repeat(3000), value: '' }));
      const answer = await host.answer(id);
      assert.match(answer, /"returncode":"404"/);
      assert.ok(answer.length <= 1900, String(answer.length));
    });
    await t.test('watches: an agent that finds none left waits for one, and answers', async () => {
      await guest.run('kill $(pidof node); while pidof node; do sleep 0.1; done');
      await guest.run(
        '/test/drill watches /dev/xen/xenbus data > /run/watches & until grep -q full /run/watches; do sleep 0.1; done',
      );
      await guest.run('guestwire run --log-level debug > /var/log/guestwire.log 2>&1 &');
      await guest.logged('XenStore refuses a watch');
      const waiting = await host.send(version);
      await guest.run('kill $(pidof drill)');
      assert.match(await host.answer(waiting), /"returncode":"0"/);
    });
  });

  step('guest: a permission that is taken away costs one answer, not the agent', 120, async () => {
    const [answers, owner] = [host.path('data/guest'), `n${guest.domain}`];
    await machine.run(`xenstore-rm ${answers}; xenstore-write ${answers} ''; xenstore-chmod ${answers} n0`);
    const lost = await host.send(version);
    await gone(host, lost);
    await machine.run(`xenstore-chmod ${answers} ${owner}`);
    assert.match(await host.answer(await host.send(version)), /"returncode":"0"/);
  });

  step('guest: its tree may go and come back', 120, async () => {
    const data = host.path('data');
    await machine.run(`xenstore-rm ${data}; xenstore-write ${data} ''; xenstore-chmod ${data} n${guest.domain}`);
    assert.match(await host.answer(await host.send(version)), /"returncode":"0"/);
  });

  step('xenstored may be updated under the agent', 120, async () => {
    await machine.run('xenstore-control live-update -t 30 /usr/lib/xen/bin/xenstored');
    assert.match(await host.answer(await host.send(version)), /"returncode":"0"/);
    assert.match(await guest.run('/test/conformance /dev/xen/xenbus data/conformance'), /^\d+ passed, 0 failed$/m);
  });

  step('guest: saved and restored, twice, it answers what was asked before and after, once', 400, async () => {
    const agent = await guest.run('pidof node');
    for (const round of [1, 2]) {
      await guest.run(
        'rm -f /run/go; /test/drill straggler /dev/xen/xenbus data/straggler /run/go > /run/straggler 2>&1 &',
      );
      await guest.run('until grep -q open /run/straggler; do sleep 0.1; done');
      // Asked while the guest suspends: it may be answered by either side of it, and the host may ask again.
      const before = host.path(`data/host/before-${round}`);
      await machine.run(`(sleep 0.3; xenstore-write ${before} ${quoted(version)}) & xl save guest /root/guest.save`);
      const left = guest.domain;
      // Written before the guest runs again.
      await machine.run('xl restore -p /root/guest.save');
      guest = await Guest.named(machine);
      host = hostOf(machine, guest.domain);
      assert.ok(guest.domain > left);
      await host.send(version, `early-${round}`);
      await machine.run('xl unpause guest');
      assert.match(await host.answer(`early-${round}`), /"returncode":"0"/);
      assert.match(await host.answer(await host.send(version, `late-${round}`)), /"returncode":"0"/);
      for (const id of [`early-${round}`, `late-${round}`]) {
        assert.equal(await guest.run(`grep -c '"${id}".*"command finished"' /var/log/guestwire.log`), '1');
      }
      await guest.run('touch /run/go; until grep -q ended /run/straggler; do sleep 0.1; done');
      assert.equal(await guest.run('cat /run/straggler'), 'open\nended after 2');
      assert.equal(await host.read('data/straggler'), 'x');
    }
    assert.equal(await guest.run('pidof node'), agent);
    await host.publish(networkOf('203.0.113.20'));
    assert.deepEqual(await host.call('resetnetwork', ''), OK);
    await machine.run('ping -c 1 -w 60 203.0.113.20');
    assert.match(await guest.run('/test/conformance /dev/xen/xenbus data/conformance'), /^\d+ passed, 0 failed$/m);
  });
});

/** Resolves once the request is no longer there. */
async function gone(host: Dom0, id: string): Promise<void> {
  for (const until = performance.now() + PATIENCE; (await host.read(`data/host/${id}`)) !== null;) {
    assert.ok(performance.now() < until, `request ${id} was not removed`);
    await sleep(50);
  }
}
