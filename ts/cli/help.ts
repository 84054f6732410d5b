/** `--help`, made from the same tables that the parser uses. Loaded only when asked for. */
import type { Usage } from './command-line.js';
import { SUBCOMMANDS } from './index.js';

const WIDTH = 80;

/** Help for the whole program. */
export function programHelp(): string {
  const rows = Object.entries(SUBCOMMANDS).map(([name, { summary }]) => [name, summary] as const);
  return [
    'guestwire - guest agent for XenServer, XCP-ng and KVM',
    '',
    'Usage: guestwire <subcommand> [options]',
    '       guestwire <subcommand> --help',
    '       guestwire --version',
    '',
    'Subcommands:',
    ...table(rows),
    '',
    'Exit codes: 0 done, 1 failed, 2 wrong usage, 69 no wire to a host, 75 another',
    'agent serves with the same state directory, 78 wrong configuration.',
    '',
  ].join('\n');
}

/** Help for one subcommand. */
export function subcommandHelp(usage: Usage): string {
  const rows = Object.entries(usage.options).map(([name, option]): readonly [string, string] => [
    option.type === 'boolean' ? `--${name}` : `--${name} ${option.argument}`,
    option.help,
  ]);
  return [
    ...usage.synopsis.map((line, index) => `${index === 0 ? 'Usage:' : '      '} guestwire ${line}`),
    '',
    ...wrap(usage.description, WIDTH),
    '',
    'Options:',
    ...table([...rows, ['--help', 'print this']]),
    '',
  ].join('\n');
}

function table(rows: readonly (readonly [string, string])[]): string[] {
  const column = Math.max(...rows.map(([left]) => left.length)) + 4;
  return rows.flatMap(([left, right]) =>
    wrap(right, WIDTH - column).map((line, index) => `  ${index === 0 ? left : ''}`.padEnd(column) + line),
  );
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
