/**
 * Neither rhnreg_ks nor subscription-manager is packaged for Debian, and both want a server of Red Hat's: here stand
 * programs that write down how they were called, and end as they are told.
 */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { AgentError, type Host, type Reply } from '../../ts/api/index.js';
import { type KmsOptions, kmsCommands } from '../../ts/commands/kms.js';
import { context } from '../support/command-context.js';
import { createScratchHost } from '../support/scratch-host.js';
import { type Scratch, createScratch } from '../support/scratch.js';

const KEY = '1-f00ba4';
const VALUE = { activation_key: KEY, profile: 'web1', domains: ['rhn1.example.org', 'rhn2.example.org'] };
const RHNREG_KS = 'usr/sbin/rhnreg_ks';
const MANAGER = 'usr/sbin/subscription-manager';
const UP2DATE = 'etc/sysconfig/rhn/up2date';
const SYSTEM_ID = 'etc/sysconfig/rhn/systemid';
const RHSM_CONF = 'etc/rhsm/rhsm.conf';
const IDENTITY = 'etc/pki/consumer/cert.pem';
const OLD_UP2DATE = '# mine\nserverURL=https://old.example.org/XMLRPC\nhttpProxy=p:3128\n';
const NEW_UP2DATE =
  '# mine\nserverURL=https://rhn1.example.org/XMLRPC;https://rhn2.example.org/XMLRPC;\nhttpProxy=p:3128\n' +
  'noSSLServerURL=http://rhn1.example.org/XMLRPC;http://rhn2.example.org/XMLRPC;\n';
