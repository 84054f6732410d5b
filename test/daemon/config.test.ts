import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '../../ts/api/errors.js';
import { DEFAULTS, loadConfig } from '../../ts/daemon/config.js';
import { SETTINGS, type Setting } from '../../ts/daemon/settings.js';
import { asWritten, formatDuration, formatSize, parseDuration, parseSize } from '../../ts/daemon/units.js';
import { ScratchDirectory } from '../../ts/host/shared/scratch-directory.js';
import { readConfigFiles } from '../../ts/host/shared/system.js';

const PATH = '/etc/guestwire/guestwire.toml';

test('without a file every key has its default', async () => {
  const { config, sources } = await loadConfig([]);
  assert.deepEqual(config, DEFAULTS);
  assert.deepEqual(new Set(sources.values()), new Set(['default']));
});

for (const [section, keys] of Object.entries(SETTINGS)) {
  for (const [key, setting] of Object.entries<Setting>(keys)) {
    const name = `${section}.${key}`;
    const load = async (found: string): Promise<unknown> => {
      const { config } = await loadConfig([{ path: PATH, text: `[${section}]\n${key} = ${found}\n` }]);
      return (config[section as keyof typeof config] as Readonly<Record<string, unknown>>)[key];
    };

    test(`${name} takes what it is by default, as a file has it, and nothing of another kind`, async () => {
      const written = asWritten(setting, setting.default);
      if (written !== null) assert.deepEqual(await load(JSON.stringify(written)), setting.default);
      await assert.rejects(load('1979-05-27'), { code: 'GW_CONFIG_INVALID' });
    });

    const { formerly } = setting;
    if (formerly === undefined) continue;
    test(`${formerly}, as ${name} was called once, is refused with its new name`, async () => {
      const [former = '', formerKey = ''] = formerly.split('.');
      for (const text of [`\n[${former}]\n${formerKey} = 0\n`, `\n\n${formerly} = "x"\n`]) {
        await assert.rejects(loadConfig([{ path: PATH, text }]), {
          code: 'GW_CONFIG_INVALID',
          message: `${PATH}:3: ${formerly} is now ${name}`,
        });
      }
    });
  }
}

test('drop-ins come after the main file in lexical order, the command line after all, and each key tells its source', async () => {
  await using scratch = await ScratchDirectory.create();
  await scratch.write({
    'etc/guestwire/guestwire.toml': '[log]\nlevel = "debug"\nformat = "json"\n\n[xenstore]\nanswer-lifetime = "2m"\n',
    'etc/guestwire/guestwire.d/20-b.toml': '[log]\nformat = "pretty"\n',
    'etc/guestwire/guestwire.d/10-a.toml': 'log.format = "auto"\nxenstore.domain = 3\n',
    'etc/guestwire/guestwire.d/30-c.toml.bak': 'nonsense',
  });
  const files = await readConfigFiles(scratch.path, null);
  const { config, sources } = await loadConfig(files, [['xenstore', 'domain', 9, '--domain']]);
  assert.deepEqual(config.log, { level: 'debug', format: 'pretty' });
  assert.equal(config.xenstore['answer-lifetime'], 120_000);
  assert.equal(config.xenstore.domain, 9);
  const directory = `${scratch.path}/etc/guestwire`;
  assert.equal(sources.get('log.level'), `${directory}/guestwire.toml:2`);
  assert.equal(sources.get('log.format'), `${directory}/guestwire.d/20-b.toml:2`);
  assert.equal(sources.get('xenstore.answer-lifetime'), `${directory}/guestwire.toml:6`);
  assert.equal(sources.get('xenstore.domain'), '--domain');
  assert.equal(sources.get('xenstore.poll'), 'default');
  // What one file sets is nobody else's.
  assert.equal((await loadConfig([])).config.xenstore.domain, null);
});

