import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Secret, type State } from '../../ts/api/index.js';
import { createState } from '../../ts/host/shared/state.js';
import { fakeHost } from '../../ts/testing/index.js';
import { createScratch } from '../support/scratch.js';

/** What a state directory tells after each of some steps. */
async function steps(state: State): Promise<readonly unknown[]> {
  const seen: unknown[] = [await state.read('none'), await state.list('none'), await state.readBytes('none', 0, 5)];
  const look = async (): Promise<void> => {
    const listed = await state.list('mine');
    seen.push(listed.map(({ name, size }) => [name, size]));
    seen.push(await state.read('mine/a'));
    for (const [offset, length] of [
      [0, 3],
      [2, 100],
      [50, 1],
    ] as const) {
      seen.push((await state.readBytes('mine/a', offset, length))?.toString());
    }
  };
  await state.write('mine/a', 'hello');
  await state.write('mine/b', '');
  await look();
  await state.writeBytes('mine/a', 3, Buffer.from('p!'));
  await look();
  await state.writeBytes('mine/a', 1, Buffer.from(''));
  await state.writeBytes('mine/new', 0, Buffer.from('x'));
  await look();
  await state.remove('mine/a');
  await state.remove('mine/a');
  await look();
  return seen;
}

test('the state in memory does as the real one', async () => {
  await using scratch = await createScratch();
  assert.deepEqual(await steps(fakeHost().state), await steps(createState(scratch.state)));
});

test('a lock of the state lets one work at a time, also after one that failed', async () => {
  const { state } = fakeHost();
  const events: string[] = [];
  const work = (name: string, fails: boolean) => async (): Promise<void> => {
    events.push(`${name} begins`);
    await new Promise(setImmediate);
    events.push(`${name} ends`);
    if (fails) throw new Error(name);
  };
  const first = state.exclusively('lock', work('first', true));
  const second = state.exclusively('lock', work('second', false));
  await assert.rejects(first);
  await second;
  assert.deepEqual(events, ['first begins', 'first ends', 'second begins', 'second ends']);
});

test('network and accounts record what they are asked for, and nobody can log in by a fake hash', async () => {
  const host = fakeHost({ hostname: 'old', live: false });
  assert.equal(host.live, false);
  await host.network.setHostname('new');
  await host.network.setIpv6('eth0', { forwarding: true });
  await host.network.setIpv6('eth0', { advertisements: 'ignored' });
  await host.network.change([{ type: 'up', nic: 'eth0' }]);
  assert.equal(await host.network.hostname(), 'new');
  assert.deepEqual([...host.ipv6], [['eth0', { forwarding: true, advertisements: 'ignored' }]]);
  assert.deepEqual(await host.network.ipv6Settings('eth0'), host.ipv6.get('eth0'));
  assert.deepEqual(host.linkChanges, [{ type: 'up', nic: 'eth0' }]);
  assert.deepEqual([await host.network.nics(), await host.network.live()], [[], { addresses: [], routes: [] }]);
  const hash = await host.accounts.hashPassword(new Secret(Buffer.from('secret')), 'sha512');
  assert.ok(!hash.includes('secret'));
  const secret = new Secret(Buffer.from('secret'));
  assert.deepEqual(await host.accounts.setPassword('root', secret, { unlock: 'always' }), []);
  assert.deepEqual([...host.passwords], [['root', 'secret']]);
  assert.deepEqual(await host.accounts.loginState('root'), { refused: [], remarks: [], locked: false });
  await (await host.accounts.lock())[Symbol.asyncDispose]();
});
