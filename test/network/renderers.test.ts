/** Golden cases: test/network/cases/<renderer>/<case>/{facts.json,before/,after/,actions.json}, each a tree of files. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { Nic } from '../../ts/api/host.js';
import { decide } from '../../ts/network/decide.js';
import type { NetworkFacts } from '../../ts/network/plan.js';
import { readRecords } from '../../ts/network/records.js';
import { RENDERERS } from '../../ts/network/renderers/index.js';

const CASES = 'test/network/cases';

interface Case {
  readonly nics: readonly Nic[];
  readonly records: Readonly<Record<string, unknown>>;
  readonly hostname: string | null;
  readonly currentHostname: string;
  readonly programs: readonly string[];
}

function files(directory: string): Map<string, string> {
  if (!existsSync(directory)) return new Map();
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    entries.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [`/${relative(directory, path)}`, readFileSync(path, 'utf8')];
    }),
  );
}

function factsOf(given: Case, before: ReadonlyMap<string, string>): NetworkFacts {
  const texts = Object.entries(given.records).map(([id, record]): [string, string] => [id, JSON.stringify(record)]);
  const { interfaces, errors } = readRecords(new Map(texts), given.nics);
  assert.deepEqual(errors, []);
  const { hostname, currentHostname } = given;
  return { interfaces, hostname, currentHostname, files: before, programs: new Set(given.programs) };
}

/** The files as they are once `decide`'s plan was carried out. */
function carriedOut(facts: NetworkFacts): Map<string, string> {
  const after = new Map(facts.files);
  for (const change of decide(facts, RENDERERS).files) {
    if (change.type === 'write') after.set(change.path, Buffer.from(change.content).toString('utf8'));
    else after.delete(change.path);
  }
  return after;
}

for (const renderer of readdirSync(CASES)) {
  suite(`${renderer}: golden cases`, () => {
    for (const name of readdirSync(join(CASES, renderer))) {
      const at = (file: string): string => join(CASES, renderer, name, file);
      const facts = factsOf(JSON.parse(readFileSync(at('facts.json'), 'utf8')) as Case, files(at('before')));

      test(name, () => {
        const plan = decide(facts, RENDERERS);
        assert.equal(plan.renderer, renderer);
        assert.deepEqual(Object.fromEntries(carriedOut(facts)), Object.fromEntries(files(at('after'))));
        const actions = JSON.parse(readFileSync(at('actions.json'), 'utf8')) as unknown;
        assert.deepEqual({ before: plan.before, after: plan.after, restore: plan.restore }, actions);
      });

      test(`${name}: a second run changes no file`, () => {
        const again = { ...facts, files: carriedOut(facts), currentHostname: facts.hostname ?? facts.currentHostname };
        assert.deepEqual(decide(again, RENDERERS).files, []);
      });
    }
  });
}

suite('ifupdown: what others wrote', () => {
  const nic: Nic = { name: 'eth0', mac: '52:54:00:aa:00:01', permanentMac: null, up: true, physical: true };
  const record = { mac: nic.mac, ips: [{ ip: '192.0.2.4', netmask: 24 }] };
  const line = fc.constantFrom(
    '# a comment',
    '',
    'auto eth9',
    'iface eth9 inet static',
    '    address 10.9.0.1/24',
    '\tup ip route add 10.8.0.0/16 \\',
    '    via 10.9.0.254',
    'source /etc/network/interfaces.d/*',
    'mapping eth8',
    '    script /bin/true',
    'allow-hotplug wlan0',
  );

  test('stays byte for byte when it speaks of other interfaces', () => {
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        const text = `${lines.join('\n')}\n`;
        const facts = factsOf(
          { nics: [nic], records: { a: record }, hostname: null, currentHostname: 'h', programs: ['/sbin/ifup'] },
          new Map([['/etc/network/interfaces', text]]),
        );
        const after = carriedOut(facts).get('/etc/network/interfaces') ?? '';
        assert.ok(after.startsWith(text), after);
        assert.equal(carriedOut({ ...facts, files: carriedOut(facts) }).get('/etc/network/interfaces'), after);
      }),
    );
  });

  test('a label cannot leave its comment', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (label) => {
        const facts = factsOf(
          {
            nics: [nic],
            records: { a: { ...record, label: `${label}\n    up reboot` } },
            hostname: null,
            currentHostname: 'h',
            programs: ['/sbin/ifup'],
          },
          new Map([['/etc/network/interfaces', '']]),
        );
        const lines = (carriedOut(facts).get('/etc/network/interfaces') ?? '').split(/\n|\r|\u2028/);
        assert.ok(!lines.some((text) => text.trim().startsWith('up reboot')));
      }),
    );
  });
});
