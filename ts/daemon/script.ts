/**
 * A program of the machine's owner as a command. It reads the request as one line of JSON, and prints a return code and
 * a message: as a JSON object, or the code in the first line and the message in what follows. docs/plugins.md has the
 * contract.
 */
import { type Command, command } from '../api/command.js';
import type { Reply } from '../api/communication.js';
import { AgentError, messageOf } from '../api/errors.js';
import type { Host, RunResult } from '../api/host.js';
import { Secret } from '../api/secret.js';
import { parseDuration } from './units.js';

/** What `Processes.run` keeps of an output, bytes. */
const OUTPUT_LIMIT = 64 * 1024;
const NOT_FOUND = 127;

export interface Script {
  /** The command's. */
  readonly name: string;
  /** Where the program is, for the system. */
  readonly path: string;
  /** How long it may take, milliseconds. */
  readonly timeout: number;
  /** Whether its standard error is logged. */
  readonly logsErrors: boolean;
}

export interface ScriptSettings {
  /** Milliseconds; absent where the script does not say. */
  readonly timeout?: number;
  readonly logsErrors: boolean;
}

/** As much of a script's standard error as the log takes, characters. */
const LOGGED = 2000;

/**
 * What a script wants for itself, by a comment among its first lines: `# guestwire: timeout=10m stderr=log`. Gives a
 * reason where that cannot be read.
 */
export function scriptSettings(head: string): ScriptSettings | string {
  const [, text] = head.startsWith('#!') ? (/^\W{1,4}guestwire:[ \t]*(.*)$/m.exec(head) ?? []) : [];
  let settings: ScriptSettings = { logsErrors: false };
  for (const word of text?.split(/\s+/).filter(Boolean) ?? []) {
    const timeout = word.startsWith('timeout=') ? parseDuration(word.slice('timeout='.length)) : null;
    if (word === 'stderr=log') settings = { ...settings, logsErrors: true };
    else if (timeout !== null) settings = { ...settings, timeout };
    else return `its line 'guestwire:' has '${word}': wanted timeout=DURATION, such as timeout=10m, or stderr=log`;
  }
  return settings;
}

export function scriptCommand({ name, path, timeout, logsErrors }: Script, host: Host): Command {
  const failed = (reason: string, cause?: unknown): AgentError =>
    new AgentError('GW_SCRIPT_FAILED', [name, reason], { cause });
  const script = command({
    name,
    lane: 'serial',
    parse: (value) => value,
    async run(value, { log, signal }) {
      if (!host.live) throw failed('on a copy of a system (--root) nothing is run');
      using request = new Secret(Buffer.from(`${JSON.stringify({ name, value })}\n`));
      let result: RunResult;
      try {
        result = await host.processes.run([path], { stdin: request, timeout, signal });
      } catch (error) {
        throw failed(`cannot be started: ${(error as { code?: string }).code ?? 'no reason given'}`, error);
      }
      const { code, stdout, stderr, timedOut } = result;
      // What it printed may quote the request, so that only its length is told.
      log.debug({ script: path, code, stdoutBytes: stdout.length, stderrBytes: stderr.length }, 'script ended');
      const complaint = logsErrors ? printable(stderr) : '';
      if (complaint !== '') log.info({ script: path, stderr: complaint }, 'script wrote to standard error');
      // What ended by itself at the last moment has an answer all the same.
      if (signal.aborted && code !== 0) throw failed(`it was killed: ${messageOf(signal.reason)}`);
      if (timedOut) throw failed(`no answer within ${timeout / 1000} s`);
      if (code === NOT_FOUND) throw failed('exit status 127: it, its interpreter or a program it runs was not found');
      if (code !== 0) throw failed(`exit status ${code}, wanted 0`);
      const reply = parseOutput(stdout);
      if (typeof reply !== 'string') return reply;
      throw failed(stdout.length >= OUTPUT_LIMIT ? 'more output than 64 KiB' : reply);
    },
  });
  // With that the signal aborts when the request is withdrawn, too.
  return { ...script, journaled: true };
}

/** The end of it, which most often says why, in one line. */
function printable(text: string): string {
  return text
    .trim()
    .slice(-LOGGED)
    .replace(/[^\P{C}\n]/gu, '?');
}

/** The answer in a script's output, or what is wrong with it, without a word of it. */
export function parseOutput(output: string): Reply | string {
  return output.trimStart().startsWith('{') ? parseJson(output) : parseLines(output);
}

function parseJson(output: string): Reply | string {
  let answer: unknown;
  try {
    answer = JSON.parse(output);
  } catch {
    return 'wanted one JSON object, got { and what is no JSON';
  }
  const { returncode, message = '' } = answer as { readonly returncode?: unknown; readonly message?: unknown };
  const code = typeof returncode === 'number' ? String(returncode) : returncode;
  if (typeof code !== 'string' || !isCode(code)) return `returncode: wanted a code such as 0, got ${kind(code)}`;
  if (typeof message !== 'string') return `message: wanted text, got ${kind(message)}`;
  return { returncode: code, message };
}

function parseLines(output: string): Reply | string {
  const [first = '', ...rest] = output.split('\n');
  const code = first.trim();
  if (!isCode(code)) return `first line: wanted a code such as 0, got ${code === '' ? 'nothing' : 'other text'}`;
  return { returncode: code, message: rest.join('\n').trimEnd() };
}

/** A number, or one with a letter before it, as `D0`: any word would make an answer of a message on the wrong line. */
function isCode(text: string): boolean {
  return /^[A-Z]?\d{1,5}$/.test(text);
}

function kind(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  return typeof value === 'string' ? 'other text' : `a ${typeof value}`;
}
