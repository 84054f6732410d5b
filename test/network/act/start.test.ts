/** What the agent sets at its start by its own description. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { startNetwork } from '../../../ts/network/act/start.js';
import { decide } from '../../../ts/network/decide.js';
import { DESCRIPTION, describeInterfaces } from '../../../ts/network/formats/description.js';
import { RENDERERS } from '../../../ts/network/renderers/index.js';
import { createScratch } from '../../support/scratch.js';
import { ETH0 } from '../inputs.js';
import { FACTS, Machine, OPTIONS } from './machine.js';

suite('what is described', () => {
  test('ends with the reset in which another stack takes over, and stays with its own', () => {
    const files = new Map([[DESCRIPTION, describeInterfaces(FACTS.interfaces)]]);
    const there = ['/etc/init.d/net.lo', '/lib/netifrc', '/run/openrc/started/net.eth0'];
    const paths = (present: readonly string[]): readonly string[] =>
      decide({ ...FACTS, files, present: new Set(present) }, RENDERERS)
        .files.filter(({ type }) => type === 'remove')
        .map(({ path }) => path);
    assert.deepEqual(paths(there), [DESCRIPTION]);
    assert.deepEqual(paths([]), []);
  });

  test('goes to the paravirtual device of two with one MAC, as in a reset', async () => {
    await using made = new Machine(await createScratch());
    await made.scratch.write(DESCRIPTION, describeInterfaces(FACTS.interfaces));
    // A virtual function, which the kernel lists first.
    made.nics = [{ ...ETH0, name: 'enP1s1', index: 9, driver: 'mlx5_core', master: null }, ETH0];
    await startNetwork(made.host, OPTIONS);
    assert.deepEqual([...new Set(made.changes.map(({ nic }) => nic))], ['eth0']);
  });

  test('takes nothing from a device that has the name now', async () => {
    await using made = new Machine(await createScratch());
    await made.scratch.write(DESCRIPTION, describeInterfaces(FACTS.interfaces));
    made.nics = [{ ...ETH0, mac: '52:54:00:aa:00:77' }];
    await startNetwork(made.host, OPTIONS);
    assert.deepEqual(made.changes, []);
  });
});
