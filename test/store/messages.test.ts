/**
 * Raw messages, also those that no client sends, are answered by the embedded store as by Debian's C xenstored. Where
 * oxenstored answers otherwise, its answer stands beside the message.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { connect, type Connection, type Operation } from './connection.js';
import { GUEST, HOME, startStores, type Place, type Stores } from './stores.js';

/** Two connections of the host's, and two of the guest's. */
type Who = 'dom0' | 'other dom0' | 'guest' | 'other guest';

interface Differing {
  /** The transaction, by the name that its TRANSACTION_START was given. */
  readonly within?: string;
  /** xenstored's answer, where it is a matter of chance. */
  readonly xenstored?: RegExp;
  /** oxenstored's answer, where it is not the embedded store's. */
  readonly oxenstored?: string;
  /** What watches are told by oxenstored, where it is not the same. */
  readonly oxenstoredTells?: Told;
}

/** What each connection's watches were told, `path\0token\0` each. */
type Told = Readonly<Partial<Record<Who, readonly string[]>>>;

type Message = readonly [who: Who, operation: Operation, body: string, differing?: Differing];

/** xenstored names the error that came before: it looks at errno where nothing has set it. */
const SOME_ERROR = /^E[A-Z]+$/;
const X = (count: number): string => 'x'.repeat(count);

const start = (who: Who, within: string): Message => [who, 'TRANSACTION_START', '\0', { within }];
const commit = (who: Who, within: string, oxenstored?: string): Message => [
  who,
  'TRANSACTION_END',
  'T\0',
  { within, ...(oxenstored === undefined ? {} : { oxenstored }) },
];

/** A watch that only oxenstored sets. */
const watchOfOxenstored = (path: string): Message => [
  'dom0',
  'WATCH',
  `${path}\0t\0`,
  { oxenstored: 'OK\0', oxenstoredTells: { dom0: [`${path}\0t\0`] } },
];

