/** What fails while a change is carried out, wherever: the guest has its old network, and hears what it has. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentError } from '../../../ts/api/errors.js';
import { apply } from '../../../ts/network/act/apply.js';
import { begin, recoverNetwork } from '../../../ts/network/act/interrupted.js';
import { perform, putBack } from '../../../ts/network/act/perform.js';
import { INTERRUPTED } from '../../../ts/network/act/unfinished.js';
import { validate } from '../../../ts/network/act/validate.js';
import { DESCRIPTION, describeInterfaces } from '../../../ts/network/formats/description.js';
import type { Action, Check, NetworkPlan } from '../../../ts/network/plan.js';
import { createScratch } from '../../support/scratch.js';
import { ETH0 } from '../inputs.js';
import { BOOT_ID, FACTS, Machine, OPTIONS, PLAN, TIMED_OUT, live, route } from './machine.js';

const OLD_TEXT = '{"version": 1, "interfaces": []}\n';
const run = (program: string): Action => ({ type: 'run', argv: [program], onFailure: 'report' });

/** A machine with the old network; `prepare` says what goes wrong there. */
async function machine(prepare: (machine: Machine, root: string) => void): Promise<Machine> {
  const scratch = await createScratch();
  await scratch.write(DESCRIPTION, OLD_TEXT);
  await scratch.write(BOOT_ID, 'the first\n');
  const made = new Machine(scratch);
  made.programs.set('down', () => Promise.resolve((made.addresses = [])));
  made.programs.set('up', () => Promise.resolve((made.addresses = [live('192.0.2.9/24')])));
  prepare(made, scratch.root);
  return made;
}

async function failure(made: Machine, plan: NetworkPlan = PLAN): Promise<AgentError> {
  const error: unknown = await apply(plan, FACTS, made.host, OPTIONS).then(
    () => 'it did not fail',
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof AgentError, String(error));
  return error;
}

/** As by somebody's hook: the folder of the old file is gone. */
async function loseFolder(root: string): Promise<void> {
  await rm(join(root, 'etc/guestwire'), { recursive: true });
  await writeFile(join(root, 'etc/guestwire'), '');
}

suite('a change of the network that fails', () => {
  test('is undone live where its files cannot be put back, and the answer names them', async () => {
    await using made = await machine((one, root) => {
      one.programs.set('up', async () => {
        await loseFolder(root);
      });
    });
    const { code, message } = await failure(made);
    assert.equal(code, 'GW_NETWORK_NOT_BACK');
    assert.match(
      message,
      /^Network is not as before \(\/etc\/guestwire\/network\.json is not put back: .+\): wanted 192\.0\.2\.9\/24 on eth0, got none$/,
    );
    assert.deepEqual(made.addresses, [live('192.0.2.4/24')], 'what was live is back');
    assert.notEqual(await made.host.state.read(INTERRUPTED), null, 'the next start tries again');
  });

  test('is undone where what came of it cannot be read', async () => {
    await using made = await machine((one) => {
      one.programs.set('up', () => Promise.resolve((one.broken.reads = 1)));
    });
    const { message } = await failure(made);
    assert.equal(message, 'Network was put back: wanted the change carried out, got the kernel does not answer');
    assert.deepEqual(made.addresses, [live('192.0.2.4/24')]);
    assert.equal(await made.host.files.readText(DESCRIPTION), OLD_TEXT);
    assert.equal(await made.host.state.read(INTERRUPTED), null);
    assert.deepEqual(
      await made.host.files.recover('network'),
      { restored: [], left: [] },
      'nothing waits for the next start',
    );
  });

  test('is no success of putting back where only the files are as before', async () => {
    await using made = await machine((one, root) => {
      one.programs.set('down', async () => {
        one.addresses = [];
        one.broken.changes = 1;
        await loseFolder(root);
      });
    });
    const { code, message } = await failure(made);
    assert.equal(code, 'GW_NETWORK_NOT_BACK');
    assert.match(
      message,
      /^Network is not as before \(gone: 192\.0\.2\.4\/24 on eth0 .*\): wanted the change carried out, got Could not write /,
    );
  });

  test('on a copy of a system leaves its old files', async () => {
    await using made = await machine(() => undefined);
    const host = {
      ...made.host,
      live: false,
      network: { ...made.host.network, hostname: () => Promise.reject(new Error('the disk is broken')) },
    };
    await assert.rejects(apply(PLAN, FACTS, host, OPTIONS), /the disk is broken/);
    assert.equal(await host.files.readText(DESCRIPTION), OLD_TEXT);
    assert.equal(await host.state.read(INTERRUPTED), null);
  });
});

