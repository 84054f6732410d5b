/**
 * VLANs, bonds, teams and VRFs by the real consumers, on Debian's kernel in an emulated machine: what the kernel of this
 * machine may not have. The files below `inside` are run in there.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { OwnMachine } from '../support/vm/machine.js';

/** Milliseconds for one stack; two guests side by side take some minutes a kind. */
const LIMIT_MS = 3 * 3_600_000;
/** A pattern for the names of kinds; all of them when absent. */
const ONLY = process.env['GUESTWIRE_ONLY'];

let machine: OwnMachine;

suite("networks on Debian's kernel", { timeout: 4 * LIMIT_MS }, () => {
  before(async () => {
    machine = await OwnMachine.boot();
  });
  after(async () => {
    await machine[Symbol.asyncDispose]();
  });

  for (const stack of ['ifupdown', 'netplan', 'networkd', 'networkmanager']) {
    test(`${stack}: what is on top of eth0 stays, and what eth0 is part of is refused`, async () => {
      const options = ONLY === undefined ? [] : [`--test-name-pattern='${ONLY}'`];
      const { passed, output } = await machine.test(`test/vm/inside/${stack}.js`, options, LIMIT_MS);
      console.log(output);
      assert.ok(passed, output);
      assert.match(output, /^# pass [1-9]/m, 'something was tried');
    });
  }
});