const STORIES: Readonly<Record<string, readonly Message[]>> = {
  'a change before a transaction came upon the node is no conflict': [
    ['dom0', 'WRITE', '/m/n\0one'],
    start('dom0', 'writes'),
    start('dom0', 'reads'),
    start('dom0', 'lists'),
    ['other dom0', 'WRITE', '/m/n\0two'],
    ['other dom0', 'MKDIR', '/m/new\0'],
    ['dom0', 'WRITE', '/m/n\0three', { within: 'writes' }],
    commit('dom0', 'writes'),
    ['dom0', 'READ', '/m/n\0', { within: 'reads', oxenstored: 'one' }],
    commit('dom0', 'reads'),
    ['dom0', 'DIRECTORY', '/m\0', { within: 'lists', oxenstored: 'n\0' }],
    commit('dom0', 'lists'),
    ['dom0', 'READ', '/m/n\0'],
  ],
  'a change after a transaction came upon the node is a conflict': [
    ['dom0', 'WRITE', '/c/n\0one'],
    start('dom0', 'reads'),
    ['dom0', 'READ', '/c/n\0', { within: 'reads' }],
    ['other dom0', 'WRITE', '/c/n\0two'],
    ['dom0', 'READ', '/c/n\0', { within: 'reads' }],
    commit('dom0', 'reads', 'OK\0'),
    start('dom0', 'misses'),
    ['dom0', 'READ', '/c/none\0', { within: 'misses' }],
    ['other dom0', 'WRITE', '/c/none\0now'],
    ['dom0', 'READ', '/c/none\0', { within: 'misses' }],
    commit('dom0', 'misses', 'OK\0'),
    start('dom0', 'removes'),
    ['dom0', 'RM', '/c\0', { within: 'removes' }],
    ['other dom0', 'WRITE', '/c/n\0three'],
    commit('dom0', 'removes', 'OK\0'),
    ['dom0', 'READ', '/c/n\0', { oxenstored: 'ENOENT' }],
    start('guest', 'of a guest'),
    ['guest', 'WRITE', 'data/c\0one', { within: 'of a guest' }],
    ['other guest', 'WRITE', 'data/c\0two'],
    ['guest', 'READ', 'data/c\0', { within: 'of a guest' }],
    commit('guest', 'of a guest', 'OK\0'),
    ['guest', 'READ', 'data/c\0', { oxenstored: 'one' }],
  ],
  'a change elsewhere is no conflict, also below': [
    ['dom0', 'WRITE', '/e/n\0one'],
    start('dom0', 'reads'),
    ['dom0', 'READ', '/e\0', { within: 'reads' }],
    ['other dom0', 'WRITE', '/e/n\0two'],
    ['other dom0', 'WRITE', '/elsewhere\0two'],
    ['dom0', 'WRITE', '/e/n/below\0three', { within: 'reads' }],
    commit('dom0', 'reads'),
    ['dom0', 'DIRECTORY', '/e/n\0'],
  ],
  'a transaction that is not there is refused, whatever is asked in it': [
    ['guest', 'READ', 'data\0', { within: 'none', oxenstored: 'EIO' }],
    ['guest', 'READ', '//\0', { within: 'none', oxenstored: 'EIO' }],
    ['guest', 'WRITE', 'data', { within: 'none', oxenstored: 'EIO' }],
    ['guest', 'GET_DOMAIN_PATH', '7\0', { within: 'none', oxenstored: 'EIO' }],
    ['guest', 'RESET_WATCHES', '\0', { within: 'none', oxenstored: 'EIO' }],
    commit('guest', 'none', 'EIO'),
    ['guest', 'WATCH', 'data\0t\0', { within: 'none' }],
    ['guest', 'UNWATCH', 'data\0t\0', { within: 'none' }],
    start('guest', 'own'),
    start('guest', 'own'),
    ['guest', 'TRANSACTION_END', 'X\0', { within: 'own' }],
    ['guest', 'TRANSACTION_END', 'F\0', { within: 'own' }],
    ['guest', 'TRANSACTION_END', 'F\0', { within: 'own', oxenstored: 'EIO' }],
    ['guest', 'TRANSACTION_START', 'x', { within: 'begun with something' }],
  ],
  'a path ends in NUL': [
    ['guest', 'WRITE', 'data/p\0v'],
    ['guest', 'READ', 'data/p', { xenstored: SOME_ERROR }],
    ['guest', 'READ', 'data/p\0\0', { xenstored: SOME_ERROR }],
    ['guest', 'READ', 'data/p\0more\0', { xenstored: SOME_ERROR }],
    ['guest', 'DIRECTORY', 'data/p', { xenstored: SOME_ERROR }],
    ['guest', 'GET_PERMS', 'data/p', { xenstored: SOME_ERROR }],
    ['guest', 'MKDIR', 'data/p', { xenstored: SOME_ERROR }],
    ['guest', 'RM', 'data/p', { xenstored: SOME_ERROR }],
    ['guest', 'WRITE', 'data/p'],
    ['guest', 'WATCH', 'data/p\0t'],
    ['guest', 'SET_PERMS', `data/p\0n${GUEST}`],
    ['guest', 'GET_DOMAIN_PATH', '7'],
    ['guest', 'READ', 'data/p\0'],
  ],
  'how long a path may be': [
    // oxenstored takes 1024 bytes, and for a watch as many as come.
    ...[2048, 2049, 3071].flatMap((length): Message[] => [
      ['dom0', 'READ', `/${X(length - 1)}\0`, { oxenstored: 'EINVAL' }],
      watchOfOxenstored(`/${X(length - 1)}`),
      ['dom0', 'READ', `${X(length)}\0`, { oxenstored: 'EINVAL' }],
      ['guest', 'READ', `/${X(length - 1)}\0`, { oxenstored: 'EINVAL' }],
      ['guest', 'READ', `data/${X(length - 5)}\0`, { oxenstored: 'EINVAL' }],
      ['guest', 'READ', `${HOME}/${X(length)}\0`, { oxenstored: 'EINVAL' }],
      ['guest', 'READ', `${HOME}${X(length - HOME.length)}\0`, { oxenstored: 'EINVAL' }],
      ['dom0', 'READ', `/local/domain/00007/${X(length)}\0`, { oxenstored: 'EINVAL' }],
      ['dom0', 'READ', `/local/domain/000007/${X(length)}\0`, { oxenstored: 'EINVAL' }],
    ]),
    ['guest', 'READ', `data/${X(980)}\0`],
    ['dom0', 'WATCH', `@${X(2047)}\0t\0`],
    watchOfOxenstored(`@${X(2048)}`),
  ],
  'what a path may hold': [
    ['dom0', 'READ', '@x\0', { oxenstored: 'ENOENT' }],
    ...['//', '/a//b', '/a/', 'a/', 'a b', 'a.b', 'a\xe9', '', '/', '/local/domain/007/data'].map((path): Message => [
      'dom0',
      'READ',
      `${path}\0`,
    ]),
    ...['@', '@a b', '//', 'data/'].flatMap((path): Message[] => [
      ['guest', 'WATCH', `${path}\0t\0`],
      ['guest', 'UNWATCH', `${path}\0t\0`],
    ]),
  ],
  'the number of a domain is what stands at the beginning': [
    ...['7', '007', 'x', '', '7x', ' 7', '0x7', '4294967295'].map((number): Message => [
      'guest',
      'GET_DOMAIN_PATH',
      `${number}\0`,
    ]),
    ['guest', 'GET_DOMAIN_PATH', '-1\0', { oxenstored: '/local/domain/1\0' }],
    ['guest', 'GET_DOMAIN_PATH', '7\0more\0'],
    ['dom0', 'IS_DOMAIN_INTRODUCED', '7\0'],
    ['dom0', 'IS_DOMAIN_INTRODUCED', '6\0'],
    ['dom0', 'IS_DOMAIN_INTRODUCED', 'x\0', { oxenstored: 'EINVAL' }],
    ['guest', 'IS_DOMAIN_INTRODUCED', '7\0'],
  ],
  'what no guest may ask, and what nobody may': [
    ['guest', 'CONTROL', 'help\0', { oxenstored: 'OK\0' }],
    ['guest', 'CONTROL', 'help\0', { within: 'none', oxenstored: 'EIO' }],
    ['guest', 'RESTRICT', '\0'],
    ['guest', 'UNKNOWN', '\0'],
    ['guest', 'WATCH_EVENT', '\0'],
    ['dom0', 'ERROR', '\0'],
    ['dom0', 'UNKNOWN', '\0', { within: 'none', oxenstored: 'EIO' }],
  ],
  'a guest learns that a node is missing where it could have got it': [
    ['guest', 'READ', 'none\0'],
    ['guest', 'RM', 'none\0', { oxenstored: 'OK\0' }],
    ['guest', 'SET_PERMS', `none\0n${GUEST}\0`, { oxenstored: 'ENOENT' }],
    ['guest', 'READ', '/tool/none\0', { oxenstored: 'ENOENT' }],
    ['guest', 'RM', 'data/none\0'],
    ['guest', 'RM', 'data/none/none\0'],
    ['dom0', 'WRITE', `${HOME}/data/dark/n\0v`],
    ['dom0', 'SET_PERMS', `${HOME}/data/dark\0w0\0`],
    ['guest', 'READ', 'data/dark/none\0', { oxenstored: 'ENOENT' }],
    ['guest', 'MKDIR', 'data/dark/none\0'],
  ],
  'permissions that are none': [
    ['guest', 'MKDIR', 'data/s\0'],
    ...['', 'n', '7', 'x7', 'n7x', 'N7', `n${GUEST}\0`].map((permission): Message => [
      'guest',
      'SET_PERMS',
      `data/s\0${permission}\0`,
    ]),
    ...['n32752', 'n65536'].map((permission): Message => [
      'guest',
      'SET_PERMS',
      `data/s\0${permission}\0`,
      { oxenstored: 'EACCES' },
    ]),
    ['guest', 'SET_PERMS', `data/s\0n${GUEST}\0r0\0r0\0`],
    ['guest', 'GET_PERMS', 'data/s\0'],
  ],
  'a list in pieces ends in an empty name, also behind its end': [
    ['guest', 'MKDIR', 'data/l/one\0'],
    ...['0', '4', '9999', '-1', 'x'].map((offset): Message => [
      'guest',
      'DIRECTORY_PART',
      `data/l\0${offset}\0`,
      { oxenstored: 'ENOSYS' },
    ]),
    ['guest', 'DIRECTORY_PART', 'data/l\0', { oxenstored: 'ENOSYS' }],
  ],
  'what is removed is told of from below': [
    ['guest', 'WRITE', 'data/a/b/c\0v'],
    ['guest', 'WRITE', 'data/a/d\0v'],
    ['guest', 'WATCH', 'data/a/d\0d\0'],
    ['guest', 'WATCH', 'data/a/b/c\0c\0'],
    ['other guest', 'WATCH', `${HOME}/data/a/b\0b\0`],
    ['guest', 'WATCH', 'data\0all\0'],
    ['dom0', 'WRITE', `${HOME}/data/a/b/e\0v`],
    [
      'dom0',
      'RM',
      `${HOME}/data/a\0`,
      {
        oxenstoredTells: {
          guest: ['data/a\0all\0', 'data/a/b/c\0c\0', 'data/a/d\0d\0'],
          'other guest': [`${HOME}/data/a/b\0b\0`],
        },
      },
    ],
  ],
  'a guest is told of the removal of a node that it could read': [
    ['guest', 'WRITE', 'data/dark/own\0v'],
    ['guest', 'WRITE', 'data/dark/other\0v'],
    ['dom0', 'SET_PERMS', `${HOME}/data/dark\0w0\0`],
    ['dom0', 'SET_PERMS', `${HOME}/data/dark/other\0n0\0`],
    ['guest', 'WATCH', 'data\0t\0'],
    ['dom0', 'RM', `${HOME}/data/dark/own\0`],
    ['dom0', 'RM', `${HOME}/data/dark/other\0`],
  ],
  'a transaction tells of what is there afterwards': [
    ['guest', 'WATCH', 'data\0t\0'],
    start('other guest', 'writes'),
    ['other guest', 'WRITE', 'data/came/and/went\0v', { within: 'writes' }],
    ['other guest', 'WRITE', 'data/came/and/stayed\0v', { within: 'writes' }],
    ['other guest', 'RM', 'data/came/and/went\0', { within: 'writes' }],
    [
      'other guest',
      'TRANSACTION_END',
      'T\0',
      {
        within: 'writes',
        oxenstoredTells: { guest: ['data/came/and/went\0t\0', 'data/came/and/stayed\0t\0'] },
      },
    ],
  ],
  'a message of 4096 bytes is taken': [
    ['guest', 'WRITE', `data/h\0${X(4089)}`, { oxenstored: 'E2BIG' }],
    ['dom0', 'WRITE', `/h\0${X(4093)}`, { oxenstored: 'E2BIG' }],
  ],
};