suite('an agent that ends', () => {
  test('while the plan is looked at has nothing to undo', async () => {
    await using made = await machine((one) => {
      // The next agent starts there.
      one.programs.set('look', () => recoverNetwork(one.host, OPTIONS));
    });
    assert.equal(await apply({ ...PLAN, checks: [{ argv: ['look'] }] }, FACTS, made.host, OPTIONS), 'changed');
    assert.deepEqual(made.runs, ['look', 'down', 'up']);
  });

  for (const [when, id, runs] of [
    ['in the same boot is followed by one that undoes its change', 'the first\n', ['up again']],
    ['with the machine is followed by one that leaves the new boot alone', 'the second\n', []],
  ] as const) {
    test(when, async () => {
      await using made = await machine(() => undefined);
      const old = { nics: [ETH0], addresses: [live('192.0.2.4/24')], routes: [] };
      await begin(made.host, { nics: ['eth0'], live: old, files: PLAN.files, restore: PLAN.restore });
      await made.scratch.write(BOOT_ID, id);
      made.addresses = [live('192.0.2.77/24')];
      await recoverNetwork(made.host, OPTIONS);
      assert.deepEqual(made.runs, runs);
      const [{ address } = live('')] = made.addresses;
      assert.equal(address, runs.length > 0 ? '192.0.2.4' : '192.0.2.77');
      assert.equal(await made.host.state.read(INTERRUPTED), null);
    });
  }
});

suite('what counts as back', () => {
  const old = {
    nics: [ETH0],
    addresses: [live('192.0.2.4/24'), live('192.0.2.5/24')],
    routes: [route('10.0.0.0/8', '192.0.2.1')],
  };
  const differing: Readonly<Record<string, (machine: Machine) => void>> = {
    'an MTU': (one) => (one.nics = [{ ...ETH0, mtu: 1400 }]),
    'a device that was down': (one) => (one.nics = [{ ...ETH0, up: !ETH0.up }]),
    'a route that somebody has set by hand': (one) => (one.routes = []),
    'a route that was not there': (one) => (one.routes = [...old.routes, route('172.16.0.0/12', '192.0.2.1')]),
    'which address is the first one': (one) => (one.addresses = old.addresses.toReversed()),
  };
  for (const [what, differ] of Object.entries(differing)) {
    test(`${what}: it is set as it was`, async () => {
      await using made = new Machine(await createScratch());
      Object.assign(made, old);
      differ(made);
      assert.equal(await putBack(['eth0'], old, made.host, OPTIONS.log, 200, true), null);
      assert.deepEqual(made.nics, old.nics);
      assert.deepEqual(made.addresses, old.addresses);
      assert.deepEqual(
        made.routes.map(({ network }) => network),
        old.routes.map(({ network }) => network),
      );
    });
  }

  test('a device that was down is set down, with the addresses that it had', async () => {
    await using made = new Machine(await createScratch());
    const before = { nics: [{ ...ETH0, up: false }], addresses: [live('192.0.2.4/24')], routes: [] };
    made.addresses = [live('192.0.2.77/24')];
    assert.equal(await putBack(['eth0'], before, made.host, OPTIONS.log, 200, false), null);
    assert.deepEqual([made.nics, made.addresses], [before.nics, before.addresses]);
    assert.ok(!made.changes.some(({ type }) => type === 'up'), 'nor is it up in between');
  });

  test('a device that was down, and that the old files bring up, is left to these', async () => {
    await using made = await machine((one) => {
      one.nics = [{ ...ETH0, up: false }];
      one.addresses = [];
      one.programs.set('up', () => Promise.resolve());
      // What the boot does meanwhile.
      one.programs.set('up again', () => {
        one.nics = [ETH0];
        one.addresses = [live('192.0.2.4/24')];
        return Promise.resolve();
      });
    });
    const files = new Map([[DESCRIPTION, describeInterfaces(FACTS.interfaces)]]);
    const error: unknown = await apply(PLAN, { ...FACTS, files }, made.host, OPTIONS).catch(
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof AgentError && error.code === 'GW_NETWORK_MISMATCH', String(error));
    assert.deepEqual([made.nics, made.addresses], [[ETH0], [live('192.0.2.4/24')]]);
    assert.deepEqual(made.changes, []);
  });

  const bare: Readonly<Record<string, readonly [plan: NetworkPlan, path: string, text: string]>> = {
    'to which the old files give no address': [
      { ...PLAN, renderer: 'ifupdown', restore: [{ type: 'run', argv: ['up again'], onFailure: 'report' }] },
      '/etc/network/interfaces',
      'auto eth0\niface eth0 inet manual\n',
    ],
    'which no program of the old files brings up': [
      { ...PLAN, restore: [] },
      DESCRIPTION,
      describeInterfaces(FACTS.interfaces),
    ],
  };
  for (const [which, [plan, path, text]] of Object.entries(bare)) {
    test(`a device that was down, and ${which}, is set down again`, async () => {
      await using made = await machine((one) => {
        one.nics = [{ ...ETH0, up: false }];
        one.addresses = [];
        const half = (): Promise<void> => {
          one.nics = [ETH0];
          one.addresses = [live('192.0.2.77/24')];
          return Promise.resolve();
        };
        one.programs.set('up', half);
        one.programs.set('up again', half);
      });
      const files = new Map([[path, text]]);
      const error: unknown = await apply(plan, { ...FACTS, files }, made.host, OPTIONS).catch(
        (thrown: unknown) => thrown,
      );
      assert.ok(error instanceof AgentError && error.code === 'GW_NETWORK_MISMATCH', String(error));
      assert.deepEqual([made.nics, made.addresses], [[{ ...ETH0, up: false }], []]);
    });
  }

  test('a device that is gone does not keep another one from coming back', async () => {
    await using made = new Machine(await createScratch());
    const gone = { ...ETH0, name: 'eth1' };
    Object.assign(made, { addresses: [] });
    const both = {
      ...old,
      nics: [ETH0, gone],
      addresses: [{ ...live('192.0.2.8/24'), nic: 'eth1' }, ...old.addresses],
    };
    const difference = await putBack(['eth1', 'eth0'], both, made.host, OPTIONS.log, 200, true);
    assert.match(
      difference ?? '',
      /^gone: an MTU of 1500 on eth1, eth1 up, 192\.0\.2\.8\/24 on eth1 without a lifetime$/,
    );
    assert.deepEqual(made.addresses, old.addresses);
  });
});

