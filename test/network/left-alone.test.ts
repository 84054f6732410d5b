/** What a record that cannot be used any more does to an interface that the agent has set: nothing. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Host, Nic } from '../../ts/api/host.js';
import { readConfigured, remembering } from '../../ts/network/act/configured.js';
import { decide } from '../../ts/network/decide.js';
import type { InterfaceConfig, NetworkFacts, NetworkPlan } from '../../ts/network/plan.js';
import { withChanges } from '../../ts/network/plan.js';
import { RENDERERS } from '../../ts/network/renderers/index.js';
import { type Published, type Wanted, byDevice, readWanted } from '../../ts/network/wanted/wanted.js';
import { casesOf, factsOf } from './cases.js';
import { ETH0, ETH1 } from './inputs.js';

/** Renderers with golden cases. */
const STACKS = RENDERERS.map(({ name }) => name).filter((name) => name !== 'direct');

function record(mac: string, ip: string, more: object = {}): object {
  return { mac, label: 'a', ips: [{ ip, netmask: 24, enabled: '1' }], ...more };
}

const GOOD = {
  A: record(ETH0.mac, '192.0.2.4', { gateway: '192.0.2.1', dns: ['192.0.2.53'] }),
  B: record(ETH1.mac, '198.51.100.4', { dns: ['198.51.100.53'], mtu: 1400 }),
};

interface Step {
  readonly facts: NetworkFacts;
  readonly plan: NetworkPlan;
  readonly wanted: Wanted;
}

/** eth0 and eth1 set on `stack`, each as its record has it. */
function configured(stack: string): NetworkFacts {
  const { facts } = casesOf(stack).find(({ name }) => name === 'public-and-private')!;
  const before = factsOf({ networking: GOOD, present: [...facts.present], resolver: facts.resolver }, facts.files);
  const plan = decide(before, RENDERERS);
  assert.equal(plan.renderer, stack);
  return withChanges(before, plan.files);
}

/** The next reset: the record of eth0 is as it was, that of eth1 is `texts`. */
function again(
  facts: NetworkFacts,
  texts: Readonly<Record<string, string>>,
  nics: readonly Nic[] = [ETH0, ETH1],
): Step {
  const networking = new Map([['A', JSON.stringify(GOOD.A)], ...Object.entries(texts)]);
  const published: Published = { networking, networks: new Map() };
  const wanted = readWanted(published, nics, facts.interfaces);
  const { leftAlone, unknown } = wanted;
  const interfaces: readonly InterfaceConfig[] = [...wanted.interfaces, ...leftAlone].sort(byDevice);
  const now = { ...facts, interfaces, leftAlone: leftAlone.map(({ nic }) => nic.name), unknown };
  return { facts: now, plan: decide(now, RENDERERS), wanted };
}

/** Words of a plan's actions that name eth1. */
function about1({ before, after, restore }: NetworkPlan): readonly string[] {
  return [...before, ...after, ...restore]
    .map((action) => JSON.stringify(action))
    .filter((text) => /\beth1\b/.test(text));
}

interface Unusable {
  readonly what: string;
  readonly texts: Readonly<Record<string, string>>;
  readonly nics?: readonly Nic[];
  readonly reason: RegExp;
}

const B = JSON.stringify(GOOD.B);
const UNUSABLE: readonly Unusable[] = [
  {
    what: 'a label with a quote that lost its escape',
    texts: { B: B.replace('"label":"a"', '"label":"my "own" net"') },
    reason: /^B: not JSON$/,
  },
  {
    what: 'a bad netmask',
    texts: { B: B.replace('"netmask":24', '"netmask":"255.0.255.0"') },
    reason: /^B: 'netmask': .* got '255\.0\.255\.0'$/,
  },
  {
    what: 'a second record that says something else',
    texts: { B, C: B.replace('198.51.100.4', '198.51.100.5') },
    reason: /^C: a second record for 52:54:00:aa:00:02$/,
  },
  {
    what: 'a device that is away',
    texts: { B },
    nics: [ETH0],
    reason: /^B: Unknown interface MAC 52:54:00:aa:00:02$/,
  },
  {
    what: 'a record that is cut off before its MAC',
    texts: { B: '{"label": "a", "ma' },
    reason: /^B: not JSON$/,
  },
];

