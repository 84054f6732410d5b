/** What holds of every renderer, whatever the host asks for: random configurations, re-read by the readers. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { suite, test } from 'node:test';
import { diffArrays } from 'diff';
import fc from 'fast-check';
import { AgentError } from '../../ts/api/errors.js';
import { decide } from '../../ts/network/decide.js';
import {
  type InterfaceConfig,
  type NetworkFacts,
  type NetworkPlan,
  type Renderer,
  withChanges,
} from '../../ts/network/plan.js';
import { askedServers, hasAll } from '../../ts/network/resolvers/index.js';
import { RENDERERS } from '../../ts/network/renderers/index.js';
import { configurations } from './arbitrary.js';
import { CASES, casesOf, readTree } from './cases.js';
import { describe, described } from './describe.js';
import { READERS, type Reader } from './readers/index.js';

type Machine = Pick<NetworkFacts, 'files' | 'present' | 'resolver'>;

/** Where the renderer may start from: the systems of its golden cases, shown by their names. */
function machinesOf({ name }: Renderer): readonly Machine[] {
  if (!existsSync(join(CASES, name))) {
    return [{ files: new Map(), present: new Set(['/proc/sys/kernel/ostype']), resolver: 'other' }];
  }
  return casesOf(name).map(({ name: shown, facts: { files, present, resolver } }) =>
    Object.assign({ files, present, resolver }, { [fc.toStringMethod]: () => shown }),
  );
}

function factsOf(machine: Machine, interfaces: readonly InterfaceConfig[]): NetworkFacts {
  return { ...machine, interfaces, hostname: null, currentHostname: 'old' };
}

interface Outcome {
  readonly plan: NetworkPlan;
  readonly facts: NetworkFacts;
}

/** The plan, and the facts as they are once it was carried out; null when the renderer refuses. */
function carriedOut(renderer: Renderer, facts: NetworkFacts): Outcome | null {
  try {
    const plan = decide(facts, [renderer]);
    return { plan, facts: withChanges(facts, plan.files) };
  } catch (error) {
    if (error instanceof AgentError && error.code === 'GW_NETWORK_IMPOSSIBLE') return null;
    throw error;
  }
}

/** What makers of resolv.conf are told by where the renderer's own files do not tell them. */
const TELLING = [
  '/etc/resolv.conf',
  '/etc/systemd/resolved.conf.d/60-guestwire.conf',
  '/etc/resolvconf/resolv.conf.d/base',
  '/etc/resolvconf.conf',
  '/etc/NetworkManager/conf.d/zz-guestwire-dns.conf',
  '/etc/sysconfig/network/config',
];

