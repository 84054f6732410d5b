/** What goes wrong, on the real consumers: the guest keeps its old network, or has it back. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Input, readInput } from '../network/inputs.js';
import { suites } from '../support/debian-root.js';
import { normal } from './kernel.js';
import { ETH0, ETH1, NEIGHBOUR, Namespace, type Step } from './namespace.js';
import { comesBack, settledSnapshot } from './snapshot.js';
import { type Stack, stacksOf } from './stacks.js';

const GOOD = readInput('public-and-private');
const OTHER = readInput('gateways-outside-both-subnets');
const [RELEASE = ''] = suites();
const OK = { returncode: '0', message: '' };

const BY_HAND = '10.77.0.0/16 via 203.0.113.1 dev eth0';
/** Duplicate address detection finds out that the other end of the link has it. */
const TAKEN = { mac: ETH0, ips: [{ ip: '192.0.2.9', netmask: '24' }], ip6s: [{ ip: NEIGHBOUR, netmask: 64 }] };
/** NetworkManager gives up the device with its other address as well: either may be the first that is missing. */
const isTaken: Check = ({ message }) => {
  assert.match(message, new RegExp(`^Network was put back: wanted (${NEIGHBOUR}/64|192[.]0[.]2[.]9/24) on eth0, got `));
};

type Check = (reply: { readonly returncode: string; readonly message: string }) => void;

/** Each is done to a guest with the network GOOD; afterwards it has that network and its files. */
const DRILLS: Readonly<Record<string, (namespace: Namespace, stack: Stack) => Promise<void>>> = {
  /** No file knows of the old MTU and of the route. */
  'an address that another machine has, with another MTU, where somebody has set a route by hand': async (
    namespace,
    stack,
  ) => {
    if (stack.looksForDuplicates === false) return;
    // The agent, which starts for each step here, then makes the network anew that it describes itself.
    const stays = stack.name !== 'direct';
    if (stays) namespace.script(`ip route add ${BY_HAND}`);
    try {
      await refuses(namespace, { a: { ...TAKEN, mtu: 1400 } }, isTaken);
    } finally {
      if (stays) namespace.script(`ip route del ${BY_HAND} || true`);
    }
  },

  'data that contradicts itself': async (namespace) => {
    const twice = [{ ip: '192.0.2.9', netmask: '24' }];
    const records = {
      a: { mac: ETH0, gateway: '192.0.2.9', ips: twice },
      b: { mac: ETH1, gateway: '192.0.2.1', ips: [{ ip: '192.0.2.9', netmask: '255.0.255.0' }] },
    };
    await refuses(namespace, records, ({ message }) => {
      assert.match(
        message,
        /^Invalid network data; nothing was changed: a: 192.0.2.9 is its own gateway; b: 'netmask'/,
      );
    });
  },

  'no data': async (namespace) => {
    await refuses(namespace, {}, ({ message }) => {
      assert.match(message, /^No network data in /);
    });
  },

  'a program that says that all is well and does nothing': async (namespace, stack) => {
    if (stack.applies === null) return;
    namespace.script(`mount --bind /usr/bin/true ${stack.applies}`);
    await refuses(namespace, OTHER.networking!, ({ message }) => {
      assert.match(message, /^Network was put back: wanted /);
    });
    namespace.script(`umount ${stack.applies}`);
  },

  'a program that hangs': async (namespace, stack) => {
    if (stack.applies === null) return;
    namespace.script(
      `printf '#!/bin/sh\\nexec sleep 1000\\n' > /tmp/hang; chmod 755 /tmp/hang; mount --bind /tmp/hang ${stack.applies}`,
    );
    await refuses(namespace, OTHER.networking!, ({ message }) => {
      assert.match(message, /^Network was put back: wanted .* took too long/);
    });
    namespace.script(`umount ${stack.applies}`);
  },

  'a full disk under the journal': async (namespace) => {
    await refusesWithoutSpace(namespace, '/var/lib/guestwire');
  },

  'a full disk under the configuration': async (namespace, stack) => {
    await refusesWithoutSpace(namespace, stack.files);
  },

  'files that are immutable': async (namespace, stack) => {
    await refusesBeforehand(namespace, stack, {
      seal: `find ${stack.files} -type f -exec chattr +i {} +`,
      unseal: `find ${stack.files} -type f -exec chattr -i {} +`,
      reason: 'it is immutable (chattr +i)',
    });
  },

  'files to which one may only append': async (namespace, stack) => {
    await refusesBeforehand(namespace, stack, {
      seal: `find ${stack.files} -type f -exec chattr +a {} +`,
      unseal: `find ${stack.files} -type f -exec chattr -a {} +`,
      reason: 'it is append-only (chattr +a)',
    });
  },

  'an immutable folder': async (namespace, stack) => {
    await refusesBeforehand(namespace, stack, {
      seal: `find ${stack.files} -type d -exec chattr +i {} +`,
      unseal: `find ${stack.files} -type d -exec chattr -i {} +`,
      reason: 'the directory that holds it is immutable (chattr +i)',
    });
  },

  'a read-only mount': async (namespace, stack) => {
    await refusesBeforehand(namespace, stack, {
      seal: `mount --bind ${stack.files} ${stack.files} && mount -o remount,bind,ro ${stack.files}`,
      // Whoever watches the folder still has it open.
      unseal: `umount -l ${stack.files}`,
      reason: 'the file system is read-only',
    });
  },

  'the agent killed while it changes files': async (namespace) => {
    for (const call of [0, 3, 6, 9, 12, 15, 18, 21, 24]) await survives(namespace, { of: 'files', call });
  },

  'the agent killed before each program': async (namespace) => {
    for (const call of [0, 1, 2, 3]) await survives(namespace, { of: 'programs', call });
  },
};

