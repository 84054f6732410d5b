import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { decideHostname, hostnameFile, hostnameProblem, liveHostname } from '../../ts/network/hostname.js';
import { hostsFile } from '../../ts/network/hosts.js';
import { type NetworkFacts, withChanges } from '../../ts/network/plan.js';
import { readWanted } from '../../ts/network/wanted/wanted.js';
import { ETH0, publishedBy } from './inputs.js';

const HOSTNAMECTL = '/usr/bin/hostnamectl';
const BUS = '/run/dbus/system_bus_socket';
const HOSTS = '127.0.0.1\tlocalhost web1\n';

interface Machine {
  readonly hostname?: string | null;
  readonly current?: string;
  readonly present?: readonly string[];
}

/** `/etc/hosts` names the machine already, unless the files say otherwise. */
function factsOf(files: Readonly<Record<string, string>>, machine: Machine = {}): NetworkFacts {
  const { hostname = 'web1', current = 'old', present = [] } = machine;
  const networking = { A: { mac: ETH0.mac, ips: [{ ip: '192.0.2.4', netmask: 24 }] } };
  return {
    interfaces: readWanted(publishedBy({ networking }), [ETH0]).interfaces,
    hostname,
    currentHostname: current,
    files: new Map(Object.entries({ '/etc/hosts': HOSTS, ...files })),
    present: new Set(present),
    resolver: 'file',
  };
}

/** The files that were written. */
function written(facts: NetworkFacts): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    decideHostname(facts).files.map((change) => [change.path, change.type === 'write' ? change.content : null]),
  );
}

type Files = Readonly<Record<string, string>>;

const FORMS: readonly (readonly [system: string, before: Files, after: Files, machine?: Machine])[] = [
  ['no file at all', {}, { '/etc/hostname': 'web1\n' }],
  ['/etc/hostname', { '/etc/hostname': 'old\n' }, { '/etc/hostname': 'web1\n' }],
  ['/etc/hostname without a line feed', { '/etc/hostname': 'old' }, { '/etc/hostname': 'web1\n' }],
  ['/etc/hostname, empty', { '/etc/hostname': '' }, { '/etc/hostname': 'web1\n' }],
  [
    '/etc/hostname with comments',
    { '/etc/hostname': '# set by hand\n# twice\nold\n' },
    { '/etc/hostname': '# set by hand\n# twice\nweb1\n' },
  ],
  [
    'Red Hat before systemd',
    { '/etc/sysconfig/network': 'NETWORKING=yes\nHOSTNAME=old.example.org # here\nNOZEROCONF=yes\n' },
    { '/etc/sysconfig/network': 'NETWORKING=yes\nHOSTNAME=web1 # here\nNOZEROCONF=yes\n' },
  ],
  [
    'Red Hat before systemd, quoted',
    { '/etc/sysconfig/network': 'HOSTNAME="old"\n' },
    { '/etc/sysconfig/network': 'HOSTNAME=web1\n' },
  ],
  [
    'Red Hat with systemd, and the old key left over',
    { '/etc/sysconfig/network': 'HOSTNAME=old\n', '/etc/hostname': 'old\n' },
    { '/etc/sysconfig/network': 'HOSTNAME=web1\n', '/etc/hostname': 'web1\n' },
  ],
  [
    'Red Hat with systemd, without the key',
    { '/etc/sysconfig/network': '# Created by anaconda\n', '/etc/hostname': 'old\n' },
    { '/etc/hostname': 'web1\n' },
  ],
  ['SUSE of today', { '/etc/sysconfig/network': 'WICKED=yes\n' }, { '/etc/hostname': 'web1\n' }],
  [
    'OpenRC',
    { '/etc/conf.d/hostname': '# Set to the hostname of this machine\nhostname="old"\n' },
    { '/etc/conf.d/hostname': '# Set to the hostname of this machine\nhostname="web1"\n' },
  ],
  [
    'OpenRC with /etc/hostname, as Alpine has it',
    { '/etc/conf.d/hostname': "hostname='old'\n", '/etc/hostname': 'old\n' },
    { '/etc/conf.d/hostname': 'hostname="web1"\n', '/etc/hostname': 'web1\n' },
  ],
  [
    'OpenRC with the key commented out',
    { '/etc/conf.d/hostname': '#hostname="localhost"' },
    { '/etc/conf.d/hostname': '#hostname="localhost"\nhostname="web1"\n' },
  ],
  [
    'Slackware',
    { '/etc/HOSTNAME': 'old.example.org\n' },
    { '/etc/HOSTNAME': 'web1\n' },
    { present: ['/etc/HOSTNAME'] },
  ],
  [
    'SUSE, whose /etc/HOSTNAME is a link to the other',
    { '/etc/HOSTNAME': 'old\n', '/etc/hostname': 'old\n' },
    { '/etc/hostname': 'web1\n' },
    { present: ['/etc/HOSTNAME', '/etc/hostname'] },
  ],
  [
    'FreeBSD',
    { '/etc/rc.conf': 'sshd_enable="YES"\nhostname="old" # me\nifconfig_xn0="DHCP"\n' },
    { '/etc/rc.conf': 'sshd_enable="YES"\nhostname="web1" # me\nifconfig_xn0="DHCP"\n' },
    { present: ['/bin/freebsd-version'] },
  ],
  ['FreeBSD without the key', {}, { '/etc/rc.conf': 'hostname="web1"\n' }, { present: ['/bin/freebsd-version'] }],
  ['a machine that has an rc.conf and is no FreeBSD', { '/etc/rc.conf': 'x=1\n' }, { '/etc/hostname': 'web1\n' }],
];