function check(renderer: Renderer, reader: Reader, { facts }: Outcome): void {
  const { files, interfaces, resolver } = facts;
  const found = reader.read(files);
  for (const config of interfaces) {
    const read = found.get(config.nic.name) ?? { addresses: [], routes: [] };
    const wanted = reader.limited(describe(config));
    assert.deepEqual(described({ ...read, dns: [] }), described({ ...wanted, dns: [] }));
  }
  // Servers belong to the machine: stacks keep them at one interface, in one list, or leave them to others.
  const servers = [...new Set(interfaces.flatMap(({ dns }) => dns))];
  if (servers.length === 0) return;
  const kept = interfaces.flatMap(({ nic }) => found.get(nic.name)?.dns ?? []);
  const isFed = renderer.feeds(facts).includes(resolver);
  if (isFed) {
    assert.deepEqual(
      kept.filter((server) => !servers.includes(server)),
      [],
    );
  }
  if (!isFed && resolver === 'other') return;
  const told = [...kept, ...TELLING.flatMap((path) => (files.get(path) ?? '').split(/[\s=",]+/))];
  const asked = askedServers(facts);
  assert.ok(hasAll(told, asked), `${asked.join(' ')} with ${resolver}: nobody was told of some`);
}

/** Lines of `before` that are in `after` too, in order. */
function common(before: string, after: string): readonly string[] {
  return diffArrays(before.split('\n'), after.split('\n'))
    .filter(({ added, removed }) => !added && !removed)
    .flatMap(({ value }) => value);
}

for (const renderer of RENDERERS) {
  const reader = READERS[renderer.name];
  if (reader === undefined) continue;
  const machines = machinesOf(renderer);
  const machine = fc.constantFrom(...machines);

  suite(`${renderer.name}: random configurations`, () => {
    test('read back, they are what was wanted; a second run changes no file', () => {
      let [accepted, refused] = [0, 0];
      fc.assert(
        fc.property(machine, configurations, (start, interfaces) => {
          const facts = factsOf(start, interfaces);
          const after = carriedOut(renderer, facts);
          if (after === null) refused++;
          else accepted++;
          fc.pre(after !== null);
          check(renderer, reader, after);
          assert.deepEqual(decide(after.facts, [renderer]).files, []);
        }),
        { numRuns: 300 },
      );
      assert.ok(accepted > refused, `${refused} of ${accepted + refused} configurations are refused`);
    });

    test('nothing of an earlier configuration is left of an interface that is named again', () => {
      fc.assert(
        fc.property(machine, configurations, configurations, (start, earlier, interfaces) => {
          const between = carriedOut(renderer, factsOf(start, earlier));
          fc.pre(between !== null);
          const after = carriedOut(renderer, { ...between.facts, interfaces });
          fc.pre(after !== null);
          check(renderer, reader, after);
        }),
        { numRuns: 200 },
      );
    });

    const before = readTree(join(CASES, renderer.name, 'before'));
    if (before.size === 0) return;
    const { facts, at } = casesOf(renderer.name).find(({ name }) => name === 'public-and-private')!;
    const golden = readTree(at('after'));

    test('lines that do not speak of our interfaces stay, in order', () => {
      fc.assert(
        fc.property(configurations, (interfaces) => {
          const after = carriedOut(renderer, factsOf(facts, interfaces));
          fc.pre(after !== null);
          for (const [path, text] of before) {
            // What the golden case keeps, which configures both interfaces, is about neither of them.
            const kept = common(text, golden.get(path) ?? '').filter((line) => !/eth[01]/.test(line));
            assert.deepEqual(common(kept.join('\n'), after.facts.files.get(path) ?? ''), kept, path);
          }
        }),
      );
    });

    test('comments of others stay at the head and the foot of files that others may use too', () => {
      const shared = [...before].filter(([path]) => golden.has(path) && !/eth[01]/.test(basename(path)));
      const marked = shared.map(([path, text]): [string, string] => [path, `# above\n${text}# below\n`]);
      const files = new Map([...facts.files, ...marked]);
      fc.assert(
        fc.property(configurations, (interfaces) => {
          const after = carriedOut(renderer, factsOf({ ...facts, files }, interfaces));
          fc.pre(after !== null);
          for (const [path] of marked) {
            const lines: readonly string[] = (after.facts.files.get(path) ?? '').split('\n');
            assert.equal(lines[0], '# above', path);
            assert.ok(
              lines.some((line) => line.trim() === '# below'),
              path,
            );
          }
        }),
      );
    });

    test('what is added below ours stays when ours changes', () => {
      const shared = [...before.keys()].filter((path) => golden.has(path) && !/eth[01]/.test(basename(path)));
      fc.assert(
        fc.property(configurations, configurations, (earlier, interfaces) => {
          const between = carriedOut(renderer, factsOf(facts, earlier));
          fc.pre(between !== null);
          const added = shared.map((path): [string, string] => [
            path,
            `${between.facts.files.get(path) ?? ''}# later\n`,
          ]);
          const files = new Map([...between.facts.files, ...added]);
          const after = carriedOut(renderer, { ...between.facts, files, interfaces });
          fc.pre(after !== null);
          for (const path of shared) assert.match(after.facts.files.get(path) ?? '', /^\s*# later$/m, path);
        }),
      );
    });
  });
}

suite('all renderers', () => {
  test('have a reader', () => {
    assert.deepEqual(
      RENDERERS.filter(({ name }) => READERS[name] === undefined).map(({ name }) => name),
      [],
    );
  });
});