/** These leave another network behind. */
const OF_ONE_STACK: Readonly<Record<string, Readonly<Record<string, (namespace: Namespace) => Promise<void>>>>> = {
  ifupdown: { 'a device that was down and that no file brings up': isDownAgain },
  'ifupdown-ng': {
    'an address that no file has goes': async (namespace) => {
      namespace.script('ip address add 203.0.113.77/24 dev eth0');
      assert.deepEqual((await namespace.reset(OTHER)).reply, OK);
      await has(namespace, OTHER, 'and nothing else');
      assert.doesNotMatch(namespace.script('ip address show'), /203\.0\.113\.77/);
    },
  },
  NetworkManager: {
    'a device without a profile, which gets none by putting back': async (namespace) => {
      const { networking } = GOOD;
      assert.deepEqual((await namespace.reset({ networking: { public: networking!['525400AA0001'] } })).reply, OK);
      namespace.script(
        `cd /etc/NetworkManager && printf '[main]\\nno-auto-default=*\\n' > conf.d/hot-plug.conf && ` +
          `printf '[connection]\\nid=spare\\ntype=ethernet\\nautoconnect=false\\n' > system-connections/spare.nmconnection && ` +
          'chmod 600 system-connections/spare.nmconnection && nmcli general reload && nmcli connection reload',
      );
      const state = (): string => namespace.script('nmcli -g GENERAL.STATE,GENERAL.CONNECTION device show eth1');
      assert.match(state(), /^30 \(disconnected\)\s*$/);
      const eth1 = { mac: ETH1, ips: [{ ip: '10.9.9.9', netmask: '24' }] };
      // What NetworkManager notes of a device in /run comes late: its own words count.
      const profiles = (): string =>
        namespace.script('nmcli -g NAME,UUID connection show | sort; ls /etc/NetworkManager/system-connections');
      const before = profiles();
      isTaken((await namespace.reset({ networking: { a: TAKEN, b: eth1 } })).reply);
      assert.equal(profiles(), before);
      assert.match(state(), /^30 \(disconnected\)\s*$/);
    },
  },
};

async function refuses(namespace: Namespace, networking: Readonly<Record<string, unknown>>, check: Check) {
  const before = await settledSnapshot(namespace);
  const { reply } = await namespace.reset({ networking });
  // Of the command itself; the dispatcher makes 1 of a 500.
  assert.match(reply.returncode, /^(1|500)$/);
  check(reply);
  await comesBack(namespace, before);
}

async function isDownAgain(namespace: Namespace): Promise<void> {
  const { networking } = GOOD;
  assert.deepEqual((await namespace.reset({ networking: { public: networking!['525400AA0001'] } })).reply, OK);
  // Only one that was never up has no queue.
  namespace.script('ip link set eth1 up; ip link set eth1 down');
  await refuses(namespace, { a: TAKEN, b: { mac: ETH1, ips: [{ ip: '10.9.9.9', netmask: '24' }] } }, isTaken);
}

/** What keeps files from being changed, and goes again; `reason`: how the message ends. */
interface Seal {
  readonly seal: string;
  readonly unseal: string;
  readonly reason: string;
}

