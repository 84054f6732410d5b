/**
 * Random systems by their real consumers: after a reset, at once and after a power cycle without the agent, the network is
 * as wanted, and that of a device which the host does not name as before; or the reset was refused, and all is as before.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { type Input, inputNames, readInput } from '../network/inputs.js';
import { GRAMMARS } from '../network/systems/index.js';
import type { Grammar, System } from '../network/systems/system.js';
import { suites } from '../support/debian-root.js';
import { fileIn } from './boots.js';
import { normal } from './kernel.js';
import { Namespace } from './namespace.js';
import { type Stack, stackNamed } from './stacks.js';

/** `GUESTWIRE_NETWORK=full`: more of them. */
const EACH = process.env['GUESTWIRE_NETWORK'] === 'full' ? 25 : 5;
const SEED = 1117;
const SETTLES_MS = 60_000;
const LIMIT_MS = 600_000;

interface Drawn {
  readonly system: System;
  readonly input: Input;
}

function drawnOf(grammar: Grammar): readonly Drawn[] {
  // Nobody serves DHCP or advertisements here.
  const inputs = inputNames()
    .map(readInput)
    .filter(({ wanted }) => Object.values(wanted).every(({ dhcp4, auto6 }) => !dhcp4 && auto6 === undefined));
  const one = fc.record({ system: grammar.systems(true), input: fc.constantFrom(...inputs) });
  return fc.sample(one, { numRuns: EACH, seed: SEED });
}

async function walk(stack: Stack, release: string, { system, input }: Drawn): Promise<void> {
  await using namespace = new Namespace(release, stack.kind);
  // /lib is a link in there.
  const all = Object.entries(system.files).map(
    ([path, text]) => [path.replace(/^\/lib\//, '/usr/lib/'), text] as const,
  );
  const early = all.filter(([path]) => path.startsWith('/run/')).map(([path, text]) => fileIn(path, text));
  const kept = Object.fromEntries(all.filter(([path]) => !path.startsWith('/run/')));
  await stack.prepare(namespace, { ...kept, '/etc/initramfs': early.join('\n') });
  // A system made at random need not come up whole.
  const turnOn = (): boolean =>
    namespace.isBooted || namespace.script(`if ( ${stack.on} ) >&2; then echo whole; fi`).includes('whole');
  const cameWhole = turnOn();
  const before = await still(namespace);
  const files = (): string => {
    const folders = [stack.files, ...Object.keys(kept)].join("' '");
    return namespace.script(`find '${folders}' -type f -o -type l | sort -u | xargs -r -d '\\n' sha256sum`);
  };
  const old = files();
  const { reply, programs } = await namespace.reset(input);
  const [, configured = ''] = /^Configured ([^;]*); not as wanted: /.exec(reply.message) ?? [];
  if (reply.returncode !== '0' && configured === '') {
    assert.match(reply.message, /nothing was changed/);
    assert.deepEqual(programs, [], 'what is refused runs nothing');
    assert.deepEqual([files(), namespace.kernel().interfaces], [old, before]);
    return;
  }
  // What the host wants of a device that guestwire has to leave alone is not done, and the device is as before.
  const named = reply.returncode === '0' ? Object.keys(input.wanted) : configured.split(' ');
  const others = Object.fromEntries(Object.entries(before).filter(([name]) => !named.includes(name)));
  const isNamed = ([name]: readonly [string, unknown]): boolean => named.includes(name);
  const ours = Object.fromEntries(Object.entries(normal(input.wanted)).filter(isNamed));
  const wanted = { ...ours, ...others };
  const look = (): Readonly<Record<string, unknown>> => {
    const kernel = namespace.kernel();
    const words = kernel.inWordsOf(input.wanted);
    return Object.fromEntries(
      Object.entries(kernel.interfaces).map(([name, one]) => [name, named.includes(name) ? words[name] : one]),
    );
  };
  const lookAtOurs = (): unknown => Object.fromEntries(Object.entries(look()).filter(isNamed));
  await settles(look, wanted, 'at once');
  await namespace.powerCycle();
  turnOn();
  // What one device wants may have kept another one from coming up: without it that one is more than before.
  if (cameWhole) await settles(look, wanted, 'after a power cycle');
  else await settles(lookAtOurs, ours, 'after a power cycle');
  const again = await namespace.reset(input);
  assert.deepEqual(again.reply, reply);
  assert.deepEqual(again.programs, [], 'the same data again runs nothing');
}

/** What the kernel shows once it has not changed for a while. */
async function still(namespace: Namespace): Promise<ReturnType<Namespace['kernel']>['interfaces']> {
  let last = namespace.kernel().interfaces;
  for (let same = 0; same < 10;) {
    await sleep(200);
    const now = namespace.kernel().interfaces;
    same = isDeepStrictEqual(now, last) ? same + 1 : 0;
    last = now;
  }
  return last;
}

async function settles(look: () => unknown, wanted: unknown, when: string): Promise<void> {
  const end = Date.now() + SETTLES_MS;
  while (!isDeepStrictEqual(look(), wanted) && Date.now() < end) await sleep(100);
  assert.deepEqual(look(), wanted, when);
}

suite('random systems by their real consumers', { concurrency: 2 }, () => {
  const [release = ''] = suites();
  for (const grammar of GRAMMARS) {
    for (const [index, drawn] of drawnOf(grammar).entries()) {
      test(`${grammar.stack}, number ${index + 1}: ${drawn.input.what}`, { timeout: LIMIT_MS }, async (t) => {
        t.diagnostic(JSON.stringify(drawn.system.files));
        await walk(stackNamed(grammar.stack), release, drawn);
      });
    }
  }
});