const WRONG: readonly (readonly [text: string, message: string])[] = [
  [
    '[log]\n\nlevel = "loud"\n',
    `${PATH}:3: log.level: found "loud", wanted one of "trace", "debug", "info", "warn", "error", "fatal", "silent"`,
  ],
  [
    '[log]\nlevel = 5\n',
    `${PATH}:2: log.level: found 5, wanted one of "trace", "debug", "info", "warn", "error", "fatal", "silent"`,
  ],
  ['[xenstore]\ndomain = "7"\n', `${PATH}:2: xenstore.domain: found "7", wanted a domain id, 0 to 32751`],
  ['[xenstore]\ndomain = 1.5\n', `${PATH}:2: xenstore.domain: found 1.5, wanted a domain id, 0 to 32751`],
  ['[xenstore]\nendpoint = "xenbus"\n', `${PATH}:2: xenstore.endpoint: found "xenbus", wanted an absolute path`],
  [
    '[xenstore]\nanswer-lifetime = "soon"\n',
    `${PATH}:2: xenstore.answer-lifetime: found "soon", wanted a duration between "1ms" and "596h", such as "90s" or "10m"`,
  ],
  ['[password]\nusers = "bin"\n', `${PATH}:2: password.users: found "bin", wanted a list of user names`],
  ['[password]\nusers = ["a b"]\n', `${PATH}:2: password.users: found ["a b"], wanted a list of user names`],
  ['[password]\nusers = [1]\n', `${PATH}:2: password.users: found [1], wanted a list of user names`],
  ['[password]\nunlock = true\n', `${PATH}:2: password.unlock: found true, wanted one of "always", "never"`],
  ['[password]\nweak-exchange = "no"\n', `${PATH}:2: password.weak-exchange: found "no", wanted true or false`],
  [
    '[password]\nkey-lifetime = 600\n',
    `${PATH}:2: password.key-lifetime: found 600, wanted a duration such as "90s" or "10m"`,
  ],
  [
    '[xenstore]\nscan-intervall = "1s"\n',
    `${PATH}:2: unknown key xenstore.scan-intervall (the nearest known one is xenstore.scan-interval)`,
  ],
  ['[files]\nmode = "0800"\n', `${PATH}:2: files.mode: found "0800", wanted a file mode such as "0600"`],
  ['[files]\nmode = 600\n', `${PATH}:2: files.mode: found 600, wanted a file mode such as "0600"`],
  ['[files]\ndeny = ["etc"]\n', `${PATH}:2: files.deny: found ["etc"], wanted a list of absolute paths without ..`],
  ['[files]\nallow = ["/a/../b"]\n', `${PATH}:2: files.allow: found ["/a/../b"], wanted a list of absolute paths`],
  ['[files]\nallow = "/a"\n', `${PATH}:2: files.allow: found "/a", wanted a list of absolute paths`],
  ['[files]\nmax-size = "1GiB"\n', `${PATH}:2: files.max-size: found "1GiB", wanted a size between "0B" and "256MiB"`],
  ['[files]\nbackups = -1\n', `${PATH}:2: files.backups: found -1, wanted a whole number from 0 to 1000`],
  ['[xenstoer]\n', `${PATH}:1: unknown section xenstoer (the nearest known one is xenstore)`],
  ['[store]\nendpiont = "/x"\n', `${PATH}:1: store is now xenstore`],
  ['[store]\nendpiont = "/x"\npoll = "loop"\n', `${PATH}:3: store.poll is now xenstore.poll`],
  ['level = "info"\n', `${PATH}:1: unknown key level`],
  ['[files]\nbackups = nan\n', `${PATH}:2: files.backups: found NaN, wanted a whole number from 0 to 1000`],
  ['[log]\n"a\\nb" = 1\n', `${PATH}:1: unknown key log."a\\nb"`],
  ['[log]\n"" = 1\n', `${PATH}:2: unknown key log.""`],
  ['["a b"]\n', `${PATH}:1: unknown section "a b"`],
  ['log = true\n', `${PATH}:1: log: found true, wanted a section [log]`],
];
for (const [text, message] of WRONG) {
  test(`a wrong file is refused with file, line, key, what was found and what was wanted: ${JSON.stringify(text)}`, async () => {
    await assert.rejects(loadConfig([{ path: PATH, text }]), (error) => {
      assert.ok(error instanceof AgentError && error.code === 'GW_CONFIG_INVALID');
      assert.ok(error.message.startsWith(message), error.message);
      // Only what is near is suggested.
      assert.equal(error.message.includes('nearest'), message.includes('nearest'), error.message);
      return true;
    });
  });
}

test('a file that is not TOML is refused with its line and column', async () => {
  await assert.rejects(loadConfig([{ path: PATH, text: '[log]\nlevel = info\n' }]), (error) => {
    assert.match((error as Error).message, /^\/etc\/guestwire\/guestwire\.toml:2:\d+: ./);
    return true;
  });
});

test('durations are read and written as people do', () => {
  for (const text of ['250ms', '90s', '10m', '2h']) assert.equal(formatDuration(parseDuration(text) ?? 0), text);
  for (const text of ['', '10', 's', '-1s', '0s', '1d', '600h']) assert.equal(parseDuration(text), null);
  assert.equal(parseDuration('1.5h'), 5_400_000);
});

test('the settings of files are read as people write them', async () => {
  const text = '[files]\nmode = "0640"\nmax-size = "512KiB"\nallow = ["/srv", "/etc/*.conf"]\nbackups = 0\n';
  const { config } = await loadConfig([{ path: PATH, text }]);
  const expected = { mode: 0o640, 'max-size': 524_288, allow: ['/srv', '/etc/*.conf'], backups: 0 };
  assert.deepEqual(config.files, { ...DEFAULTS.files, ...expected });
  for (const size of ['0B', '100B', '3KiB', '16MiB', '256MiB']) assert.equal(formatSize(parseSize(size) ?? -1), size);
  for (const size of ['', '1', '1GiB', '257MiB', '-1B', '1.5KiB']) assert.equal(parseSize(size), null);
});
