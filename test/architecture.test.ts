/** The house keeps its order: what imports what, of all that is below ts/. docs/architecture.md has the rooms. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import ts from 'typescript';

/** Rooms from the bottom up. One imports of the rooms before it, and of its own; those of one line not of each other. */
const FLOORS: readonly (readonly string[])[] = [
  ['api', 'host/shared/runtime'],
  ['agent'],
  ['accounts', 'crypto', 'report', 'network'],
  ['commands', 'communication', 'host'],
  ['daemon', 'controller'],
  ['cli', 'testing'],
  ['main.ts'],
];

/** Each file's imports, both as paths below ts/; types count as well. */
type Graph = ReadonlyMap<string, readonly string[]>;

function readGraph(root: string): Graph {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  return new Map(
    files.map((file) => {
      const { importedFiles } = ts.preProcessFile(readFileSync(join(root, file), 'utf8'));
      const own = importedFiles.map(({ fileName }) => fileName).filter((name) => name.startsWith('.'));
      return [file, own.map((name) => join(dirname(file), name).replace(/\.js$/, '.ts'))];
    }),
  );
}

/** Groups of files of which each leads to each other. */
function circles(graph: Graph): readonly (readonly string[])[] {
  const reached = new Map([...graph.keys()].map((file) => [file, reachable(graph, file)]));
  const found: string[][] = [];
  for (const [file, others] of reached) {
    if (!others.has(file) || found.some((circle) => circle.includes(file))) continue;
    found.push([...others].filter((other) => reached.get(other)?.has(file) === true).sort());
  }
  return found;
}

function reachable(graph: Graph, from: string): ReadonlySet<string> {
  const reached = new Set<string>();
  const open = [...(graph.get(from) ?? [])];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (reached.has(file)) continue;
    reached.add(file);
    open.push(...(graph.get(file) ?? []));
  }
  return reached;
}

/** Imports of a room above, or beside. */
function upwards(graph: Graph): readonly string[] {
  return [...graph].flatMap(([file, imports]) =>
    imports
      .filter((imported) => {
        const [from, to] = [roomOf(file), roomOf(imported)];
        return from !== to && floorOf(to) >= floorOf(from);
      })
      .map((imported) => `${file} imports ${imported}`),
  );
}

/** The longest name fits: host/shared/runtime is not host. */
function roomOf(file: string): string {
  const rooms = FLOORS.flat().filter((room) => file === room || file.startsWith(`${room}/`));
  const [room] = rooms.sort((a, b) => b.length - a.length);
  assert.ok(room !== undefined, `${file} stands in no room that the test knows`);
  return room;
}

function floorOf(room: string): number {
  return FLOORS.findIndex((rooms) => rooms.includes(room));
}

const graph = readGraph('ts');

test('no file leads back to itself, types included', () => {
  assert.ok(graph.size > 200, 'all files were read');
  assert.deepEqual(circles(graph), []);
});

test('no import runs up', () => {
  assert.deepEqual(upwards(graph), []);
});

test('an import that closes a circle, and one that runs up, are found', () => {
  const above = 'daemon/dispatcher.ts';
  const below = 'api/errors.ts';
  assert.ok(reachable(graph, above).has(below));
  const broken = new Map([...graph, [below, [...(graph.get(below) ?? []), above]]]);
  assert.ok(circles(broken).some((circle) => circle.includes(above) && circle.includes(below)));
  assert.deepEqual(upwards(broken), [`${below} imports ${above}`]);
});
