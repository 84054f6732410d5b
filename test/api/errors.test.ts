import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { AGENT_ERRORS, AgentError, type AgentErrorCode } from '../../ts/api/errors.js';

const documented = [...readFileSync('docs/errors.md', 'utf8').matchAll(/^\| `(GW_\w+)` \| (\d+) \| `(.*)` \|/gm)];

test('docs/errors.md lists exactly the errors there are, with their codes and messages', () => {
  const rows = documented.map(([, code, returncode, template]) => [code, [Number(returncode), template]]);
  assert.deepEqual(Object.fromEntries(rows), AGENT_ERRORS);
  assert.equal(rows.length, Object.keys(AGENT_ERRORS).length, 'a code is documented twice');
});

test('no message holds what the tools of dom0 break on', () => {
  for (const [code, [, template]] of Object.entries(AGENT_ERRORS)) {
    assert.match(template, /^[\x20-\x7e]+$/, code);
    assert.doesNotMatch(template, /["\\]/, code);
  }
});

test('an error fills its template in order and carries the code that the host compares with', () => {
  const error = new AgentError('GW_ARGUMENT_INVALID', ['path', 'an absolute path', 'foo']);
  assert.equal(error.message, 'Invalid path: expected an absolute path, got foo');
  assert.equal(error.returncode, '500');
  assert.equal(error.code, 'GW_ARGUMENT_INVALID' satisfies AgentErrorCode);
});