const CLEAN = ['LC_ALL=C', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'];

interface System extends AsyncDisposable {
  readonly logged: string[];
  /** Puts a program there that writes down its call and does `script`. */
  program(path: string, script?: string): Promise<void>;
  /** Nobody may execute the program any more. */
  forbid(path: string): void;
  write(path: string, text: string): Promise<void>;
  /** Null for a file that is not there. */
  read(path: string): string | null;
  /** How the program was called; null when it was not. */
  readonly called: { readonly argv: readonly string[]; readonly environment: readonly string[] } | null;
  call(value: unknown, options?: Partial<KmsOptions> & { readonly live?: boolean }): Promise<Reply>;
}

async function system(): Promise<System> {
  const scratch: Scratch = await createScratch();
  const record = join(scratch.directory, 'called');
  const logged: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
  const read = (path: string): string | null => {
    const real = join(scratch.root, path);
    return existsSync(real) ? readFileSync(real, 'utf8') : null;
  };
  return {
    logged,
    read,
    async program(path, script = '') {
      const text = [
        '#!/bin/sh',
        `{ printf '%s\\n' "$@"; echo --; env | grep -v ^PWD= | sort; echo "input:$(cat)"; } > ${record}`,
        `cd ${scratch.root}`,
        script,
      ];
      chmodSync(await scratch.write(path, `${text.join('\n')}\n`), 0o755);
    },
    forbid(path) {
      chmodSync(join(scratch.root, path), 0o644);
    },
    async write(path, text) {
      await scratch.write(path, text);
    },
    get called() {
      if (!existsSync(record)) return null;
      const [argv = '', rest = ''] = readFileSync(record, 'utf8').split('--\n');
      return { argv: argv.trimEnd().split('\n'), environment: rest.trimEnd().split('\n') };
    },
    async call(value, { live = true, ...options } = {}) {
      const real = createScratchHost(scratch);
      const processes: Host['processes'] = {
        run: ([program, ...args], more) => real.processes.run([join(scratch.root, program), ...args], more),
      };
      const [activate] = kmsCommands(
        { ...real, live, processes },
        { org: null, timeoutMs: 10_000, ...options },
      ).commands;
      try {
        return await activate!.handle(value, { ...context, log });
      } catch (error) {
        if (!(error instanceof AgentError)) throw error;
        return { returncode: error.returncode, message: error.message };
      }
    },
    [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose](),
  };
}

const OK: Reply = { returncode: '0', message: '' };

test('rhnreg_ks registers with the servers in up2date, after the old identity is gone', async () => {
  await using one = await system();
  await one.program(RHNREG_KS, `cp ${UP2DATE} seen; [ ! -e ${SYSTEM_ID} ] || exit 9; echo new > ${SYSTEM_ID}`);
  await one.write(UP2DATE, OLD_UP2DATE);
  await one.write(SYSTEM_ID, 'old\n');
  assert.deepEqual(await one.call(VALUE), OK);
  assert.deepEqual(one.called, {
    argv: ['--activationkey', KEY, '--profile', 'web1', '--force'],
    environment: [...CLEAN, 'input:'],
  });
  assert.equal(one.read('seen'), NEW_UP2DATE);
  assert.equal(one.read(UP2DATE), NEW_UP2DATE);
  assert.equal(one.read(SYSTEM_ID), 'new\n');
  assert.ok(!one.logged.join('').includes(KEY));
});

test('domains may be text with commas, and the profile may be absent', async () => {
  await using one = await system();
  await one.program(RHNREG_KS, `echo new > ${SYSTEM_ID}`);
  assert.deepEqual(await one.call({ activation_key: KEY, domains: ' a.example.org, [2001:db8::1]:8443,' }), OK);
  assert.deepEqual(one.called?.argv, ['--activationkey', KEY, '--force']);
  assert.equal(
    one.read(UP2DATE),
    'serverURL=https://a.example.org/XMLRPC;https://[2001:db8::1]:8443/XMLRPC;\n' +
      'noSSLServerURL=http://a.example.org/XMLRPC;http://[2001:db8::1]:8443/XMLRPC;\n',
  );
});

test('when rhnreg_ks fails the files are as before, and the reason comes without the key', async () => {
  await using one = await system();
  const says = `echo; echo "Error Message:"; echo "    Could not find token '${KEY}'"; echo "Error Class Code: 60"`;
  await one.program(RHNREG_KS, `echo half > ${UP2DATE}; ${says}; exit 255`);
  await one.write(UP2DATE, OLD_UP2DATE);
  await one.write(SYSTEM_ID, 'old\n');
  const reason = "Error Message: Could not find token '(the key)' Error Class Code: 60";
  assert.deepEqual(await one.call(VALUE), {
    returncode: '500',
    message: `Couldn't activate with RHN: rhnreg_ks ended with 255: ${reason}; files were put back`,
  });
  assert.equal(one.read(UP2DATE), OLD_UP2DATE);
  assert.equal(one.read(SYSTEM_ID), 'old\n');
  assert.ok(!one.logged.join('').includes(KEY));
});

test('a rhnreg_ks that ends well without an identity is an error, and the old one is back', async () => {
  await using one = await system();
  await one.program(RHNREG_KS);
  await one.write(UP2DATE, OLD_UP2DATE);
  await one.write(SYSTEM_ID, 'old\n');
  assert.deepEqual(await one.call(VALUE), {
    returncode: '500',
    message:
      "Couldn't activate with RHN: rhnreg_ks ended with 0, but wrote no /etc/sysconfig/rhn/systemid; files were put back",
  });
  assert.equal(one.read(UP2DATE), OLD_UP2DATE);
  assert.equal(one.read(SYSTEM_ID), 'old\n');
});

test('a system without settings has none again when rhnreg_ks fails', async () => {
  await using one = await system();
  await one.program(RHNREG_KS, 'exit 1');
  const { message } = await one.call(VALUE);
  assert.equal(message, "Couldn't activate with RHN: rhnreg_ks ended with 1; files were put back");
  assert.equal(one.read(UP2DATE), null);
});

test('what was registered stays so when rhnreg_ks fails afterwards', async () => {
  await using one = await system();
  await one.program(RHNREG_KS, `echo new > ${SYSTEM_ID}; echo rhn_check failed >&2; exit 1`);
  await one.write(UP2DATE, OLD_UP2DATE);
  await one.write(SYSTEM_ID, 'old\n');
  const { returncode, message } = await one.call(VALUE);
  assert.equal(returncode, '500');
  assert.equal(
    message,
    "Couldn't activate with RHN: the system is registered, but rhnreg_ks ended with 1: rhn_check failed",
  );
  assert.equal(one.read(UP2DATE), NEW_UP2DATE);
  assert.equal(one.read(SYSTEM_ID), 'new\n');
});

test('a program that takes too long is ended, and one that cannot be run changes nothing', async () => {
  await using one = await system();
  await one.program(RHNREG_KS, 'sleep 60');
  await one.write(UP2DATE, OLD_UP2DATE);
  const { message } = await one.call(VALUE, { timeoutMs: 1000 });
  assert.equal(message, "Couldn't activate with RHN: rhnreg_ks took longer than 1 s; files were put back");
  assert.equal(one.read(UP2DATE), OLD_UP2DATE);
  await one.write(RHNREG_KS, '#!/no/such/interpreter\n');
  assert.match((await one.call(VALUE)).message, /^Couldn't activate with RHN: rhnreg_ks ended with 127: .*not found/);
  await one.program(RHNREG_KS);
  one.forbid(RHNREG_KS);
  assert.equal(
    (await one.call(VALUE)).message,
    "Couldn't activate with RHN: rhnreg_ks cannot be run: EACCES; files were put back",
  );
  assert.equal(one.read(UP2DATE), OLD_UP2DATE);
});

test('subscription-manager registers with the organization of the request, or of the configuration', async () => {
  await using one = await system();
  await one.program(MANAGER);
  const value = { activation_key: KEY, profile: 'web1', org: 'Example', domains: ['s.example.org:443/rhsm', 'other'] };
  assert.deepEqual(await one.call(value, { org: 'Default' }), OK);
  const register = ['register', '--org', 'Example', '--activationkey', KEY, '--force'];
  assert.deepEqual(one.called, {
    argv: [...register, '--name', 'web1', '--serverurl', 's.example.org:443/rhsm'],
    environment: [...CLEAN, 'input:'],
  });
  assert.ok(one.logged.some((line) => line.includes('takes one server') && line.includes('"others":["other"]')));
  assert.equal(one.read(UP2DATE), null);

  assert.deepEqual(await one.call({ activation_key: KEY }, { org: 'Default' }), OK);
  assert.deepEqual(one.called.argv, ['register', '--org', 'Default', '--activationkey', KEY, '--force']);
  assert.ok(!one.logged.join('').includes(KEY));
});

test('when subscription-manager fails its settings are as before, unless the system got an identity', async () => {
  await using one = await system();
  await one.write(RHSM_CONF, 'old\n');
  await one.write(IDENTITY, 'old\n');
  await one.program(MANAGER, `echo new > ${RHSM_CONF}; echo "Invalid key ${KEY}" >&2; exit 70`);
  const value = { ...VALUE, org: 'Example' };
  const failed = "Couldn't activate with subscription-manager: ";
  assert.equal(
    (await one.call(value)).message,
    `${failed}subscription-manager ended with 70: Invalid key (the key); files were put back`,
  );
  assert.equal(one.read(RHSM_CONF), 'old\n');
  await one.program(MANAGER, `echo new > ${RHSM_CONF}; echo new > ${IDENTITY}; exit 1`);
  assert.equal(
    (await one.call(value)).message,
    `${failed}the system is registered, but subscription-manager ended with 1`,
  );
  assert.equal(one.read(RHSM_CONF), 'new\n');
});

test('where both programs are, an organization decides for subscription-manager', async () => {
  await using one = await system();
  await one.program(RHNREG_KS, `echo new > ${SYSTEM_ID}`);
  await one.program(MANAGER);
  assert.deepEqual(await one.call(VALUE), OK);
  assert.equal(one.called?.argv[0], '--activationkey');
  assert.deepEqual(await one.call({ ...VALUE, org: 'Example' }), OK);
  assert.equal(one.called.argv[0], 'register');
});

test('a system that has neither program says so, whatever the value is, and so does a copy of a system', async () => {
  await using one = await system();
  for (const value of [VALUE, '', null, 5]) {
    const { returncode, message } = await one.call(value);
    assert.equal(returncode, '500');
    assert.equal(
      message,
      'KMS not supported on this OS: looked for /usr/sbin/rhnreg_ks and /usr/sbin/subscription-manager',
    );
  }
  await one.program(RHNREG_KS);
  const { message } = await one.call(VALUE, { live: false });
  assert.equal(message, 'KMS not supported on this OS: nothing is run on a copy of a system');
  assert.equal(one.called, null);
});

const WRONG: readonly (readonly [value: unknown, message: string])[] = [
  ['', 'Invalid kmsactivate value: expected an object with activation_key and domains, got text'],
  [[VALUE], 'Invalid kmsactivate value: expected an object with activation_key and domains, got a list'],
  [{ ...VALUE, activation_key: undefined }, 'Invalid activation_key: expected an activation key, got nothing'],
  [{ ...VALUE, activation_key: '' }, 'Invalid activation_key: expected an activation key, got nothing'],
  [{ ...VALUE, activation_key: 5 }, 'Invalid activation_key: expected an activation key, got a number'],
  [
    { ...VALUE, activation_key: '--help' },
    'Invalid activation_key: expected an activation key, got text that begins with - or has a control character',
  ],
  [
    { ...VALUE, profile: 'a\nb' },
    'Invalid profile: expected a name for the system, got text that begins with - or has a control character',
  ],
  [{ ...VALUE, domains: undefined }, 'Invalid domains: expected a list of servers, or text with commas, got nothing'],
  [{ ...VALUE, domains: [] }, 'Invalid domains: expected a list of servers, or text with commas, got nothing'],
  [{ ...VALUE, domains: [5] }, 'Invalid domains: expected a list of servers, or text with commas, got a number'],
  [{ ...VALUE, domains: 'a;b' }, 'Invalid domains: expected servers such as rhn.example.org, got a;b'],
  [
    { ...VALUE, domains: ['a\nhttpProxy=evil'] },
    'Invalid domains: expected servers such as rhn.example.org, got a\nhttp',
  ],
];

test('a value of another form is refused, nothing is run, and nothing changes', async () => {
  await using one = await system();
  await one.program(RHNREG_KS);
  for (const [value, wanted] of WRONG) {
    const { returncode, message } = await one.call(value);
    assert.equal(returncode, '500');
    assert.ok(message.startsWith(wanted), message);
    assert.equal(one.called, null);
    assert.equal(one.read(UP2DATE), null);
  }
});

test('subscription-manager alone needs an organization', async () => {
  await using one = await system();
  await one.program(MANAGER);
  const { message } = await one.call(VALUE);
  assert.equal(message, 'Invalid org: expected an organization, here or in kms.org, got nothing');
  assert.equal(one.called, null);
});
