import assert from 'node:assert/strict';
import { type ExecFileException, execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import * as host from '../../ts/host/index.js';
import * as linux from '../../ts/host/linux/index.js';
import { PROGRAM } from '../support/run-cli.js';

test('what runs here is chosen by the name of the system, and is that of its folder', async () => {
  assert.equal(await host.systemOf('linux'), linux);
  for (const [name, value] of Object.entries(linux)) assert.equal(Reflect.get(host, name), value, name);
});

test('a system that is not supported is an error that names it and those that are', async () => {
  for (const platform of ['win32', 'plan9', 'toString']) {
    await assert.rejects(host.systemOf(platform), {
      code: 'GW_SYSTEM_UNSUPPORTED',
      message: `This operating system is not supported: wanted linux, got ${platform}`,
    });
  }
});

/** The program where Node tells another system or processor than it runs on. */
function startedOn(field: 'platform' | 'arch', value: string, ...args: readonly string[]): Promise<unknown> {
  const told = `data:text/javascript,Object.defineProperty(process, '${field}', { value: '${value}' })`;
  return promisify(execFile)(process.execPath, ['--import', told, PROGRAM, ...args]);
}

test('on a system that is not supported the program says so, in one line', async () => {
  const stderr = 'guestwire: This operating system is not supported: wanted linux, got freebsd\n';
  await assert.rejects(startedOn('platform', 'freebsd', 'run'), { code: 1, stderr });
});

test('where the native addon is missing the program says where it looked, in one line', async () => {
  const stderr =
    /^guestwire: guestwire's native addon is missing: looked for .*binding\.linux-riscv64-gnu\.node and .*\n$/;
  await assert.rejects(startedOn('arch', 'riscv64', '--version'), (error: ExecFileException) => {
    assert.equal(error.code, 1);
    assert.match(error.stderr ?? '', stderr);
    return true;
  });
});
