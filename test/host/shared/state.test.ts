import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createState } from '../../../ts/host/shared/state.js';
import { createScratch, tree } from '../../support/scratch.js';

suite('the state directory', () => {
  test('what is not there is null, and removing it is quiet', async () => {
    await using scratch = await createScratch();
    const state = createState(scratch.state);
    assert.equal(await state.read('a.json'), null);
    await state.remove('a.json');
  });

  test('a text is kept whole, for root alone, until it is removed', async () => {
    await using scratch = await createScratch();
    const state = createState(scratch.state);
    await state.write('a.json', 'first');
    await state.write('a.json', 'second');
    assert.equal(await state.read('a.json'), 'second');
    assert.equal((await stat(join(scratch.state, 'a.json'))).mode & 0o777, 0o600);
    assert.equal((await stat(scratch.state)).mode & 0o777, 0o700);
    await state.remove('a.json');
    assert.deepEqual(await tree(scratch.state), []);
  });

  test('a directory that cannot be made is an error that names the file', async () => {
    await using scratch = await createScratch();
    await writeFile(scratch.state, '');
    await assert.rejects(createState(scratch.state).write('a.json', 'x'), {
      code: 'GW_FILE_FAILED',
      message: /a\.json/,
    });
  });

  test('a file grows where it is told to, what came after is cut off, and it is for root alone', async () => {
    await using scratch = await createScratch();
    const state = createState(scratch.state);
    assert.deepEqual(await state.list('up'), []);
    assert.equal(await state.readBytes('up/a', 0, 9), null);
    await state.writeBytes('up/a', 0, Buffer.from('abcdef'));
    await state.writeBytes('up/a', 3, Buffer.from('X'));
    await state.write('up/b', 'text');
    assert.equal((await state.readBytes('up/a', 0, 9))?.toString(), 'abcX');
    assert.equal((await state.readBytes('up/a', 1, 2))?.toString(), 'bc');
    assert.equal((await state.readBytes('up/a', 9, 2))?.length, 0);
    const files = await state.list('up');
    assert.deepEqual(
      files.map(({ name, size }) => [name, size]),
      [
        ['a', 4],
        ['b', 4],
      ],
    );
    assert.equal((await stat(join(scratch.state, 'up/a'))).mode & 0o777, 0o600);
    assert.equal((await stat(join(scratch.state, 'up'))).mode & 0o777, 0o700);
    await state.remove('up/a');
    assert.equal(await state.readBytes('up/a', 0, 9), null);
  });

  test('one at a time has a lock, also after a failure inside it', async () => {
    await using scratch = await createScratch();
    const events: string[] = [];
    let begun = (): void => undefined;
    const held = new Promise<void>((resolve) => (begun = resolve));
    const work = (name: string) => async (): Promise<void> => {
      events.push(`${name} begins`);
      begun();
      await sleep(20);
      events.push(`${name} ends`);
      if (name === 'a') throw new Error('a failed');
    };
    const [first, second] = [createState(scratch.state), createState(scratch.state)];
    const a = first.exclusively('network', work('a'));
    await Promise.race([held, a]);
    const results = await Promise.allSettled([a, second.exclusively('network', work('b'))]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['rejected', 'fulfilled'],
    );
    assert.deepEqual(events, ['a begins', 'a ends', 'b begins', 'b ends']);
  });
});
