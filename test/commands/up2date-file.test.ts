import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setUp2date } from '../../ts/commands/up2date-file.js';

const VALUES = { serverURL: 'https://a/XMLRPC;', noSSLServerURL: 'http://a/XMLRPC;' };
const OURS = 'serverURL=https://a/XMLRPC;\nnoSSLServerURL=http://a/XMLRPC;\n';

const CASES: readonly (readonly [what: string, before: string, after: string])[] = [
  ['a file that is not there is made', '', OURS],
  [
    'comments, other keys and the comment of a key stay',
    '# mine\nserverURL[comment]=Remote server URL\nserverURL=https://old/XMLRPC\n\nhttpProxy=p:1\nnoSSLServerURL = x\n',
    '# mine\nserverURL[comment]=Remote server URL\nserverURL=https://a/XMLRPC;\n\nhttpProxy=p:1\n' +
      'noSSLServerURL=http://a/XMLRPC;\n',
  ],
  ['a last line without its end gets one', 'debug=0', `debug=0\n${OURS}`],
  [
    'a value that goes on in the next line is replaced whole',
    'serverURL=https://x/XMLRPC;\\\n  https://y/XMLRPC;\\\n  https://z/XMLRPC\ndebug=1\n',
    'serverURL=https://a/XMLRPC;\ndebug=1\nnoSSLServerURL=http://a/XMLRPC;\n',
  ],
  [
    'of several settings the last counts, and a comment is none',
    '#serverURL=c\\\nserverURL=one\nserverURL=two\n',
    '#serverURL=c\\\nserverURL=one\nserverURL=https://a/XMLRPC;\nnoSSLServerURL=http://a/XMLRPC;\n',
  ],
];

for (const [what, before, after] of CASES) {
  test(`in up2date ${what}, and a second time nothing changes`, () => {
    assert.equal(setUp2date(before, VALUES), after);
    assert.equal(setUp2date(after, VALUES), after);
  });
}