/** What a guest asks again and again until it is refused, after some messages; `oxenstored` is what is said by it. */
interface Quota {
  readonly before?: readonly Message[];
  readonly message: (count: number) => Message;
  readonly oxenstored: string;
}

const QUOTAS: Readonly<Record<string, Quota>> = {
  watches: { message: (count) => ['guest', 'WATCH', `data\0${count}\0`], oxenstored: '101, then EQUOTA' },
  'open transactions': { message: () => ['guest', 'TRANSACTION_START', '\0'], oxenstored: '11, then EQUOTA' },
  nodes: {
    message: (count) => ['guest', 'WRITE', `data/${Math.floor(count / 50)}/${count}\0`],
    oxenstored: '975, then EQUOTA',
  },
  'names in one node': { message: (count) => ['guest', 'MKDIR', `data/${count}\0`], oxenstored: '995, then EQUOTA' },
  'bytes of a node': {
    message: (count) => ['guest', 'WRITE', `data/n\0${X(1900 + count)}`],
    oxenstored: '149, then E2BIG',
  },
  'bytes of a node with permissions': {
    before: [
      ['guest', 'MKDIR', 'data/n\0'],
      ['guest', 'SET_PERMS', `data/n\0n${GUEST}\0r0\0r1\0`],
    ],
    message: (count) => ['guest', 'WRITE', `data/n\0${X(1900 + count)}`],
    oxenstored: '149, then E2BIG',
  },
  'permissions of a node': {
    message: (count) => ['guest', 'SET_PERMS', `data\0n${GUEST}\0${'r0\0'.repeat(count)}`],
    oxenstored: 'any number',
  },
  'bytes of a name': {
    message: (count) => ['guest', 'MKDIR', `data/${X(980 + count)}\0`],
    oxenstored: '40, then EINVAL',
  },
};
/** So many are asked for at most. */
const MANY = 1100;

