/** What a stack's own program cannot read is found by it before anything is changed. ifup reads past a broken file that another one names. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import type { FileChange } from '../../ts/api/host.js';
import { type Check, type NetworkFacts, withChanges } from '../../ts/network/plan.js';
import { RENDERERS } from '../../ts/network/renderers/index.js';
import { readInput } from '../network/inputs.js';
import { suites } from '../support/debian-root.js';
import { Namespace } from './namespace.js';
import { type Files, stackNamed } from './stacks.js';

const LIMIT_MS = 300_000;
const INPUT = readInput('public-and-private');

interface Broken {
  readonly stack: string;
  /** Those whose program takes offence; all of them when absent. */
  readonly releases?: readonly string[];
  /** A user's own, that have nothing to do with our devices. */
  readonly files: Files;
  readonly program: RegExp;
  readonly message: RegExp;
}

const BROKEN: readonly Broken[] = [
  {
    stack: 'ifupdown',
    files: { '/etc/network/interfaces': 'auto lo\niface lo inet loopback\niface office inet static\n    address\n' },
    program: /^ifup --no-act .* eth0 eth1$/,
    message:
      /^ifup does not accept what would be written: ifup: \/etc\/network\/interfaces:4: option with empty value; nothing was changed$/,
  },
  {
    stack: 'ifupdown-ng',
    // Later ones read past everything.
    releases: ['bookworm'],
    files: { '/etc/network/interfaces': 'auto lo\niface lo inet loopback\nsource /etc/network/nothing\n' },
    program: /^ifquery -i .* eth0 eth1$/,
    message:
      /^ifquery does not accept what would be written: .*could not parse \/etc\/network\/interfaces; nothing was changed$/,
  },
  {
    stack: 'ifupdown of busybox',
    files: { '/etc/network/interfaces': 'auto lo\niface lo inet loopback\niface office inet static\n    address\n' },
    program: /^ifup -n -m -f -i .* eth0$/,
    message: /^ifup does not accept what would be written: .*option with empty value " *address"; nothing was changed$/,
  },
  {
    stack: 'netplan with systemd-networkd',
    files: { '/etc/netplan/10-site.yaml': 'network:\n  vlans:\n    office: { id: 3, link: nowhere }\n' },
    program: /^\/usr\/libexec\/netplan\/generate --root-dir \{folder\}$/,
    message:
      /netplan\/generate does not accept what would be written: \/etc\/netplan\/10-site\.yaml:3:\d+: Error in network definition: office: interface 'nowhere' is not defined; nothing was changed$/,
  },
];

suite('what is planned is looked at by its consumer first', { concurrency: 2 }, () => {
  for (const release of suites()) {
    for (const { stack: name, releases, files, program, message } of BROKEN) {
      if (releases?.includes(release) === false) continue;
      test(
        `${release}, ${name}: a user's file that it cannot read is named, and nothing is changed`,
        { timeout: LIMIT_MS },
        async () => {
          const stack = stackNamed(name);
          await using namespace = new Namespace(release, stack.kind);
          await stack.prepare(namespace, files);
          const sums = (): string => namespace.script(`find '${stack.files}' -type f | sort | xargs sha256sum`);
          const before = [sums(), namespace.kernel().interfaces];
          const { reply, programs } = await namespace.reset(INPUT);
          assert.equal(reply.returncode, '1');
          assert.match(reply.message, message);
          assert.equal(programs.length, 1, programs.join('\n'));
          assert.match(programs[0] ?? '', program);
          assert.deepEqual([sums(), namespace.kernel().interfaces], before);
          assert.equal(namespace.script('find /tmp -name "guestwire-*"'), '', 'nothing is left of the check');
        },
      );
    }

    test(
      `${release}: NetworkManager's reader and the shells tell what is wrong with a file`,
      { timeout: LIMIT_MS },
      async () => {
        await using namespace = new Namespace(release);
        await namespace.start();
        const profile = '/etc/NetworkManager/system-connections/guestwire-eth0.nmconnection';
        const keys = [
          '[connection]',
          'id=ours',
          'type=ethernet',
          'uuid=67756573-7477-8972-a500-525400aa0001',
          '[ipv4]',
        ];
        const cases: readonly (readonly [string, string, good: string, bad: string, RegExp])[] = [
          [
            'networkmanager',
            profile,
            [...keys, 'method=auto'].join('\n'),
            [...keys, 'method=fax'].join('\n'),
            /ipv4\.method/,
          ],
          ['ifcfg', '/etc/sysconfig/network-scripts/ifcfg-eth0', 'A=("b")\n', 'A="b\n', /line \d: unexpected EOF/],
          ['netctl', '/etc/netctl/guestwire-eth0', 'A=("b")\n', 'A=("b"\n', /line \d: (syntax error|unexpected EOF)/],
          ['netifrc', '/etc/conf.d/net', 'A="b"\n', 'A="b\n', /Unterminated quoted string/],
          ['slackware', '/etc/rc.d/rc.inet1.conf', 'A[0]="b"\n', 'A[0]="b\n', /line \d: unexpected EOF/],
          ['rcconf', '/etc/rc.conf', 'A="b"\n', "A='b\n", /Unterminated quoted string/],
        ];
        for (const [renderer, path, good, bad, message] of cases) {
          assert.equal(await problem(namespace, renderer, path, good), null, renderer);
          assert.match((await problem(namespace, renderer, path, bad)) ?? 'no problem', message, renderer);
        }
      },
    );
  }
});

/** What the renderer's own check says of one file, run in the namespace. */
async function problem(namespace: Namespace, renderer: string, path: string, content: string): Promise<string | null> {
  const change: FileChange = { type: 'write', path, content, mode: 0o600 };
  const empty: NetworkFacts = {
    interfaces: [],
    hostname: null,
    currentHostname: 'guest',
    files: new Map(),
    present: new Set(),
    resolver: 'file',
  };
  const checks =
    RENDERERS.find(({ name }) => name === renderer)?.checks?.(withChanges(empty, [change]), [change]) ?? [];
  const [{ argv, unable, stdin = '' }] = checks as readonly [Check];
  const input = join(namespace.shared, 'stdin');
  await mkdir(dirname(input), { recursive: true });
  await writeFile(input, stdin);
  const words = argv.map((word) => `'${word}'`).join(' ');
  const said = namespace.script(`${words} 2>&1 >/dev/null </shared/stdin || echo "ended with $?"`).trim();
  assert.doesNotMatch(said, unable ?? /ended with 127/, 'it can look');
  if (said === '') return null;
  assert.match(said, /ended with/, 'what is only a warning refuses nothing');
  return said;
}
