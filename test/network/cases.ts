/**
 * Golden cases: test/network/cases/<renderer>/<case>/{facts.json,before/,after/,actions.json}, each a tree of files.
 *
 * A case without facts.json is about the input of its own name; one without before/ starts from the renderer's own
 * `before/`. Paths that are there besides stand in the renderer's `present.json`.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Nic } from '../../ts/api/host.js';
import { decide } from '../../ts/network/decide.js';
import { type NetworkFacts, type NetworkPlan, type Resolver, withChanges } from '../../ts/network/plan.js';
import { RENDERERS } from '../../ts/network/renderers/index.js';
import { readWanted } from '../../ts/network/wanted/wanted.js';
import { ETH0, ETH1, type Input, nic, publishedBy, readInput } from './inputs.js';

export const CASES = 'test/network/cases';

/** facts.json */
interface Given {
  /** Name of an input, instead of `networking` and the like. */
  readonly input?: string;
  readonly networking?: Readonly<Record<string, unknown>>;
  readonly networks?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly hostname?: string;
  /** eth0 and eth1 when absent; what is not said of one is as `nic` has it. */
  readonly nics?: readonly (Partial<Nic> & Pick<Nic, 'name' | 'mac'>)[];
  readonly currentHostname?: string;
  readonly present?: readonly string[];
  /** `file` when absent and before/ has a resolv.conf, else `other`. */
  readonly resolver?: Resolver;
}

export interface Case {
  readonly renderer: string;
  readonly name: string;
  readonly facts: NetworkFacts;
  /** Null when the case is about none. */
  readonly input: Input | null;
  readonly at: (file: string) => string;
}

export function readTree(directory: string): Map<string, string> {
  if (!existsSync(directory)) return new Map();
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    entries.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [`/${relative(directory, path)}`, readFileSync(path, 'utf8')];
    }),
  );
}

export function casesOf(renderer: string): readonly Case[] {
  const own = join(CASES, renderer);
  const present = (readJson(join(own, 'present.json')) ?? []) as readonly string[];
  return readdirSync(own, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'before')
    .map(({ name }) => {
      const at = (file: string): string => join(own, name, file);
      const given = (readJson(at('facts.json')) ?? { input: name }) as Given;
      const before = readTree(existsSync(at('before')) ? at('before') : join(own, 'before'));
      const input = given.input === undefined ? null : readInput(given.input);
      return { renderer, name, facts: factsOf({ ...input, present, ...given }, before), input, at };
    });
}

export function factsOf(given: Given, files: ReadonlyMap<string, string>): NetworkFacts {
  const nics = given.nics?.map((one) => nic(one.name, one.mac, one)) ?? [ETH0, ETH1];
  const { interfaces, errors } = readWanted(publishedBy(given), nics);
  if (errors.length > 0) throw new Error(errors.join('; '));
  return {
    interfaces,
    hostname: given.hostname ?? null,
    currentHostname: given.currentHostname ?? 'old',
    files,
    present: new Set(given.present),
    resolver: given.resolver ?? (files.has('/etc/resolv.conf') ? 'file' : 'other'),
  };
}

export function planOf(facts: NetworkFacts): NetworkPlan {
  return decide(facts, RENDERERS);
}

/** The facts as they are once the plan was carried out. */
export function carriedOut(facts: NetworkFacts): NetworkFacts {
  return { ...withChanges(facts, planOf(facts).files), currentHostname: facts.hostname ?? facts.currentHostname };
}

function readJson(path: string): unknown {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null;
}