for (const stack of STACKS) {
  suite(`an interface whose record cannot be used is left alone: ${stack}`, () => {
    const facts = configured(stack);

    for (const { what, texts, nics, reason } of UNUSABLE) {
      test(`${what}: no file and no action is about it, and the answer says so`, () => {
        const { plan, wanted } = again(facts, texts, nics);
        assert.deepEqual(plan.files, []);
        assert.deepEqual(about1(plan), []);
        assert.match(wanted.errors[0] ?? '', reason);
        assert.deepEqual(
          wanted.leftAlone.map(({ nic }) => nic.name),
          ['eth1'],
        );
      });
    }

    test('so it is when the other interface changes: its own lines stay as they are', () => {
      const changed = JSON.stringify({ ...GOOD.A, gateway: '192.0.2.2' });
      const { plan, facts: now } = again(facts, { A: changed, B: '{' });
      assert.ok(plan.files.length > 0);
      assert.deepEqual(about1(plan), []);
      const lines = (files: ReadonlyMap<string, string>): readonly string[] =>
        [...files].flatMap(([path, text]) =>
          text
            .split('\n')
            .filter((line) => /198\.51\.100\.4\b/.test(line))
            .map((line) => path + line),
        );
      assert.deepEqual(lines(withChanges(now, plan.files).files), lines(facts.files));
      assert.notDeepEqual(lines(facts.files), []);
    });

    for (const [what, texts] of [
      ['absent', {}],
      ['disabled', { B: B.replace('"enabled":"1"', '"enabled":"0"') }],
    ] as const) {
      test(`a record that is ${what} takes its interface down, and that is no error`, () => {
        const { plan, wanted, facts: now } = again(facts, texts);
        assert.deepEqual(wanted.errors, []);
        assert.deepEqual([wanted.leftAlone, wanted.unknown], [[], []]);
        const left = [...withChanges(now, plan.files).files].filter(([, text]) => text.includes('198.51.100.4'));
        assert.deepEqual(left, []);
      });
    }

    test('where nothing is remembered, files of ours lose no interface of which a record speaks', () => {
      const networking = new Map([
        ['A', JSON.stringify(GOOD.A)],
        ['B', '{'],
      ]);
      const wanted = readWanted({ networking, networks: new Map() }, [ETH0, ETH1]);
      assert.deepEqual(wanted.unknown, ['eth1']);
      const now = { ...facts, interfaces: wanted.interfaces, leftAlone: [], unknown: wanted.unknown };
      assert.throws(() => decide(now, RENDERERS), { code: 'GW_NETWORK_INVALID', message: /eth1/ });
    });
  });
}

suite('what is remembered of the interfaces', () => {
  /** The one file of the state directory that counts here. */
  function holding(text: string | null): { readonly host: Host; readonly text: () => string | null } {
    const state = {
      read: () => Promise.resolve(text),
      write: (_: string, now: string) => Promise.resolve(void (text = now)),
      remove: () => Promise.resolve(void (text = null)),
    };
    return { host: { state } as unknown as Host, text: () => text };
  }

  const { interfaces } = configured('networkd');

  test('comes back as it was', async () => {
    const { host } = holding(null);
    await remembering(host, interfaces, () => Promise.resolve());
    assert.deepEqual(await readConfigured(host), interfaces);
  });

  test('is what was known before when the change fails', async () => {
    const old = JSON.stringify(interfaces);
    const { host, text } = holding(old);
    const failing = remembering(host, interfaces.slice(1), () => Promise.reject(new Error('failed')));
    await assert.rejects(failing, /failed/);
    assert.equal(text(), old);
  });

  const [first] = interfaces;
  for (const [what, text] of [
    ['not JSON', '['],
    ['null', 'null'],
    ['an object', '{}'],
    ['a list of something else', '[1]'],
    ['without a MAC', JSON.stringify([{ ...first, nic: { name: 'eth0' } }])],
    ['an address that is none', JSON.stringify([{ ...first, ipv4: [{ address: 'x', prefix: 24 }] }])],
  ] as const) {
    test(`is nothing when its form is wrong: ${what}`, async () => {
      assert.deepEqual(await readConfigured(holding(text).host), []);
    });
  }
});
