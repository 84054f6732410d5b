/** What a subcommand is: a table of its options, for the parser and for `--help` alike, and a function. */
import { SETTINGS } from '../daemon/settings.js';
import { endProcess } from '../host/shared/process-end.js';
import { parseArgs } from '../host/shared/runtime/command-line.js';

/** sysexits.h, and what shells expect. */
export const EXIT = { ok: 0, failure: 1, usage: 2, unavailable: 69, inUse: 75, config: 78 } as const;

export type Option =
  | { readonly type: 'boolean'; readonly help: string }
  /** `argument` stands for the value in the help, such as `PATH`. */
  | { readonly type: 'string'; readonly argument: string; readonly help: string };

type Values<Options extends Readonly<Record<string, Option>>> = {
  readonly [Name in keyof Options]: Options[Name]['type'] extends 'boolean' ? boolean : string | undefined;
};

export interface Usage {
  readonly synopsis: readonly string[];
  readonly description: string;
  readonly options: Readonly<Record<string, Option>>;
}

/** One subcommand. `run` resolves with the exit code. */
export interface Subcommand extends Usage {
  run(args: readonly string[]): Promise<number>;
}

interface Definition<Options extends Readonly<Record<string, Option>>> extends Usage {
  readonly options: Options;
  main(values: Values<Options>, positionals: readonly string[]): Promise<number>;
}

/** A mistake on the command line: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Ties a table of options to the function that gets their values. */
export function subcommand<const Options extends Readonly<Record<string, Option>>>(
  definition: Definition<Options>,
): Subcommand {
  return {
    ...definition,
    async run(args) {
      const { values, positionals } = parse(args, definition.options);
      return definition.main(values as Values<Options>, positionals);
    },
  };
}

function parse(
  args: readonly string[],
  options: Readonly<Record<string, Option>>,
): { values: Record<string, unknown>; positionals: string[] } {
  const types = Object.fromEntries(Object.entries(options).map(([name, { type }]) => [name, { type }]));
  try {
    const { values, positionals } = parseArgs({ args: [...args], options: types, allowPositionals: true });
    for (const [name, { type }] of Object.entries(options)) if (type === 'boolean') values[name] ??= false;
    return { values, positionals };
  } catch (error) {
    const { message } = error as Error;
    // Node's advice after the first sentence is about `--`, which is rarely what was meant.
    throw new UsageError(message.split('. To specify')[0] ?? message, { cause: error });
  }
}

/** A whole number within bounds, or a UsageError that names the option. */
export function integer(option: string, text: string, { min, max }: { min: number; max: number }): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`${option}: wanted a whole number from ${min} to ${max}, got '${text}'`);
}

/** A domain id, or a UsageError. */
export function domainId(text: string): number {
  return integer('--domain', text, SETTINGS.xenstore.domain);
}

/** The option's value, or a UsageError when it was not given. */
export function required(option: string, value: string | undefined): string {
  if (value === undefined) throw new UsageError(`${option} is required`);
  return value;
}

/** One of the words, or a UsageError that lists them. */
export function choice<const Words extends readonly string[]>(
  option: string,
  text: string,
  words: Words,
): Words[number] {
  if (words.includes(text)) return text;
  throw new UsageError(`${option}: wanted ${words.join(', ')}, got '${text}'`);
}

/** No positional arguments: for subcommands that take none. */
export function noMore(positionals: readonly string[]): void {
  if (positionals[0] !== undefined) throw new UsageError(`unexpected argument '${positionals[0]}'`);
}

let isReaderWatched = false;

/** A line for whoever called. One who stops reading, such as head(1), ends the program without a word. */
export function print(line: string): void {
  if (!isReaderWatched) {
    isReaderWatched = true;
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') endProcess(EXIT.failure);
      throw error;
    });
  }
  process.stdout.write(`${line}\n`);
}
