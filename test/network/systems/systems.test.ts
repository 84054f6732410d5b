/**
 * A thousand random systems with random host data, on disk: each is as wanted by the proof of a boot,
 * and a second time it is right already; or it was refused, and is exactly as before.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { pino } from 'pino';
import { AgentError } from '../../../ts/api/errors.js';
import type { Host } from '../../../ts/api/host.js';
import { type Outcome, apply } from '../../../ts/network/act/apply.js';
import { inspect } from '../../../ts/network/act/gather.js';
import { decide } from '../../../ts/network/decide.js';
import type { InterfaceConfig, NetworkFacts } from '../../../ts/network/plan.js';
import { compareBoot } from '../../../ts/network/proof.js';
import { RENDERERS } from '../../../ts/network/renderers/index.js';
import { createScratch } from '../../support/scratch.js';
import { createScratchHost } from '../../support/scratch-host.js';
import { configurations } from '../arbitrary.js';
import { GRAMMARS } from './index.js';
import type { Grammar, System } from './system.js';

const EACH = 250;
const SEED = 17;
const REFUSALS = ['GW_NETWORK_IMPOSSIBLE', 'GW_NETWORK_BOOT', 'GW_NETWORK_INVALID'];
const LIMITS = { log: pino({ level: 'silent' }), verifyTimeoutMs: 1000, programTimeoutMs: 1000 };

function make(root: string, { present }: Grammar, { files }: System): void {
  for (const entry of readdirSync(root)) rmSync(join(root, entry), { recursive: true });
  const all = { ...Object.fromEntries(present.map((path) => [path, '\n'])), ...files };
  for (const [path, text] of Object.entries(all)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    if (text === '') symlinkSync('/dev/null', join(root, path));
    // NetworkManager reads no other profile.
    else writeFileSync(join(root, path), text, { mode: path.includes('/system-connections/') ? 0o600 : 0o644 });
  }
}

function treeOf(root: string): ReadonlyMap<string, string> {
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((path) => [path.slice(root.length), readFileSync(path, 'utf8')]),
  );
}

async function factsOf(host: Host, interfaces: readonly InterfaceConfig[]): Promise<NetworkFacts> {
  return { ...(await inspect(host, RENDERERS)), interfaces, hostname: null };
}

async function reset(host: Host, interfaces: readonly InterfaceConfig[]): Promise<Outcome> {
  const facts = await factsOf(host, interfaces);
  return apply(decide(facts, RENDERERS), facts, host, LIMITS);
}

suite('random systems', () => {
  for (const grammar of GRAMMARS) {
    test(`${grammar.renderer}: ${EACH} of them end as wanted or exactly as before`, async (t) => {
      await using scratch = await createScratch();
      const bare = createScratchHost(scratch);
      const host: Host = { ...bare, network: { ...bare.network, hostname: () => Promise.resolve('old') } };
      const renderer = RENDERERS.find(({ name }) => name === grammar.renderer)!;
      const refused = new Map<string, number>();
      await fc.assert(
        fc.asyncProperty(grammar.systems(false), configurations, async (system, interfaces) => {
          make(scratch.root, grammar, system);
          const before = treeOf(scratch.root);
          try {
            await reset(host, interfaces);
          } catch (error) {
            if (!(error instanceof AgentError) || !REFUSALS.includes(error.code)) throw error;
            refused.set(error.code, (refused.get(error.code) ?? 0) + 1);
            assert.deepEqual(treeOf(scratch.root), before, `refused with: ${error.message}`);
            return;
          }
          const changed = treeOf(scratch.root);
          assert.equal(compareBoot(await factsOf(host, interfaces), renderer), null);
          assert.equal(await reset(host, interfaces), 'unchanged', 'a second time');
          assert.deepEqual(treeOf(scratch.root), changed, 'a second time');
        }),
        { numRuns: EACH, seed: SEED, includeErrorInReport: true },
      );
      const sum = [...refused.values()].reduce((one, other) => one + other, 0);
      t.diagnostic(`${EACH - sum} as wanted; refused: ${JSON.stringify(Object.fromEntries(refused))}`);
      assert.ok(sum < EACH * 0.6, `${sum} of ${EACH} were refused`);
    });
  }
});
