/** Files of shell assignments in which a command sets what the host wants: only a shell can say what comes of it. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { rcconf } from '../../../ts/network/renderers/freebsd/rcconf.js';
import { ifcfg } from '../../../ts/network/renderers/linux/ifcfg.js';
import { netifrc } from '../../../ts/network/renderers/linux/netifrc.js';
import { slackware } from '../../../ts/network/renderers/linux/slackware.js';
import { refused } from './table.js';

/** With a program of each stack. */
const MACHINE = {
  present: [
    '/bin/freebsd-version',
    '/etc/sysconfig/network-scripts/ifup-eth',
    '/lib/netifrc',
    '/etc/init.d/net.lo',
    '/etc/rc.d/rc.inet1',
  ],
};
const IFCFG = '/etc/sysconfig/network-scripts/ifcfg-eth0';
const FILES = {
  "FreeBSD's rc.conf": [rcconf, '/etc/rc.conf', 'ifconfig_eth0="DHCP"'],
  'the initscripts': [ifcfg, IFCFG, 'IPADDR2=10.0.0.9'],
  netifrc: [netifrc, '/etc/conf.d/net', 'config_eth0="dhcp"'],
  "Slackware's rc.inet1": [slackware, '/etc/rc.d/rc.inet1.conf', 'USE_DHCP[0]="yes"'],
} as const;

suite('settings that a command may change', () => {
  for (const [stack, [renderer, path, assignment]] of Object.entries(FILES)) {
    test(`are refused with the command and its line: ${stack}`, () => {
      const head = stack === 'the initscripts' ? 'DEVICE=eth0\n' : '# mine\n';
      const command = `if [ -e /etc/office ]; then ${assignment}; fi`;
      const told = refused(renderer, { [path]: `${head}${command}\n` }, MACHINE);
      assert.ok(told.includes(`Not possible with ${stack}: settings that a command may change`), told);
      assert.ok(told.includes(`${path}, line 2`), told);
    });
  }

  test('are refused where a file of the initscripts reads another one', () => {
    const told = refused(ifcfg, { [IFCFG]: 'DEVICE=eth0\nONBOOT=yes\n. /etc/sysconfig/common-net\n' }, MACHINE);
    assert.match(told, /"\. \/etc\/sysconfig\/common-net" \(.*ifcfg-eth0, line 3\)/);
  });
});
