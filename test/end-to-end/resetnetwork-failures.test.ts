/** That a host can tell a failure of `resetnetwork`, of whatever kind: nova takes 0 and 500 for success there. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { AGENT_ERRORS } from '../../ts/api/errors.js';
import type { Answer } from '../../ts/controller/controller.js';
import type { AgentEntry } from '../api/error-table/entry.js';
import { Guest } from '../api/error-table/guest.js';
import { novaView } from '../support/host-view.js';
import { VM_DATA } from '../support/scratch-root.js';

const ID = 'the-reset';
const RECORD = 'vm-data/networking/00163E010203';
/** What nova takes for success of `resetnetwork`: 500 for the sake of old agents. */
const SUCCESS = ['0', '500'];

interface Failure extends Pick<AgentEntry, 'config' | 'files' | 'published'> {
  readonly code: string;
  /** Starts the agent and gives the answer to the request. */
  readonly answer?: (guest: Guest, id: string) => Promise<Answer>;
  readonly returncode?: string;
}

const REQUEST = '{"name": "resetnetwork", "value": ""}';
const ASKED = async (guest: Guest, id: string): Promise<Answer> => {
  await guest.start();
  return (await guest.controller()).send(REQUEST, { id });
};
const sent = (body: string | Uint8Array) => async (guest: Guest, id: string) => {
  await guest.start();
  return (await guest.controller()).send(body, { id });
};
/** Holds the command up until the agent is killed. */
const HOLDING = 'etc/guestwire/hooks/before/resetnetwork/10-wait';
const REFUSING = 'etc/guestwire/hooks/before/all/10-no';

const FAILURES: Readonly<Record<string, Failure>> = {
  'nothing is published': { code: 'GW_NETWORK_EMPTY', published: {} },
  'no record is usable': { code: 'GW_NETWORK_INVALID', published: { [RECORD]: '{"label": "a "quote""}' } },
  'no way of configuring a network is known': {
    code: 'GW_NETWORK_UNSUPPORTED',
    files: { 'etc/network': null, 'sbin/ifup': null, 'sbin/ifdown': null },
  },
  'a record of two is bad': {
    code: 'GW_NETWORK_PARTIAL',
    published: { ...VM_DATA, 'vm-data/networking/b': '{"mac": "00:AA:BB:CC:DD:EE"}' },
  },
  'a request is cut off': { code: 'GW_REQUEST_MALFORMED', answer: sent('{"name": "resetnetwork", "value": "') },
  'a request has lost its quotes': { code: 'GW_REQUEST_MALFORMED', answer: sent('{name: resetnetwork, value: }') },
  'a request is no UTF-8': {
    code: 'GW_REQUEST_MALFORMED',
    answer: sent(Buffer.from('{"name": "resetnetwork", "value": "\xff"}', 'latin1')),
  },
  'a request is a list': { code: 'GW_REQUEST_MALFORMED', answer: sent('["resetnetwork", ""]') },
  'a request has a list as name': { code: 'GW_REQUEST_MALFORMED', answer: sent('{"name": ["resetnetwork"]}') },
  'a request has its name under another key': { code: 'GW_REQUEST_NO_NAME', answer: sent('{"Name": "resetnetwork"}') },
  'the command is switched off': {
    code: 'GW_COMMAND_DENIED',
    config: '[commands]\ndeny = ["resetnetwork"]',
    returncode: '403',
  },
  'a hook refuses': {
    code: 'GW_HOOK_REFUSED',
    files: { [REFUSING]: '#!/bin/sh\necho not now >&2\nexit 1\n' },
    async answer(guest, id) {
      await guest.startLive(`chmod 755 /${REFUSING}`);
      return (await guest.controller()).send(REQUEST, { id });
    },
  },
  'the agent is killed while it runs': {
    code: 'GW_REQUEST_INTERRUPTED',
    config: '[hooks]\ntimeout = "60s"',
    files: { [HOLDING]: '#!/bin/sh\nwhile [ -e "$0" ]; do sleep 0.1; done\n' },
    async answer(guest, id) {
      // Where the journal is kept after the kill.
      const state = join(guest.scratch.root, 'var/lib/guestwire');
      const setup = `mkdir -p /var/lib/guestwire "${state}"; mount --bind "${state}" /var/lib/guestwire
        chmod 755 /${HOLDING}`;
      await guest.startLive(setup);
      const answer = (await guest.controller()).send(REQUEST, { id });
      await guest.isRunning('resetnetwork');
      await guest.kill();
      await guest.start();
      return answer;
    },
  },
  'a file cannot be written': {
    code: 'GW_FILE_FAILED',
    async answer(guest, id) {
      await guest.startLive(`
        mkdir -p /etc/guestwire; mount --bind /etc/guestwire /etc/guestwire; mount -o remount,bind,ro /etc/guestwire
        ip link add eth0 address 00:16:3e:01:02:03 type veth peer name far`);
      return (await guest.controller()).send(REQUEST, { id });
    },
  },
  'something happens that nobody foresaw': {
    code: 'GW_INTERNAL',
    files: { 'var/lib/guestwire/configured.json/file': '' },
  },
};

suite('nova counts as a failure of resetnetwork that', { concurrency: 2 }, () => {
  for (const [what, failure] of Object.entries(FAILURES)) {
    const { code, returncode = '1', published = VM_DATA, answer = ASKED, ...made } = failure;
    test(what, async () => {
      await using guest = await Guest.prepare({ ...made, published });
      const { raw, ...told } = await answer(guest, ID);
      assert.equal(await guest.loggedCode(({ request }) => request === ID), code, told.message);
      assert.equal(told.returncode, returncode, told.message);
      assert.equal(novaView(Buffer.from(raw), SUCCESS)?.kind, 'error', raw);
    });
  }

  test('it ends in an error that no other command has', () => {
    const only = Object.entries(AGENT_ERRORS).filter(([code]) => code.startsWith('GW_NETWORK_'));
    assert.ok(only.length > 0);
    for (const [code, [returncode]] of only) assert.ok(!SUCCESS.includes(String(returncode)), code);
  });
});

test('nova counts as a success of resetnetwork what the agent answers to one, and to a second one', async () => {
  await using guest = await Guest.prepare({ published: VM_DATA });
  for (const id of ['first', 'second']) {
    const { raw } = await ASKED(guest, id);
    assert.equal(raw, '{"returncode":"0","message":""}');
    assert.deepEqual(novaView(Buffer.from(raw), SUCCESS), { kind: 'ok', message: '' });
    await guest.kill();
  }
});

test('a failure of any other command is answered as ever: 500', async () => {
  await using guest = await Guest.prepare({});
  await guest.start();
  const controller = await guest.controller();
  for (const body of ['', 'abc', '{"value": ""}', '{"name": "injectfile", "value": 5}', '{"name": "password"}']) {
    assert.equal((await controller.send(body)).returncode, '500', body);
  }
});