class Speaker implements Disposable {
  readonly #connections: Readonly<Record<Who, Connection>>;
  /** Numbers of transactions, by connection and name. */
  readonly #transactions = new Map<string, number>();

  private constructor(connections: Readonly<Record<Who, Connection>>) {
    this.#connections = connections;
  }

  /** Connects, and clears what others left of the guest's data. */
  static async at({ dom0, guest }: Place): Promise<Speaker> {
    const speaker = new Speaker({
      dom0: await connect(dom0),
      'other dom0': await connect(dom0),
      guest: await connect(guest),
      'other guest': await connect(guest),
    });
    const data = `${HOME}/data\0`;
    assert.equal(await speaker.tell(['dom0', 'RM', data]), 'OK\0');
    assert.equal(await speaker.tell(['dom0', 'MKDIR', data]), 'OK\0');
    assert.equal(await speaker.tell(['dom0', 'SET_PERMS', `${data}n${GUEST}\0`]), 'OK\0');
    return speaker;
  }

  async tell([who, operation, body, { within } = {}]: Message): Promise<string> {
    const connection = this.#connections[who];
    const name = `${who}: ${within}`;
    const transaction = within === undefined ? 0 : (this.#transactions.get(name) ?? NOBODYS);
    if (operation !== 'TRANSACTION_START' || transaction !== NOBODYS) {
      const answer = await connection.ask(operation, body, transaction);
      // The generation of a list says nothing but whether it has changed.
      return operation === 'DIRECTORY_PART' ? answer.replace(/^\d+/, 'a number') : answer;
    }
    const answer = await connection.ask(operation, body);
    this.#transactions.set(name, Number.parseInt(answer));
    return answer.replace(/^\d+/, 'a number');
  }

  /** What watches were told since this was last asked. A store sends the event before the answer to what follows. */
  async told(): Promise<Told> {
    const told: Partial<Record<Who, readonly string[]>> = {};
    for (const [who, connection] of Object.entries(this.#connections)) {
      await connection.ask('GET_DOMAIN_PATH', '0\0');
      const events = connection.takeEvents();
      if (events.length > 0) told[who as Who] = events;
    }
    return told;
  }

  /** How many are carried out, and what is said to the next one. */
  async count({ before = [], message }: Quota): Promise<string> {
    for (const line of before) assert.equal(await this.tell(line), 'OK\0');
    for (let count = 0; count < MANY; count++) {
      const answer = await this.tell(message(count));
      if (answer.startsWith('E')) return `${count}, then ${answer}`;
    }
    return 'any number';
  }

  [Symbol.dispose](): void {
    for (const connection of Object.values(this.#connections)) connection[Symbol.dispose]();
  }
}

/** A transaction that no store has given out. */
const NOBODYS = 999_999;

suite('raw messages are answered alike', () => {
  let stores: Stores;

  before(async () => {
    stores = await startStores();
  });
  after(() => stores[Symbol.asyncDispose]());

  for (const [name, messages] of Object.entries(STORIES)) {
    test(name, async () => {
      using embedded = await Speaker.at(stores.embedded);
      using xenstored = await Speaker.at(stores.xenstored);
      using oxenstored = await Speaker.at(stores.oxenstored);
      for (const message of messages) {
        const [who, operation, body, differing = {}] = message;
        const what = `${who}: ${operation} ${JSON.stringify(body.slice(0, 60))} of ${body.length} bytes`;
        const answer = await embedded.tell(message);
        const real = await xenstored.tell(message);
        if (differing.xenstored === undefined) assert.equal(answer, real, `xenstored, ${what}`);
        else assert.match(real, differing.xenstored, `xenstored, ${what}`);
        assert.equal(await oxenstored.tell(message), differing.oxenstored ?? answer, `oxenstored, ${what}`);
        const told = await embedded.told();
        assert.deepEqual(told, await xenstored.told(), `told by xenstored, ${what}`);
        assert.deepEqual(await oxenstored.told(), differing.oxenstoredTells ?? told, `told by oxenstored, ${what}`);
      }
    });
  }

  test('a message of more than 4096 bytes ends the connection', async () => {
    const message: Message = ['dom0', 'WRITE', `/h\0${X(4094)}`];
    const places = [
      [stores.embedded, 'hung up'],
      [stores.xenstored, 'hung up'],
      // It answers nothing any more.
      [stores.oxenstored, 'E2BIG'],
    ] as const;
    for (const [place, answer] of places) {
      using speaker = await Speaker.at(place);
      assert.equal(await speaker.tell(message), answer);
    }
  });

  for (const [name, quota] of Object.entries(QUOTAS)) {
    test(`a guest's ${name}`, async () => {
      using embedded = await Speaker.at(stores.embedded);
      using xenstored = await Speaker.at(stores.xenstored);
      using oxenstored = await Speaker.at(stores.oxenstored);
      assert.equal(await embedded.count(quota), await xenstored.count(quota));
      assert.equal(await oxenstored.count(quota), quota.oxenstored);
    });
  }
});