suite('where the name stands', () => {
  for (const [system, before, after, machine] of FORMS) {
    test(system, () => {
      const facts = factsOf(before, machine);
      assert.deepEqual(written(facts), after);
      assert.deepEqual(written(withChanges(facts, decideHostname(facts).files)), {});
    });
  }

  test('a name with a domain is stored as it was given', () => {
    const { '/etc/hostname': name } = written(factsOf({}, { hostname: 'web1.example.org' }));
    assert.equal(name, 'web1.example.org\n');
  });

  test('comments stay at the top, whatever they say', () => {
    fc.assert(
      fc.property(fc.array(fc.string().map((text) => `#${text.replace(/\n/g, '')}`)), (comments) => {
        const text = [...comments, 'old', ''].join('\n');
        assert.equal(hostnameFile(text, 'web1'), [...comments, 'web1', ''].join('\n'));
      }),
    );
  });
});

suite('the live name', () => {
  const service = { type: 'run', argv: [HOSTNAMECTL, 'set-hostname', 'web1'], onFailure: 'ignore' };

  test('the kernel is told, and told the old one when it is undone', () => {
    const { after, restore } = decideHostname(factsOf({}));
    assert.deepEqual(after, [{ type: 'set-hostname', hostname: 'web1' }]);
    assert.deepEqual(restore, [{ type: 'set-hostname', hostname: 'old' }]);
  });

  test('hostnamectl is asked first where there is a system bus', () => {
    const { after, restore } = decideHostname(factsOf({}, { present: [HOSTNAMECTL, BUS] }));
    assert.deepEqual(after, [service, { type: 'set-hostname', hostname: 'web1' }]);
    assert.deepEqual(restore, [{ type: 'set-hostname', hostname: 'old' }]);
  });

  for (const present of [[HOSTNAMECTL], [BUS]]) {
    test(`hostnamectl is not run with nothing but ${present.join()}`, () => {
      const { after } = decideHostname(factsOf({}, { present }));
      assert.deepEqual(after, [{ type: 'set-hostname', hostname: 'web1' }]);
    });
  }

  test('nothing is run when the kernel has the name', () => {
    const { files, after, restore } = decideHostname(factsOf({}, { current: 'web1', present: [HOSTNAMECTL, BUS] }));
    assert.deepEqual([after, restore], [[], []]);
    assert.equal(files[0]?.path, '/etc/hostname');
  });

  test('a name of more than 64 characters is cut to its first label for the kernel only', () => {
    const long = `web1.${'a'.repeat(40)}.${'b'.repeat(40)}.example.org`;
    const facts = factsOf({}, { hostname: long });
    assert.deepEqual(decideHostname(facts).after, [{ type: 'set-hostname', hostname: 'web1' }]);
    assert.equal(written(facts)['/etc/hostname'], `${long}\n`);
    assert.deepEqual(decideHostname({ ...facts, currentHostname: 'web1' }).after, []);
  });

  test('64 characters fit', () => {
    const name = `web1.${'a'.repeat(59)}`;
    assert.equal(liveHostname(name), name);
    assert.equal(liveHostname(`${name}b`), 'web1');
  });
});

suite('no name wanted', () => {
  for (const [system, before, , machine] of FORMS) {
    test(`${system}: nothing changes, and the machine is not named after its distribution`, () => {
      const facts = factsOf({ '/etc/hosts': '', ...before }, { ...machine, hostname: null });
      assert.deepEqual(decideHostname(facts), { files: [], after: [], restore: [] });
    });
  }
});

