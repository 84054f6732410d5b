import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import {
  hiddenSetting,
  type Quote,
  quoted,
  readShellFile,
  removeShellKeys,
  setShellKey,
} from '../../../ts/network/formats/shell-file.js';

/** What a shell makes of the text: the values of these keys. There is no program that it could run. */
function sourced(shell: 'sh' | 'bash', text: string, keys: readonly string[]): readonly string[] {
  const print = keys.map((key) => `printf '%s\\0' "\${${key}-}"`).join('\n');
  const input = `PATH=/nonexistent\n${text}\n${print}\n`;
  const { stdout, status, stderr } = spawnSync(shell, { input, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout.split('\0').slice(0, -1);
}

/** Texts of a value, what it means, and which shells know the form. */
const FORMS: readonly (readonly [what: string, raw: string, value: string, shell: 'sh' | 'bash'])[] = [
  ['a bare word', 'yes', 'yes', 'sh'],
  ['nothing', '', '', 'sh'],
  ['empty double quotes', '""', '', 'sh'],
  ['double quotes', '"a b"', 'a b', 'sh'],
  ['single quotes', "'a b'", 'a b', 'sh'],
  ['single quotes with what is special elsewhere', '\'a "b" \\ # ;\'', 'a "b" \\ # ;', 'sh'],
  ['pieces side by side', 'a"b c"\'d e\'f', 'ab cd ef', 'sh'],
  ['escaped characters between double quotes', '"a \\"b\\" \\\\ c"', 'a "b" \\ c', 'sh'],
  ['a backslash that escapes nothing between double quotes', '"a\\d"', 'a\\d', 'sh'],
  ['an escaped blank', 'a\\ b', 'a b', 'sh'],
  ['an escaped quote', "it\\'s", "it's", 'sh'],
  ['an apostrophe between double quotes', '"it\'s"', "it's", 'sh'],
  ['a number sign inside a word', 'a#b', 'a#b', 'sh'],
  ['a number sign between quotes', '"a # b"', 'a # b', 'sh'],
  ['a line feed between double quotes', '"a\nKEY2=no\nb"', 'a\nKEY2=no\nb', 'sh'],
  ['a line feed between single quotes', "'a\n b'", 'a\n b', 'sh'],
  ['a continued line between double quotes', '"a\\\nb"', 'ab', 'sh'],
  ['a continued line', 'a\\\nb', 'ab', 'sh'],
  ['an array', "('a b' c)", 'a b\nc', 'bash'],
  ['an array over several lines, with comments', '(\n  a # it\'s "one\n  "b c"\n)', 'a\nb c', 'bash'],
  ['an empty array', '()', '', 'bash'],
];

const AROUND = ['# it\'s a comment with KEY=no\n  OTHER="x"\n', '\nlast=1\n'] as const;

suite('files of shell assignments', () => {
  for (const [what, raw, value, shell] of FORMS) {
    test(`${what} is read as the shell reads it, set, and removed`, () => {
      const text = `${AROUND[0]}KEY=${raw}${AROUND[1]}`;
      assert.equal(readShellFile(text).get('KEY'), value);
      assert.deepEqual([...readShellFile(text).keys()], ['OTHER', 'KEY', 'last']);
      const elements = raw.startsWith('(') ? `KEY="$(IFS='\n'; printf '%s' "\${KEY[*]}")"\n` : '';
      assert.deepEqual(sourced(shell, text + elements, ['OTHER', 'KEY', 'last']), ['x', value, '1']);
      assert.equal(setShellKey(text, 'KEY', 'new'), `${AROUND[0]}KEY="new"${AROUND[1]}`);
      assert.equal(setShellKey(text, 'KEY', value), text);
      assert.equal(
        removeShellKeys(text, (key) => key === 'KEY'),
        AROUND[0] + AROUND[1].slice(1),
      );
    });
  }

  /** Values that only a shell can know: where they end counts, and nothing inside them is an assignment. */
  const EXPANSIONS = [
    '$OTHER',
    '"$OTHER and ${last:-KEY2=no}"',
    '${OTHER:-a b}',
    '$(printf "%s" "a b"; KEY2=no)',
    '"$(printf "%s" "a b")"',
    '`printf "a b"`',
    '"`printf \'a b\'` c"',
    '"${OTHER:-it\'s}"',
    '"$(printf %s ")") x"',
    '$(printf a # not the end )\n)',
  ];
  for (const raw of EXPANSIONS) {
    test(`${JSON.stringify(raw)} stays as written, and is replaced as a whole`, () => {
      const text = `${AROUND[0]}KEY=${raw}${AROUND[1]}`;
      assert.equal(sourced('sh', text, ['last'])[0], '1');
      assert.deepEqual([...readShellFile(text).keys()], ['OTHER', 'KEY', 'last']);
      assert.match(readShellFile(text).get('KEY') ?? '', /[$`]/);
      assert.equal(setShellKey(text, 'KEY', 'new'), `${AROUND[0]}KEY="new"${AROUND[1]}`);
    });
  }

  test('the last assignment of a key counts, and is the one that is set', () => {
    const text = 'KEY=1\nOTHER=2\nKEY=3 # kept\n';
    assert.equal(readShellFile(text).get('KEY'), '3');
    assert.equal(setShellKey(text, 'KEY', '4'), 'KEY=1\nOTHER=2\nKEY="4" # kept\n');
    assert.equal(
      removeShellKeys(text, (key) => key === 'KEY'),
      'OTHER=2\n',
    );
  });

  test('a new key stands at the end, on a line of its own', () => {
    assert.equal(setShellKey('', 'KEY', '1'), 'KEY="1"\n');
    assert.equal(setShellKey('A=1\n', 'KEY', '1'), 'A=1\nKEY="1"\n');
    assert.equal(setShellKey('A=1', 'KEY', '1'), 'A=1\nKEY="1"\n');
  });

  test('export, blanks before the key and carriage returns are known', () => {
    const text = 'export A="1"\r\n\t B=2\r\nexport  C=3\r\n';
    assert.deepEqual(Object.fromEntries(readShellFile(text)), { A: '1', B: '2', C: '3' });
    assert.equal(setShellKey(text, 'A', '4'), 'export A="4"\r\n\t B=2\r\nexport  C=3\r\n');
  });

  test('elements of arrays are keys of their own', () => {
    const text = 'IPADDR[0]="192.0.2.1"\nIPADDR[1]="192.0.2.2"\nIPADDR[10]=""\n';
    assert.deepEqual([...readShellFile(text).keys()], ['IPADDR[0]', 'IPADDR[1]', 'IPADDR[10]']);
    const after = setShellKey(text, 'IPADDR[1]', '192.0.2.9');
    assert.equal(after, text.replace('192.0.2.2', '192.0.2.9'));
    assert.deepEqual(sourced('bash', after, ['IPADDR[0]', 'IPADDR[1]']), ['192.0.2.1', '192.0.2.9']);
    assert.equal(
      removeShellKeys(text, (key) => key === 'IPADDR[1]'),
      'IPADDR[0]="192.0.2.1"\nIPADDR[10]=""\n',
    );
  });

  test('several assignments on one line are told apart', () => {
    const text = 'A=1; B="2 2"; C=3 # all\nD=4 E=5\n';
    assert.deepEqual(Object.fromEntries(readShellFile(text)), { A: '1', B: '2 2', C: '3', D: '4', E: '5' });
    assert.equal(setShellKey(text, 'B', '6'), 'A=1; B="6"; C=3 # all\nD=4 E=5\n');
    const without = (...keys: readonly string[]): string => removeShellKeys(text, (key) => keys.includes(key));
    assert.equal(without('A'), 'B="2 2"; C=3 # all\nD=4 E=5\n');
    assert.equal(without('B'), 'A=1; C=3 # all\nD=4 E=5\n');
    assert.equal(without('E'), 'A=1; B="2 2"; C=3 # all\nD=4 \n');
    assert.deepEqual(sourced('sh', without('C'), ['A', 'B', 'C', 'E']), ['1', '2 2', '', '5']);
  });

  test('what stands in a text, a comment or a command is no assignment', () => {
    const text = [
      '# KEY=no, and an odd "',
      'echo "first\nKEY=no\n"',
      "echo 'first\nKEY=no\n'",
      'echo it\\"s # KEY=no "',
      'test -n "$X" || KEY=no',
      'A=1 # KEY=no "',
      '',
    ].join('\n');
    assert.deepEqual([...readShellFile(text).keys()], ['A']);
    assert.equal(setShellKey(text, 'KEY', 'yes'), `${text}KEY="yes"\n`);
  });

  test('a removed key takes its line along, with the comment behind it and all lines of its value', () => {
    const text = '# above\nA="1\n2" # of A\n\nB=(\n 1\n)\n# below\n';
    assert.equal(
      removeShellKeys(text, (key) => key === 'A' || key === 'B'),
      '# above\n\n# below\n',
    );
    assert.equal(
      removeShellKeys('A=1', () => true),
      '',
    );
  });

  const CONDITIONAL: Readonly<Record<string, readonly [text: string, without: string]>> = {
    'behind an operator': ['[ -e /x ] &&\n  KEY=old\nOTHER=1\n', '[ -e /x ] &&\n  :\nOTHER=1\n'],
    'behind an operator and a comment': [
      'false ||\n# why\nKEY=old # so\nOTHER=1\n',
      'false ||\n# why\n: # so\nOTHER=1\n',
    ],
    'before an operator': ['KEY=old && OTHER=1\n', ': && OTHER=1\n'],
    'alone in a condition': ['if [ -e /x ]; then\n  KEY=old\nfi\nOTHER=1\n', 'if [ -e /x ]; then\n  :\nfi\nOTHER=1\n'],
    'behind else': ['if false; then true\nelse\nKEY=old; fi\nOTHER=1\n', 'if false; then true\nelse\n:; fi\nOTHER=1\n'],
    'in a loop': ['for i in 1 2; do\nA=1\nKEY=old\ndone\nOTHER=1\n', 'for i in 1 2; do\nA=1\n:\ndone\nOTHER=1\n'],
    'in a function': ['set_it() {\n KEY=old\n}\nset_it\nOTHER=1\n', 'set_it() {\n :\n}\nset_it\nOTHER=1\n'],
    'in a function without a blank': [
      'set_it(){\n KEY=old\n}\nset_it\nOTHER=1\n',
      'set_it(){\n :\n}\nset_it\nOTHER=1\n',
    ],
    'in a pattern of case': ['case a in\nb)\nKEY=old\n;;\nesac\nOTHER=1\n', 'case a in\nb)\n:\n;;\nesac\nOTHER=1\n'],
  };
  for (const [where, [text, without]] of Object.entries(CONDITIONAL)) {
    test(`a key ${where} leaves a command that does nothing, and is set at the end`, () => {
      assert.equal(
        removeShellKeys(text, (key) => key === 'KEY'),
        without,
      );
      assert.deepEqual(sourced('sh', without, ['KEY', 'OTHER']), ['', '1']);
      const set = setShellKey(text, 'KEY', 'new');
      assert.equal(set, where === 'before an operator' ? text.replace('old', '"new"') : `${text}KEY="new"\n`);
      assert.equal(setShellKey(set, 'KEY', 'new'), set);
      assert.deepEqual(sourced('sh', set, ['KEY', 'OTHER']), ['new', '1']);
    });
  }

  test('a command that sets a key or reads a file is told with its line, an assignment and a word like one are not', () => {
    const isKey = (key: string): boolean => key.startsWith('KEY');
    const told: Readonly<Record<string, readonly [text: string, line: number]>> = {
      '[ -e /x ] && KEY=1': ['A=1\n# KEY=0\n[ -e /x ] && KEY=1\n', 3],
      'if true; then KEY2=1; fi': ['if true; then KEY2=1; fi\n', 1],
      'true; KEY[0]=1': ['KEY=1\n\n  true; KEY[0]=1\n', 3],
      '. /etc/common': ['A=1\n. /etc/common\n', 2],
      '[ -e /x ] && source /x': ['[ -e /x ] && source /x\n', 1],
    };
    for (const [command, [text, line]] of Object.entries(told)) {
      assert.deepEqual(hiddenSetting(text, isKey, true), { command, line }, text);
    }
    const plain = 'KEY=1; KEY2="a b"\necho "KEY=1" > . # KEY=2\nOTHER="[ -e /x ] && KEY=1"\ntrue && A=1\n';
    assert.equal(hiddenSetting(plain, isKey, true), null);
    assert.equal(hiddenSetting('. /etc/common\n', isKey, false), null);
  });

  test('what follows a compound command is run whatever that says', () => {
    const text =
      'if [ a = b ]; then A=1; fi # if\n{ true; }\ncase a in a) ;; esac\ntrue && true\necho "if {" >&2\nKEY=old\n';
    assert.equal(setShellKey(text, 'KEY', 'new'), text.replace('old', '"new"'));
    assert.equal(
      removeShellKeys(text, (key) => key === 'KEY'),
      text.replace('KEY=old\n', ''),
    );
  });

  const QUOTES: readonly (readonly [quote: Quote, value: string, written: string])[] = [
    ['double', 'a "b" $c `d` \\e', '"a \\"b\\" \\$c \\`d\\` \\\\e"'],
    ['single', "it's", "'it'\\''s'"],
    ['none', 'yes', 'yes'],
    ['array', "192.0.2.1\nit's", "('192.0.2.1' 'it'\\''s')"],
    ['array', '', '()'],
  ];
  for (const [quote, value, written] of QUOTES) {
    test(`${JSON.stringify(value)} is written as ${written}`, () => {
      assert.equal(quoted(value, quote), written);
      assert.equal(readShellFile(setShellKey('', 'KEY', value, quote)).get('KEY'), value);
    });
  }
});

/** Text without NUL, which no shell can hold; often of characters that mean something to a shell. */
const value = fc.oneof(
  fc.string({ unit: fc.constantFrom(...Array.from('ab \n\t"\'\\$`#;&|(){}=*~!<>[]')) }),
  fc.string().filter((text) => !text.includes('\0')),
);

/** A way of writing a value, and the value. */
const written: fc.Arbitrary<readonly [raw: string, value: string]> = fc
  .array(
    fc.oneof(
      value.map((text): [string, string] => [quoted(text, 'double'), text]),
      value.map((text): [string, string] => [quoted(text, 'single'), text]),
      fc.stringMatching(/^[\w./:%+,@-]+$/).map((text): [string, string] => [text, text]),
      fc.constantFrom(...Array.from(' "\'\\$`#;&|()')).map((text): [string, string] => [`\\${text}`, text]),
    ),
    { minLength: 1, maxLength: 4 },
  )
  .map((pieces) => [pieces.map(([raw]) => raw).join(''), pieces.map(([, text]) => text).join('')]);

interface Statement {
  /** Whole lines. */
  readonly text: string;
  readonly key: string | null;
  readonly value: string;
}

const statement: fc.Arbitrary<Statement> = fc.oneof(
  fc
    .tuple(fc.constantFrom('A', 'B_1', 'c[0]', 'c[1]'), written, fc.constantFrom('', ' # "it\'s', '\t'))
    .map(([key, [raw, text], tail]): Statement => ({ text: `${key}=${raw}${tail}\n`, key, value: text })),
  fc
    .constantFrom(
      '\n',
      '# KEY="no\n',
      "# it's\n",
      '\t# A=1\n',
      ': "A=1\nA=2" \'\nA=3\'\n',
      'f() {\n  return 0\n}\n',
      'if true; then\n  :\nfi\n',
    )
    .map((text) => ({ text, key: null, value: '' })),
);
const statements = fc.array(statement, { maxLength: 12 });
const textOf = (list: readonly Statement[]): string => list.map(({ text }) => text).join('');

suite('files of shell assignments, at random', () => {
  test('every value is read as it was written, and as the shell reads it', () => {
    fc.assert(
      fc.property(statements, (list) => {
        const wanted = new Map(list.flatMap(({ key, value: text }) => (key === null ? [] : [[key, text]])));
        assert.deepEqual(readShellFile(textOf(list)), wanted);
        const keys = [...wanted.keys()];
        assert.deepEqual(sourced('bash', textOf(list), keys), [...wanted.values()]);
      }),
      { numRuns: 150 },
    );
  });

  test('setting a key changes its last assignment and no other byte', () => {
    fc.assert(
      fc.property(statements, value, fc.constantFrom<Quote>('double', 'single'), (list, wanted, quote) => {
        const last = list.findLast(({ key }) => key === 'A');
        const after = setShellKey(textOf(list), 'A', wanted, quote);
        assert.equal(readShellFile(after).get('A'), wanted);
        assert.equal(setShellKey(after, 'A', wanted, quote), after);
        const line = `A=${quoted(wanted, quote)}`;
        if (last === undefined) assert.equal(after, `${textOf(list)}${line}\n`);
        else if (last.value === wanted) assert.equal(after, textOf(list));
        else {
          const at = list.lastIndexOf(last);
          const tail = ['\t\n', ' # "it\'s\n', '\n'].find((end) => last.text.endsWith(end)) ?? '';
          assert.equal(after, textOf(list.slice(0, at)) + line + tail + textOf(list.slice(at + 1)));
        }
      }),
    );
  });

  test('what was set, the shell finds', () => {
    fc.assert(
      fc.property(statements, value, fc.constantFrom<Quote>('double', 'single'), (list, wanted, quote) => {
        const after = setShellKey(textOf(list), 'A', wanted, quote);
        assert.deepEqual(sourced('bash', after, ['A']), [wanted]);
      }),
      { numRuns: 100 },
    );
  });

  test('arrays are found by the shell as they were set', () => {
    fc.assert(
      fc.property(
        fc.array(
          value.map((text) => text.replaceAll('\n', '')),
          { minLength: 2, maxLength: 4 },
        ),
        (list) => {
          const text = setShellKey('', 'A', list.join('\n'), 'array');
          assert.equal(readShellFile(text).get('A'), list.join('\n'));
          const keys = list.map((_, index) => `A[${index}]`);
          assert.deepEqual(sourced('bash', text, keys), list);
        },
      ),
      { numRuns: 50 },
    );
  });

  test('removing keys leaves all other bytes', () => {
    fc.assert(
      fc.property(statements, fc.constantFrom('A', 'c[0]'), (list, gone) => {
        const after = removeShellKeys(textOf(list), (key) => key === gone);
        assert.equal(after, textOf(list.filter(({ key }) => key !== gone)));
      }),
    );
  });

  test('no text is too odd', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...Array.from('AB=("\'`)\\$ \n#;{}[0]')) }), (text) => {
        readShellFile(text);
        setShellKey(text, 'A', 'new');
        assert.equal(
          removeShellKeys(text, () => false),
          text,
        );
      }),
      { numRuns: 2000 },
    );
  });
});