/** By the name of the file, before any program is run or an address or route is taken away. */
async function refusesBeforehand(
  namespace: Namespace,
  { files }: Stack,
  { seal, unseal, reason }: Seal,
): Promise<void> {
  namespace.script(seal);
  try {
    const watch = 'ip -o monitor address route > /tmp/changes 2>&1 & echo $!';
    const watcher = namespace.script(watch).trim();
    const { reply, programs } = await namespace.reset(OTHER);
    namespace.script(`kill ${watcher}`);
    const pattern = new RegExp(`^Could not write ${files}/\\S+: ${reason.replaceAll(/[()+]/g, '\\$&')}$`);
    assert.match(reply.message, pattern);
    assert.deepEqual(programs, []);
    // The start of the agent may set again what is there.
    assert.doesNotMatch(namespace.script('cat /tmp/changes'), /Deleted/);
  } finally {
    namespace.script(unseal);
  }
}

/** With `folder` on a disk of its own that has no room left. */
async function refusesWithoutSpace(namespace: Namespace, folder: string): Promise<void> {
  namespace.script(
    `mkdir /tmp/disk && mount -t tmpfs -o size=1m,mode=755 tmpfs /tmp/disk && cp -a ${folder}/. /tmp/disk && ` +
      `mount --move /tmp/disk ${folder} && rmdir /tmp/disk; cat /dev/zero > ${folder}/.fill 2>/dev/null; true`,
  );
  try {
    await refuses(namespace, OTHER.networking!, ({ message }) => {
      assert.match(message, /the disk is full/);
    });
  } finally {
    // Whoever watches the folder still has it open.
    namespace.script(`umount -l ${folder}`);
  }
}

/**
 * Dies in the middle of a change, which the next start undoes; a change that was confirmed before the end stays whole,
 * and is undone here, like one that was answered.
 */
async function survives(namespace: Namespace, dieAt: NonNullable<Step['dieAt']>): Promise<void> {
  const before = confirmed(namespace);
  const outcome = await namespace.step({ input: OTHER, dieAt });
  const when = `after the end at ${dieAt.of} ${dieAt.call}`;
  if (outcome === null) {
    const stays = confirmed(namespace) !== before;
    assert.deepEqual((await namespace.step({}))!.reply, OK);
    await has(namespace, stays ? OTHER : GOOD, when);
    if (!stays) return;
  } else assert.deepEqual(outcome.reply, OK);
  assert.deepEqual((await namespace.reset(GOOD)).reply, OK);
  await has(namespace, GOOD, when);
}

/** The change sets that were confirmed. */
function confirmed(namespace: Namespace): string {
  return namespace.script(
    'cd /var/lib/guestwire/network/backup || exit 1; grep -l \'"state": "confirmed"\' */manifest.json || true',
  );
}

async function has(namespace: Namespace, { wanted }: Input, when: string): Promise<void> {
  const kernel = await namespace.settles(wanted, 5000);
  assert.deepEqual(kernel.inWordsOf(wanted), normal(wanted), when);
}

suite('what goes wrong', { concurrency: 2 }, () => {
  for (const stack of stacksOf(RELEASE)) {
    test(stack.name, { timeout: 900_000 }, async (t) => {
      await using namespace = new Namespace(RELEASE, stack.kind);
      await stack.prepare(namespace);
      assert.deepEqual((await namespace.reset(GOOD)).reply, OK);
      const files = (): string => namespace.script(`cd ${stack.files} && find . -type f | sort | xargs sha256sum`);
      const before = files();
      for (const [name, drill] of Object.entries(DRILLS)) {
        await t.test(name, async () => {
          await drill(namespace, stack);
          await has(namespace, GOOD, 'the old network is back');
          assert.equal(files(), before, 'and its files');
        });
      }

      await t.test('a device that is plugged late is waited for', async () => {
        namespace.plug(false);
        const reset = namespace.reset(GOOD);
        await sleep(1000);
        namespace.plug(true);
        assert.deepEqual((await reset).reply, OK);
        await has(namespace, GOOD, 'both');
      });

      await t.test('a device that is not plugged at all is named', async () => {
        namespace.plug(false);
        const { reply } = await namespace.reset(GOOD);
        assert.match(reply.message, new RegExp(`^Configured eth0; not as wanted: .*Unknown interface MAC ${ETH1}`));
        namespace.plug(true);
      });

      for (const [name, drill] of Object.entries(OF_ONE_STACK[stack.name] ?? {})) {
        await t.test(name, () => drill(namespace));
      }
    });
  }
});