const NO_LABEL = 'is not a label of 1 to 63 letters, digits and inner hyphens';
const PROBLEMS: readonly (readonly [name: string, problem: string])[] = [
  ['', 'it is empty'],
  ['localhost', 'localhost names every machine'],
  ['LocalHost', 'localhost names every machine'],
  [`${'a.'.repeat(126)}ab`, 'it has 254 characters, and 253 is the limit'],
  ['a'.repeat(64), `'${'a'.repeat(64)}' ${NO_LABEL}`],
  ['a'.repeat(200), `'${'a'.repeat(70)}' ${NO_LABEL}`],
  ['UPPER_case', `'UPPER_case' ${NO_LABEL}`],
  ['-web', `'-web' ${NO_LABEL}`],
  ['web-', `'web-' ${NO_LABEL}`],
  ['web..example', `'' ${NO_LABEL}`],
  ['web.', `'' ${NO_LABEL}`],
  ['.web', `'' ${NO_LABEL}`],
  ['bad;touch /x', `'bad;touch /x' ${NO_LABEL}`],
  ['web1\nreboot', `'web1\nreboot' ${NO_LABEL}`],
  ['web1 ', `'web1 ' ${NO_LABEL}`],
  ['réseau', `'réseau' ${NO_LABEL}`],
];

suite('names', () => {
  for (const [name, problem] of PROBLEMS) {
    test(`${JSON.stringify(name.slice(0, 20))} is refused`, () => {
      assert.equal(hostnameProblem(name), problem);
    });
  }

  const good = ['web1', 'WEB1', '1', '192-0-2-4', 'x--y', 'a'.repeat(63), 'web1.example.org', `${'a.'.repeat(126)}a`];
  for (const name of [...good, 'localhost.example.org', 'local']) {
    test(`${name.slice(0, 20)} is good`, () => {
      assert.equal(hostnameProblem(name), null);
    });
  }
});

interface Renaming {
  readonly what: string;
  readonly before: string;
  readonly after: string;
  readonly name?: string;
  readonly old?: string;
}

/** The machine's own addresses are 192.0.2.4 and 2001:db8::4. */
const RENAMINGS: readonly Renaming[] = [
  { what: 'an empty file gets a line', before: '', after: '127.0.1.1\tweb1\n' },
  {
    what: 'a line is made below that of 127.0.0.1',
    before: '# top\n127.0.0.1 localhost\n::1 localhost\n',
    after: '# top\n127.0.0.1 localhost\n127.0.1.1\tweb1\n::1 localhost\n',
  },
  { what: 'the line of 127.0.1.1 is rewritten', before: '127.0.1.1\told\n', after: '127.0.1.1\tweb1\n' },
  {
    what: 'with its name with a domain',
    before: '127.0.1.1 old.example.org old\n',
    after: '127.0.1.1\tweb1.example.net web1\n',
    name: 'web1.example.net',
  },
  {
    what: 'without one when the new name has none',
    before: '127.0.1.1 old.example.org old\n',
    after: '127.0.1.1\tweb1\n',
    old: 'old.example.org',
  },
  {
    what: 'with its comment and its other names',
    before: '127.0.1.1 old mail mail.example.org # ours\n',
    after: '127.0.1.1\tweb1 mail mail.example.org\t# ours\n',
  },
  {
    what: 'a name that stands there already comes first, and once',
    before: '127.0.1.1 mail web1 old\n',
    after: '127.0.1.1\tweb1 mail\n',
  },
  {
    what: 'a name that only starts like the old one is another',
    before: '127.0.1.1 old older old-db\n',
    after: '127.0.1.1\tweb1 older old-db\n',
  },
  {
    what: 'the line of an own address that named the machine is rewritten, as Red Hat has it',
    before: '127.0.0.1 localhost\n192.0.2.4   old.example.org old   # primary\n',
    after: '127.0.0.1 localhost\n192.0.2.4\tweb1.example.org web1\t# primary\n',
    name: 'web1.example.org',
  },
  {
    what: 'and that of an own IPv6 address beside it',
    before: '192.0.2.4\told\n2001:db8::4\told\n',
    after: '192.0.2.4\tweb1\n2001:db8::4\tweb1\n',
  },
  {
    what: 'an own address that never named the machine stays',
    before: '192.0.2.4 mail\n127.0.1.1 old\n',
    after: '192.0.2.4 mail\n127.0.1.1\tweb1\n',
  },
  {
    what: "the old name of another's address stays",
    before: '192.0.2.5\told\n127.0.1.1\told\n',
    after: '192.0.2.5\told\n127.0.1.1\tweb1\n',
  },
  {
    what: 'no line is made where somebody has named the machine',
    before: '127.0.0.1 localhost web1\n',
    after: '127.0.0.1 localhost web1\n',
  },
  {
    what: 'a line that is right stays byte for byte',
    before: '  127.0.1.1   web1.example.org web1 mail  # x\n',
    after: '  127.0.1.1   web1.example.org web1 mail  # x\n',
    name: 'web1.example.org',
    old: 'web1.example.org',
  },
  {
    what: 'of two lines of 127.0.1.1 the one that names the machine is rewritten',
    before: '127.0.1.1 mail\n127.0.1.1 old\n',
    after: '127.0.1.1 mail\n127.0.1.1\tweb1\n',
  },
  {
    what: 'of two lines of 127.0.1.1 that do not name it the first takes the name',
    before: '127.0.1.1 mail\n127.0.1.1 www\n',
    after: '127.0.1.1\tweb1 mail\n127.0.1.1 www\n',
  },
  {
    what: 'a commented line is none',
    before: '#127.0.1.1 old\n127.0.0.1 localhost',
    after: '#127.0.1.1 old\n127.0.0.1 localhost\n127.0.1.1\tweb1',
  },
  {
    what: 'of a name that stays, a longer form with a domain is its user’s and stays',
    before: '127.0.1.1 web1.example.org web1\n192.0.2.4 web1.example.org web1\n',
    after: '127.0.1.1 web1.example.org web1\n192.0.2.4 web1.example.org web1\n',
    old: 'web1',
  },
  {
    what: 'a machine that had no name takes nobody else off a line',
    before: '192.0.2.4 mail\n127.0.1.1 www\n',
    after: '192.0.2.4 mail\n127.0.1.1\tweb1 www\n',
    old: '',
  },
];

