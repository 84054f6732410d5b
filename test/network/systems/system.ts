/** Random starting systems, by the grammar of a stack: what a guest may have when the host first changes its network. */
import fc from 'fast-check';

export interface System {
  /** Text by path; an empty text is a link to /dev/null, where the stack knows such masks. */
  readonly files: Readonly<Record<string, string>>;
}

/** A stack's systems. */
export interface Grammar {
  /** As in {@link RENDERERS}. */
  readonly renderer: string;
  /** As in test/netns/stacks.ts. */
  readonly stack: string;
  /** Paths that the renderer goes by. */
  readonly present: readonly string[];
  /** With `runs`, only what the kernel of the tests' namespaces can do: no VLANs, bonds and teams. */
  systems(runs: boolean): fc.Arbitrary<System>;
}

export const ADDRESSES = ['198.51.100.21/24', '198.51.100.22/24', '203.0.113.23/28', '192.0.2.24/24'] as const;
export const MACS = { eth0: '52:54:00:aa:00:01', eth1: '52:54:00:aa:00:02', other: '52:54:00:bb:00:09' } as const;

export const address = fc.constantFrom(...ADDRESSES);
export const gateway = fc.constantFrom('198.51.100.1', '203.0.113.17', '192.0.2.1');

/** Some of `parts`, in any order, each in a file of its own folder and name. */
export function inFiles(
  part: fc.Arbitrary<string>,
  path: fc.Arbitrary<string>,
  maxLength: number,
): fc.Arbitrary<Readonly<Record<string, string>>> {
  return fc
    .uniqueArray(fc.tuple(path, part), { maxLength, selector: ([name]) => name })
    .map((pairs) => Object.fromEntries(pairs));
}

/** Files of several sources; of one path the later one counts. */
export function together(...parts: readonly fc.Arbitrary<Readonly<Record<string, string>>>[]): fc.Arbitrary<System> {
  return fc.tuple(...parts).map((all) => ({ files: Object.assign({}, ...all) as Record<string, string> }));
}
