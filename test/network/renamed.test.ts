/** Names that files give devices at the next boot. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type NetworkFacts, unconfigured } from '../../ts/network/plan.js';
import { assertNames } from '../../ts/network/renamed.js';
import { ETH0 } from './inputs.js';

const LINK = '/etc/systemd/network/10-lan.link';
const RULES = '/etc/udev/rules.d/70-persistent-net.rules';
const MATCH = `[Match]\nMACAddress=${ETH0.mac}\n\n`;
const RULE = `SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="${ETH0.mac}", NAME="lan0"\n`;

/** The message of the refusal, or null. */
function refusal(files: Readonly<Record<string, string>>, more: Partial<NetworkFacts> = {}): string | null {
  const facts: NetworkFacts = {
    interfaces: [unconfigured(ETH0)],
    hostname: null,
    currentHostname: 'guest',
    files: new Map(Object.entries(files)),
    present: new Set(),
    resolver: 'other',
    ...more,
  };
  try {
    assertNames(facts);
    return null;
  } catch (error) {
    return String(error);
  }
}

suite('a device that gets another name at the next boot', () => {
  test('by a file for its MAC is refused with that file and the name', () => {
    const named = `${MATCH}[Link]\nName=lan0\n`;
    const message = /wanted 52:54:00:aa:00:01 to be called eth0, got lan0 by \/etc\/systemd\/network\/10-lan\.link;/;
    assert.match(refusal({ [LINK]: named }) ?? '', message);
    assert.match(
      refusal({ [LINK]: '[Match]\nPermanentMACAddress=52-54-00-AA-00-01\n[Link]\nName=lan0\n' }) ?? '',
      message,
    );
    assert.match(refusal({ [RULES]: RULE }) ?? '', /got lan0 by \/etc\/udev\/rules\.d\/70-persistent-net\.rules/);
    const continued = RULE.replaceAll(', ', ', \\\n  ');
    assert.match(refusal({ [RULES]: continued }) ?? '', /got lan0 by /);
    for (const kernel of ['eth0', 'eth*']) {
      assert.match(refusal({ [RULES]: `SUBSYSTEM=="net", KERNEL=="${kernel}", NAME="lan0"\n` }) ?? '', /got lan0 by /);
    }
    const dropIn = '/usr/lib/systemd/network/10-lan.link.d/name.conf';
    assert.match(
      refusal({ [LINK]: `${MATCH}[Link]\nMTUBytes=1400\n`, [dropIn]: '[Link]\nName=lan0\n' }) ?? '',
      message,
    );
    assert.equal(refusal({ [LINK]: named }, { leftAlone: ['eth0'] }), null);
  });

  test('is none where the name stays, another file comes first, or only udev can tell', () => {
    const named = `${MATCH}[Link]\nName=lan0\n`;
    const others: readonly Readonly<Record<string, string>>[] = [
      { [LINK]: `${MATCH}[Link]\nName=eth0\n` },
      { [LINK]: `${MATCH}[Link]\nNamePolicy=keep\nName=lan0\n` },
      { [LINK]: `${MATCH}[Link]\nMTUBytes=1400\n` },
      { [LINK]: named.replace('aa', 'bb') },
      { [LINK]: `[Match]\nOriginalName=*\n\n[Link]\nName=lan0\n` },
      { [LINK]: named, '/usr/lib/systemd/network/05-a.link': '[Match]\nOriginalName=*\n\n[Link]\nNamePolicy=keep\n' },
      { [LINK]: '', '/usr/lib/systemd/network/10-lan.link': named },
      { [RULES]: `# ${RULE}` },
      { [RULES]: RULE.replace('lan0', '%k') },
      { [RULES]: 'SUBSYSTEM=="net", KERNEL=="eth1", NAME="lan0"\n' },
      { [RULES]: 'SUBSYSTEM=="net", KERNELS=="vif-1", KERNEL=="eth*", NAME="eth1"\n' },
      { [RULES]: 'SUBSYSTEM=="net", DRIVERS=="ixgbevf", KERNEL=="eth*", NAME="vf0"\n' },
      { [RULES]: 'SUBSYSTEM=="block", KERNEL=="*", NAME="disk"\n' },
      {
        [RULES]: ['eth0", NAME="eth1', 'eth1", NAME="eth0']
          .map((one) => `SUBSYSTEM=="net", KERNEL=="${one}"\n`)
          .join(''),
      },
      { [RULES]: RULE.replace('aa', 'bb').replace('ATTR', 'KERNEL=="eth*", ATTR') },
      { [RULES]: RULE.replace('lan0', 'eth0'), [LINK]: named },
    ];
    for (const files of others) assert.equal(refusal(files), null, JSON.stringify(files));
  });
});