suite('/etc/hosts', () => {
  const own = ['192.0.2.4', '2001:db8::4'];

  for (const { what, before, after, name = 'web1', old = 'old' } of RENAMINGS) {
    test(what, () => {
      assert.equal(hostsFile(before, name, old, own), after);
      assert.equal(hostsFile(after, name, name, own), after);
    });
  }

  test('the addresses of the interfaces are the own ones', () => {
    const hosts = '192.0.2.4 old\n192.0.2.5 old\n';
    assert.equal(written(factsOf({ '/etc/hosts': hosts }))['/etc/hosts'], '192.0.2.4\tweb1\n192.0.2.5 old\n');
  });

  const blank = fc.constantFrom(' ', '\t', '   ', ' \t');
  const name = fc.constantFrom('alpha', 'beta.example.org', 'old', 'older', 'localhost', 'web', 'gone.example.org');
  const foreign = fc.oneof(
    fc.constant(''),
    fc.string().map((text) => `#${text.replaceAll('\n', '')}`),
    fc
      .tuple(
        fc.constantFrom('', ' ', '\t'),
        fc.constantFrom('127.0.0.1', '::1', '192.0.2.5', '203.0.113.9', 'fe80::1', 'no address'),
        fc.array(fc.tuple(blank, name), { minLength: 1, maxLength: 4 }),
        fc.constantFrom('', ' ', '\r', ' # old', '#127.0.1.1 old'),
      )
      .map(([indent, address, names, end]) => [indent, address, ...names.flat(), end].join('')),
    fc.tuple(blank, fc.constantFrom('mail', 'older')).map(([space, alias]) => `192.0.2.4${space}${alias}`),
  );
  const ours = fc.constantFrom('127.0.1.1 old', '127.0.1.1\told.example.org old # x', '192.0.2.4 old mail');
  const lines = fc.array(foreign, { maxLength: 8 });
  const wanted = fc.constantFrom('web1', 'web1.example.org');

  test('every line of others stays, byte for byte and in order', () => {
    fc.assert(
      fc.property(lines, fc.option(ours), lines, wanted, (above, line, below, hostname) => {
        const text = [...above, ...(line === null ? [] : [line]), ...below].join('\n');
        const rest = hostsFile(text, hostname, 'old', own).split('\n');
        // Taking away the lines of ours leaves the lines of others: no other was touched.
        const left = rest.filter((one) => !/^(127\.0\.1\.1|192\.0\.2\.4)\t.*web1/.test(one));
        const others = text === '' && rest.length === 2 ? [''] : [...above, ...below];
        assert.deepEqual(left, others);
        assert.ok(rest.length <= text.split('\n').length + 1);
      }),
      { numRuns: 1000 },
    );
  });

  test('the machine is named once on 127.0.1.1 or on an own line, and a second run changes nothing', () => {
    fc.assert(
      fc.property(lines, fc.option(ours), lines, wanted, (above, line, below, hostname) => {
        const text = [...above, ...(line === null ? [] : [line]), ...below].join('\n');
        const once = hostsFile(text, hostname, 'old', own);
        const naming = once.split('\n').filter((one) => /^(127\.0\.1\.1|192\.0\.2\.4)\t(.* )?web1( |\t|$)/.test(one));
        assert.equal(naming.length, 1);
        assert.equal(hostsFile(once, hostname, hostname, own), once);
      }),
      { numRuns: 1000 },
    );
  });
});
