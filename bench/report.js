// Turns results into a table, JSON, a plot and the measured part of docs/performance.md.
import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

export const quantile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
export const median = (values) => quantile(Float64Array.from(values).sort(), 0.5);

/** What `bench host` prints, a line for each request: microseconds until its answer, and of one READ. */
export const hostTimes = (printed) =>
  printed
    .trim()
    .split('\n')
    .map((line) => line.split(' ').map(Number));

const us = (value) => value.toFixed(1);
const times = (value) => `${value.toFixed(2)}×`;
const row = (cells) => `| ${cells.join(' | ')} |`;
const table = (head, rows) => [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
const named = (list, name) => list.find((each) => each.name === name);

/** Each goal that the results speak about, and whether it is met. */
export function goals({ latency, version, exchange, start }) {
  const list = [];
  const add = (goal, value, limit, unit, least = false) =>
    list.push({ goal, measured: `${value.toFixed(2)}${unit}`, met: least ? value >= limit : value <= limit });
  if (latency) {
    const [addon, c, loop] = ['addon, loop', 'C libxenstore', 'Rust read loop'].map((name) => named(latency, name));
    add('median at most that of libxenstore, within 5 %', addon.p50 / c.p50, 1.05, '×');
    add('median at most 1.2 times that of a bare read loop', addon.p50 / loop.p50, 1.2, '×');
    add('99th percentile at most 2 times that of a bare read loop', addon.p99 / loop.p99, 2, '×');
  }
  for (const { name, programs } of version?.places ?? []) {
    const { trips } = programs.find(({ program }) => program === 'agent');
    add(`version answered within 6 store round trips, ${name}`, trips, 6, ' round trips');
  }
  if (exchange) {
    const addon = named(exchange, 'addon').rate;
    add(
      'key exchange at least 15 times as fast as node-forge',
      addon / named(exchange, 'node-forge').rate,
      15,
      '×',
      true,
    );
    add('key exchange faster than crypto-bigint', addon / named(exchange, 'crypto-bigint').rate, 1, '×', true);
  }
  if (start) {
    add('ready within 1.4 times the start of a bare node', start.agent.ms / start.bare.ms, 1.4, '×');
    add('resident memory within 12 MiB of a bare node', start.agent.mib - start.bare.mib, 12, ' MiB');
  }
  return list;
}

function tables({ latency, version, exchange, start }) {
  const parts = [];
  if (latency) {
    const [c, loop] = ['C libxenstore', 'Rust read loop'].map((name) => named(latency, name).p50);
    const head = ['watcher', 'min µs', 'median µs', '99 % µs', '99.9 % µs', 'to C', 'to bare loop', 'flood, events/s'];
    const rows = latency.map(({ name, min, p50, p99, p999, flood }) => [
      name,
      us(min),
      us(p50),
      us(p99),
      us(p999),
      times(p50 / c),
      times(p50 / loop),
      flood.toFixed(0),
    ]);
    parts.push(`### From the write to the callback (${latency[0].events} events each)\n\n${table(head, rows)}`);
  }
  if (version) {
    const head = ['answered by', 'on', 'min µs', 'median µs', '99 % µs', 'a READ µs', 'round trips'];
    const names = { agent: 'the agent', node: 'Node, the same to all', rust: 'Rust, the same to all' };
    const rows = version.places.flatMap(({ name, read, programs }) =>
      programs.map(({ program, min, p50, p99, trips }) => [
        names[program],
        name,
        us(min),
        us(p50),
        us(p99),
        us(read),
        trips.toFixed(2),
      ]),
    );
    const title = `### From a version request to its answer (${version.requests} requests each)`;
    parts.push(`${title}\n\n${table(head, rows)}`);
  }
  if (exchange) {
    const forge = named(exchange, 'node-forge').rate;
    const rows = exchange.map(({ name, rate }) => [name, rate.toFixed(0), us(1e6 / rate), times(rate / forge)]);
    parts.push(`### One whole key exchange\n\n${table(['with', 'a second', 'µs', 'to node-forge'], rows)}`);
  }
  if (start) {
    const line = (name, { ms, mib }) => [name, us(ms), times(ms / start.bare.ms), mib.toFixed(1)];
    const body = table(
      ['', 'ready, ms', 'to bare node', 'resident, MiB'],
      [line('agent', start.agent), line('bare node', start.bare)],
    );
    parts.push(`### Start to ready, and resident memory (${start.runs} runs, medians)\n\n${body}`);
  }
  return parts.join('\n\n');
}

function machine() {
  const xen = execFileSync('dpkg-query', ['-W', '-f', '${Version}', 'xen-utils-4.17'], { encoding: 'utf8' });
  const memory = (totalmem() / 2 ** 30).toFixed(1);
  return `${cpus()[0].model.trim()}, ${cpus().length} cores, ${memory} GiB; Linux ${release()}; node ${process.version}; xen-utils-4.17 ${xen}`;
}

const COLOURS = ['#d62728', '#ff9896', '#1f77b4', '#2ca02c', '#9467bd', '#8c564b'];

/** Share of events (upwards) that took at most so long (to the right, logarithmic). */
function plot(latency) {
  const box = { left: 60, top: 20, width: 620, height: 340 };
  const ends = latency.flatMap(({ curve }) => [curve[0], curve.at(-1)]);
  const [low, high] = [Math.log10(Math.min(...ends) * 0.9), Math.log10(Math.max(...ends) * 1.1)];
  const x = (value) => box.left + ((Math.log10(value) - low) / (high - low)) * box.width;
  const y = (share) => box.top + (1 - share) * box.height;
  const ticks = [1, 10, 100, 1000, 10_000, 100_000]
    .flatMap((ten) => [ten, 2 * ten, 3 * ten, 5 * ten])
    .filter((value) => Math.log10(value) > low && Math.log10(value) < high);
  const line = (x1, y1, x2, y2) => `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="#ddd"/>`;
  const text = (at, down, anchor, words) => `<text x="${at}" y="${down}" text-anchor="${anchor}">${words}</text>`;
  const grid = [
    ...ticks.map((value) => line(x(value), box.top, x(value), y(0)) + text(x(value), y(0) + 18, 'middle', value)),
    ...[0, 0.25, 0.5, 0.75, 1].map(
      (share) =>
        line(box.left, y(share), box.left + box.width, y(share)) +
        text(box.left - 8, y(share) + 4, 'end', `${share * 100} %`),
    ),
  ];
  const curves = latency.map(({ name, curve }, i) => {
    const points = curve
      .map((value, at) => `${x(value).toFixed(1)},${y((at + 0.5) / curve.length).toFixed(1)}`)
      .join(' ');
    const down = box.top + 150 + i * 20;
    return `<polyline points="${points}" fill="none" stroke="${COLOURS[i]}" stroke-width="1.5"/>
<line x1="520" y1="${down - 4}" x2="545" y2="${down - 4}" stroke="${COLOURS[i]}" stroke-width="3"/>${text(552, down, 'start', name)}`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 420" font-family="sans-serif" font-size="12">
<rect width="700" height="420" fill="white"/>
${grid.join('\n')}
${curves.join('\n')}
${text(370, 405, 'middle', 'microseconds from the write to the callback; up: share of events that took no longer')}
</svg>
`;
}

const PAGE = 'docs/performance.md';

/** Replaces what stands between the page's two markers of that name. */
function fill(name, text) {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  if (!existsSync(PAGE)) throw new Error(`${PAGE} is missing`);
  const page = readFileSync(PAGE, 'utf8');
  const [before, after] = [page.indexOf(begin), page.indexOf(end)];
  if (before < 0 || after < before) throw new Error(`${PAGE} has lost the lines ${begin} and ${end}`);
  writeFileSync(PAGE, `${page.slice(0, before)}${begin}\n\n${text}\n\n${page.slice(after)}`);
  execFileSync('npx', ['prettier', '--write', '--log-level', 'warn', PAGE], { stdio: 'inherit' });
}

/** Results on the kernel's device: a table for each place, the plot of the guest's, and the round trips of an answer. */
export function reportXen({ places, polling, answer, images }, { whole }) {
  const head = ['watcher', 'min µs', 'median µs', '99 % µs', 'to C', 'to bare loop'];
  const parts = Object.entries(places).map(([place, latency]) => {
    const [c, loop] = ['C libxenstore', 'Rust read loop'].map((name) => named(latency, name).p50);
    const rows = latency.map(({ name, min, p50, p99 }) => [
      name,
      us(min),
      us(p50),
      us(p99),
      times(p50 / c),
      times(p50 / loop),
    ]);
    return `### In ${place} (${latency[0].events} events each)\n\n${table(head, rows)}`;
  });
  const addon = named(places['the guest'], 'addon, loop').p50;
  parts.push(
    `An agent that looks once a second, in the guest: median ${(polling.p50 / 1000).toFixed(0)} ms, longest ` +
      `${(polling.max / 1000).toFixed(0)} ms: ${(polling.p50 / addon).toFixed(0)} times the addon's.`,
    `### From a version request in dom0 to its answer there, answered in the guest (${answer.requests} requests each)\n\n` +
      table(
        ['answered by', 'min µs', 'median µs', '99 % µs', 'round trips of the guest'],
        [
          ['the agent', answer.agent],
          ['Rust, the same to all', answer.least],
        ].map(([who, { min, p50, p99 }]) => [who, us(min), us(p50), us(p99), (p50 / answer.guest).toFixed(2)]),
      ) +
      `\n\nA READ takes ${us(answer.guest)} µs in the guest and ${us(answer.dom0)} in dom0.`,
    images.map((line) => `- ${line}`).join('\n'),
  );
  const text = parts.join('\n\n');
  console.log(`${machine()}\n\n${text}`);
  if (!whole) return;
  writeFileSync('bench/latency-xen.svg', plot(places['the guest']));
  fill(
    'xen',
    `Machine: ${machine()}; Xen and both Linux 6.1 kernels emulated by QEMU, so only ratios mean anything.\n\n${text}\n\n` +
      `![Latency in the guest](../bench/latency-xen.svg)`,
  );
}

/** What a table says of one watcher: quantiles of its sorted times, and the plot's curve, a point each 0.1 %. */
export function summarize(name, times) {
  const sorted = Float64Array.from(times).sort();
  const at = (share) => quantile(sorted, share);
  return {
    name,
    events: sorted.length,
    min: sorted[0],
    p50: at(0.5),
    p99: at(0.99),
    p999: at(0.999),
    curve: Array.from({ length: 1000 }, (_, i) => at((i + 0.5) / 1000)),
  };
}

/** Prints the tables; a whole run also writes bench/results.json, bench/latency.svg and the page's measured part. */
export function report(results, { whole }) {
  const text = tables(results);
  console.log(`${machine()}\n\n${text}\n`);
  if (!whole) return;
  const { latency, ...others } = results;
  const summary = latency.map((each) => ({ ...each, curve: undefined }));
  const kept = { machine: machine(), goals: goals(results), latency: summary, ...others };
  writeFileSync('bench/results.json', `${JSON.stringify(kept, null, 2)}\n`);
  writeFileSync('bench/latency.svg', plot(latency));
  const verdicts = goals(results).map(({ goal, measured, met }) => [goal, measured, met ? 'met' : 'not met']);
  execFileSync('npx', ['prettier', '--write', '--log-level', 'warn', 'bench/results.json'], { stdio: 'inherit' });
  const head = `Machine: ${machine()}; load before: ${results.load}.`;
  const end = table(['goal', 'measured', ''], verdicts);
  fill('measured', `${head}\n\n${text}\n\n![Latency](../bench/latency.svg)\n\n### Goals\n\n${end}`);
}
