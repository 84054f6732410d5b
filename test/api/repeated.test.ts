import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { pino } from 'pino';
import { Repeated } from '../../ts/api/repeated.js';

const HOUR = 3_600_000;
const LEVELS: Readonly<Record<number, string>> = { 20: 'debug', 30: 'info', 40: 'warn' };

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly reason?: string;
  readonly times?: number;
}

/** What is told in `work`, and what the log then has at this level and above. */
function logged(level: string, work: (repeated: Repeated) => void): readonly string[] {
  const lines: Line[] = [];
  const log = pino({ level }, { write: (line: string) => void lines.push(JSON.parse(line) as Line) });
  mock.timers.enable({ apis: ['setInterval'] });
  try {
    using repeated = new Repeated({ log, level: 'warn', message: 'it fails', ending: 'it works again' });
    work(repeated);
  } finally {
    mock.timers.reset();
  }
  return lines.map(({ level: at, msg, reason = '', times = 0 }) => `${LEVELS[at] ?? ''} ${msg} ${reason} ${times}`);
}

test('what lasts is logged once for each reason, and once when it is over', () => {
  const lines = logged('info', (repeated) => {
    for (let round = 0; round < 10_000; round += 1) repeated.tell(round < 5000 ? 'absent' : 'refused');
    repeated.over();
    repeated.over();
  });
  assert.deepEqual(lines, ['warn it fails absent 0', 'warn it fails refused 0', 'info it works again  0']);
});

test('every time is there for whoever debugs', () => {
  const lines = logged('debug', (repeated) => {
    for (let round = 0; round < 3; round += 1) repeated.tell('absent');
  });
  assert.deepEqual(lines, ['warn it fails absent 0', 'debug it fails absent 0', 'debug it fails absent 0']);
});

test('once an hour the log has how often it came since', () => {
  const lines = logged('info', (repeated) => {
    for (let hour = 0; hour < 3; hour += 1) {
      for (let round = 0; round < 720; round += 1) repeated.tell('absent');
      mock.timers.tick(HOUR);
    }
    mock.timers.tick(2 * HOUR);
    repeated.tell('absent');
  });
  assert.deepEqual(lines, [
    'warn it fails absent 0',
    'warn it fails absent 719',
    'warn it fails absent 720',
    'warn it fails absent 720',
    // Nothing came for an hour: this is another time.
    'warn it fails absent 0',
  ]);
});

test('what begins and ends all the time is told five times an hour, and then by its number', () => {
  const lines = logged('info', (repeated) => {
    for (let round = 0; round < 1000; round += 1) {
      repeated.tell('absent');
      repeated.over();
    }
    mock.timers.tick(HOUR);
  });
  const spell = ['warn it fails absent 0', 'info it works again  0'];
  assert.deepEqual(lines, [...Array.from({ length: 5 }, () => spell).flat(), 'warn it fails absent 995']);
});

test('whoever makes up reasons gets fifty of them into the log, and one line for all others', () => {
  const lines = logged('info', (repeated) => {
    for (let round = 0; round < 10_000; round += 1) repeated.tell(`reason ${round}`);
  });
  assert.equal(lines.length, 51);
  assert.deepEqual(lines.slice(-2), ['warn it fails reason 49 0', 'warn it fails reason 50 0']);
});
