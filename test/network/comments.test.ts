/** What the host calls a network ends up in comments: nothing in them may reach what stands behind. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { suite, test } from 'node:test';
import { AgentError } from '../../ts/api/errors.js';
import { decide } from '../../ts/network/decide.js';
import { type NetworkFacts, withChanges } from '../../ts/network/plan.js';
import { RENDERERS } from '../../ts/network/renderers/index.js';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { casesOf } from './cases.js';

const BACKSLASH = '\\';
/** What a consumer may take for more than a comment: the end of the line, or a line that goes on. */
const ENDINGS: readonly string[] = [
  BACKSLASH,
  BACKSLASH.repeat(2),
  BACKSLASH.repeat(3),
  `${BACKSLASH} `,
  `${BACKSLASH} ${BACKSLASH}\t`,
  `${BACKSLASH}\r`,
  `${BACKSLASH}\n`,
  `${BACKSLASH}\u2028`,
  `${BACKSLASH}\u0085`,
  `${BACKSLASH}\0`,
  '\r',
  '\r\n',
  '\v',
  '\f',
  '\u001b',
  '\u007f',
  '\u0085',
  '\u2028',
  '\u2029',
  '\u00a0',
  `${'x'.repeat(79)}${BACKSLASH}x`,
  `${'x'.repeat(77)}${BACKSLASH}${BACKSLASH} x`,
];

/** The files of a renderer's own system, with every interface under this label; null where the renderer refuses. */
function written(renderer: string, label: string): ReadonlyMap<string, string> | null {
  const [one] = casesOf(renderer);
  assert.ok(one);
  const interfaces = one.facts.interfaces.map((config) => ({ ...config, label }));
  const facts: NetworkFacts = { ...one.facts, interfaces };
  const chosen = RENDERERS.filter(({ name }) => name === renderer);
  try {
    return withChanges(facts, decide(facts, chosen).files).files;
  } catch (error) {
    if (error instanceof AgentError && error.code === 'GW_NETWORK_IMPOSSIBLE') return null;
    throw error;
  }
}

for (const { name } of RENDERERS.filter(({ name }) => name !== 'direct')) {
  test(`${name}: no comment ends in a backslash or holds what is not printable, whatever the label is`, () => {
    const plain = written(name, 'public');
    assert.ok(plain);
    for (const ending of ENDINGS) {
      const files = written(name, `public${ending}`);
      assert.ok(files);
      for (const [path, text] of files) {
        const comments = text.split('\n').filter((line) => /public|x{70}/.test(line));
        for (const comment of comments) assert.match(comment, /^[\x20-\x7e]*[^\\\s]$/, JSON.stringify([path, ending]));
        // All that is no comment is as with a label that has nothing odd.
        const rest = (all: string): string => all.replaceAll(/public.*|x{70}.*/g, '');
        assert.equal(rest(text), rest(plain.get(path) ?? ''), JSON.stringify([path, ending]));
      }
    }
  });
}

/** Variables that a shell has by itself, and that differ from run to run. */
const OF_THE_SHELL = /^(?:_|BASH\w*|PPID|RANDOM|SECONDS|EPOCH\w*|SRANDOM)=.*$/gm;

/** The output of the real program, which has to succeed. */
function run(argv: readonly string[], input?: string): string {
  const [program = '', ...args] = argv;
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', input });
  assert.equal(status, 0, `${argv.join(' ')}: ${stderr}`);
  return stdout + stderr;
}

suite('what the consumers themselves read behind a comment', () => {
  for (const ending of [BACKSLASH, BACKSLASH.repeat(2), `${BACKSLASH} `, `${'x'.repeat(79)}${BACKSLASH}x`]) {
    test(`busybox brings the interface up at boot: ${JSON.stringify(ending)}`, async () => {
      await using scratch = await ScratchDirectory.create();
      const files = written('ifupdown', `public${ending}`)!;
      const text = files.get('/etc/network/interfaces')!.replaceAll(/^source.*$/gm, '');
      const state = 'auto probe\niface probe inet manual\n  up true\n';
      await scratch.write({ interfaces: `${text}\n${state}` });
      // It only prints what it would run; what it does not know of, it passes over.
      const printed = run(['busybox', 'ifup', '-n', '-v', '-f', '-a', '-i', `${scratch.path}/interfaces`]);
      assert.match(printed, /\beth0\b/);
    });

    for (const [renderer, shell, key] of [
      ['rcconf', 'sh', /^ifconfig_\w+=/m],
      ['netifrc', 'bash', /^config_\w+=/m],
      ['netctl', 'bash', /^Interface=/m],
      ['ifcfg', 'bash', /^DEVICE=/m],
      ['wicked', 'bash', /^STARTMODE=/m],
      ['slackware', 'bash', /^IFNAME\[?/m],
    ] as const) {
      test(`${shell} has every assignment of ${renderer}: ${JSON.stringify(ending)}`, () => {
        // Of its own: what the shell has besides changes with every run.
        const sourced = (label: string): readonly string[] =>
          [...written(renderer, label)!.values()]
            .filter((text) => key.test(text))
            .map((text) => run([shell], `PATH=/nonexistent\n${text}\nset\n`).replaceAll(OF_THE_SHELL, ''));
        const plain = sourced('public');
        assert.ok(plain.length > 0, `no file of ${renderer} has ${String(key)}`);
        assert.deepEqual(sourced(`public${ending}`), plain);
      });
    }
  }
});
