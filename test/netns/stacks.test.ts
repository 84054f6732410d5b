/**
 * Every input on every stack, by the stack's own programs on two releases: the kernel ends in exactly the wanted state,
 * at once and after a cold start from the files; in the end a change back leaves nothing behind.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { inputNames, readInput } from '../network/inputs.js';
import { suites } from '../support/debian-root.js';
import { normal } from './kernel.js';
import { Namespace } from './namespace.js';
import { type Stack, stacksOf } from './stacks.js';

const FIRST = 'public-and-private';
const SETTLES_MS = 10_000;

async function walk(stack: Stack, release: string, step: (name: string, work: () => Promise<void>) => Promise<void>) {
  await using namespace = new Namespace(release, stack.kind);
  await stack.prepare(namespace);
  const reset = async (name: string): Promise<void> => {
    const input = readInput(name);
    const { reply, programs } = await namespace.reset(input);
    assert.deepEqual(reply, { returncode: '0', message: '' });
    const { runs } = stack;
    const ran = runs === null ? programs.length === 0 : programs.some((program) => runs.test(program));
    assert.ok(ran, programs.join('\n'));
    const kernel = await namespace.settles(input.wanted, 1000);
    assert.deepEqual(kernel.inWordsOf(input.wanted), normal(input.wanted), 'at once');
  };
  const files = (): string => namespace.script(`cd ${stack.files} && find . -type f | sort | xargs sha256sum`);

  let before = '';
  await step(FIRST, async () => {
    await reset(FIRST);
    before = files();
  });
  for (const name of inputNames()) {
    await step(name, async () => {
      await reset(name);
      const input = readInput(name);
      const again = await namespace.reset(input);
      assert.deepEqual(again.reply, { returncode: '0', message: '' });
      assert.deepEqual(again.programs, [], 'the same data again runs nothing');
      namespace.script(stack.off);
      namespace.strip();
      namespace.script(stack.on);
      const cold = await namespace.settles(input.wanted, SETTLES_MS);
      assert.deepEqual(cold.inWordsOf(input.wanted), normal(input.wanted), 'after a cold start');
    });
  }
  await step('another host name alone', async () => {
    const input = readInput(inputNames().at(-1) ?? FIRST);
    const { reply, programs, hostname } = await namespace.reset({ ...input, hostname: 'renamed' });
    assert.deepEqual(reply, { returncode: '0', message: '' });
    assert.equal(hostname, 'renamed');
    const others = programs.filter((program) => !program.includes('hostnamectl'));
    assert.deepEqual(others, [], 'takes no device down');
  });
  await step('and back', async () => {
    await reset(FIRST);
    assert.equal(files(), before);
  });
}

suite('resetnetwork by the real programs', { concurrency: 2 }, () => {
  for (const release of suites()) {
    for (const stack of stacksOf(release)) {
      test(`${stack.name} of ${release}`, { timeout: 900_000 }, async (t) => {
        let sound = true;
        await walk(stack, release, async (name, work) => {
          // After a failure the state is anybody's guess.
          if (!sound) return;
          sound = false;
          await t.test(name, async () => {
            await work();
            sound = true;
          });
        });
      });
    }
  }
});
