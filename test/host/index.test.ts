import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as host from '../../ts/host/index.js';
import * as linux from '../../ts/host/linux/index.js';

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
