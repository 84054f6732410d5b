/** Stacks whose own programs enable what is written: a start that only works until the next boot is no success. */
import assert from 'node:assert/strict';
import { symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { apply } from '../../../ts/network/act/apply.js';
import { decide } from '../../../ts/network/decide.js';
import type { NetworkFacts, Renderer } from '../../../ts/network/plan.js';
import { netctl } from '../../../ts/network/renderers/linux/netctl.js';
import { netifrc } from '../../../ts/network/renderers/linux/netifrc.js';
import { createScratch } from '../../support/scratch.js';
import { FACTS, Machine, OPTIONS, live } from './machine.js';

interface Enabling {
  readonly renderer: Renderer;
  /** What shows that the stack is there. */
  readonly present: readonly string[];
  /** The program that enables, and the link that it makes. */
  readonly enable: string;
  readonly link: string;
  /** That it is not there, in words. */
  readonly cause: string;
  /** The program that brings eth0 up. */
  readonly start: string;
}

const STACKS: readonly Enabling[] = [
  {
    renderer: netctl,
    present: ['/usr/bin/netctl'],
    enable: 'netctl reenable guestwire-eth0',
    link: '/etc/systemd/system/multi-user.target.wants/netctl@guestwire\\x2deth0.service',
    cause: 'no link in /etc/systemd/system/multi-user.target.wants enables /etc/netctl/guestwire-eth0',
    start: 'netctl restart guestwire-eth0',
  },
  {
    renderer: netifrc,
    present: ['/etc/init.d/net.lo', '/lib/netifrc'],
    enable: 'rc-update add net.eth0 default',
    link: '/etc/runlevels/default/net.eth0',
    cause: 'no runlevel has net.eth0 (/etc/runlevels/default/net.eth0, /etc/runlevels/boot/net.eth0)',
    start: '/etc/init.d/net.eth0 --nodeps start',
  },
];

async function prepared({ present, link, enable, start }: Enabling, makesLink: boolean): Promise<Machine> {
  const made = new Machine(await createScratch());
  for (const path of present) await made.scratch.write(path, '');
  const target = await made.scratch.write('/usr/lib/unit', '');
  await made.scratch.write(join(dirname(link), '.keep'), '');
  made.programs.set(enable, async () => {
    // A read-only folder, for one.
    if (!makesLink) return { code: 1, stderr: 'it cannot be linked' };
    await symlink(target.slice(made.scratch.root.length), join(made.scratch.root, link));
    return {};
  });
  made.programs.set(start, () => Promise.resolve((made.addresses = [live('192.0.2.9/24')])));
  return made;
}

suite('what a program has to enable', () => {
  for (const stack of STACKS) {
    const { renderer, present, link, enable, cause } = stack;
    const facts: NetworkFacts = { ...FACTS, present: new Set(present) };

    test(`${renderer.name}: is a failure where it is not, though the network is up`, async () => {
      await using made = await prepared(stack, false);
      await assert.rejects(apply(decide(facts, [renderer]), facts, made.host, OPTIONS), {
        code: 'GW_NETWORK_MISMATCH',
        message: `Network was put back: wanted a definition of eth0 after the next boot, got none that counts: ${cause}; ${enable} ended with 1: it cannot be linked`,
      });
    });

    test(`${renderer.name}: is enabled where it is not, though files and network are right`, async () => {
      await using made = await prepared(stack, true);
      assert.equal(await apply(decide(facts, [renderer]), facts, made.host, OPTIONS), 'changed');
      const files = new Map(facts.files);
      for (const change of decide(facts, [renderer]).files) {
        if (change.type === 'write') files.set(change.path, String(change.content));
      }
      const again = { ...facts, files };
      made.runs.splice(0);
      await made.host.files.commit([{ type: 'remove', path: link }]).then((commit) => commit.confirm());
      assert.equal(await apply(decide(again, [renderer]), again, made.host, OPTIONS), 'changed');
      assert.ok(made.runs.includes(enable), made.runs.join('\n'));
    });
  }
});