suite('programs that hang or warn', () => {
  test('on the way back one that hangs leaves the others their time', async () => {
    let left = 0;
    await using made = await machine((one) => {
      one.programs.set('hangs', async ({ timeout = 0 }) => {
        await sleep(timeout);
        return TIMED_OUT;
      });
      one.programs.set('second', ({ timeout = 0 }) => {
        left = timeout;
        return Promise.resolve();
      });
    });
    const old = { nics: [ETH0], addresses: made.addresses, routes: [] };
    await begin(made.host, { nics: ['eth0'], live: old, files: [], restore: ['hangs', 'second'].map(run) });
    await recoverNetwork(made.host, OPTIONS);
    assert.deepEqual(made.runs, ['hangs', 'second']);
    assert.ok(left >= OPTIONS.programTimeoutMs / 2, String(left));
  });

  test('looks at a plan share their time, and one that does not end is no refusal', async () => {
    await using made = await machine((one) => {
      for (const name of ['first', 'second']) {
        one.programs.set(name, async ({ timeout = 0 }) => {
          await sleep(timeout);
          return TIMED_OUT;
        });
      }
    });
    const checks: readonly Check[] = [{ argv: ['first'] }, { argv: ['second'] }];
    const started = Date.now();
    assert.deepEqual(await validate({ ...PLAN, checks }, made.host, 300), [
      'first cannot check what is planned: it took too long',
      'second cannot check what is planned: there was no time left',
    ]);
    assert.deepEqual(made.runs, ['first'], `after ${Date.now() - started} ms`);
  });

  const NETPLAN = `
** (generate:7): WARNING **: 12:00:00.000: \`gateway4\` has been deprecated, use default routes instead.
See the 'Default routes' section of the documentation for more details.
/etc/netplan/10-site.yaml:3:20: Error in network definition: office: interface 'nowhere' is not defined
    office: { id: 3, link: nowhere }
                           ^
`;
  const PLAIN = 'warning: option is deprecated\nifup: interface eth0 is unknown\n';
  for (const [stderr, reason] of [
    [
      NETPLAN,
      "/etc/netplan/10-site.yaml:3:20: Error in network definition: office: interface 'nowhere' is not defined",
    ],
    [PLAIN, 'ifup: interface eth0 is unknown'],
    ['warning: nothing else\n', 'warning: nothing else'],
  ] as const) {
    test(`of what they say the reason is told: ${reason.slice(-40)}`, async () => {
      await using made = await machine((one) => {
        for (const name of ['look', 'up']) one.programs.set(name, () => Promise.resolve({ code: 1, stderr }));
      });
      const refused = await failure(made, { ...PLAN, checks: [{ argv: ['look'] }] });
      assert.deepEqual([refused.code, refused.args], ['GW_NETWORK_REFUSED', ['look', reason]]);
      const performing = { host: made.host, log: OPTIONS.log, interfaces: [], programTimeoutMs: 400 };
      assert.equal(await perform([run('up')], performing), `up ended with 1: ${reason}`);
    });
  }
});
