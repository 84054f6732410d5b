import { AgentError, kindOf } from '../../api/index.js';

/** What an argument may be; with a question mark it may be left out. */
type Kind = 'integer' | 'text' | 'flag' | 'texts';
export type Spec = Readonly<Record<string, Kind | `${Kind}?`>>;

interface Types {
  readonly integer: number | bigint;
  readonly text: string;
  readonly flag: boolean;
  readonly texts: readonly string[];
}

type Argument<K> = K extends `${infer Inner extends Kind}?` ? Types[Inner] | null : K extends Kind ? Types[K] : never;
export type Arguments<S extends Spec> = { readonly [Name in keyof S]: Argument<S[Name]> };

const WANTED: Readonly<Record<Kind, string>> = {
  integer: 'a whole number of 64 bits',
  text: 'text',
  flag: 'true or false',
  texts: 'a list of texts',
};
const INT64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n } as const;

/** For `parse`: the arguments of a request as `spec` has them, and no others. Throws AgentError. */
export function readArguments<const S extends Spec>(spec: S): (value: unknown) => Arguments<S> {
  return (value) => {
    const given = (value ?? {}) as Readonly<Record<string, unknown>>;
    for (const name of Object.keys(given)) {
      if (!Object.hasOwn(spec, name)) {
        const known = Object.keys(spec).join(', ');
        throw new AgentError('GW_ARGUMENT_INVALID', ['arguments', known === '' ? 'none' : known, shown(name)]);
      }
    }
    const entries = Object.entries<string>(spec).map(([name, form]) => {
      const kind = form.replace('?', '') as Kind;
      const argument = Object.hasOwn(given, name) ? given[name] : undefined;
      if (argument === undefined && form.endsWith('?')) return [name, null];
      if (!fits(kind, argument)) throw new AgentError('GW_ARGUMENT_INVALID', [name, WANTED[kind], kindOf(argument)]);
      return [name, argument];
    });
    return Object.fromEntries(entries) as Arguments<S>;
  };
}

function fits(kind: Kind, value: unknown): boolean {
  switch (kind) {
    case 'integer':
      return Number.isSafeInteger(value) || (typeof value === 'bigint' && value >= INT64.min && value <= INT64.max);
    case 'text':
      return typeof value === 'string';
    case 'flag':
      return typeof value === 'boolean';
    case 'texts':
      return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
  }
}

/** A name of the host's, for a message. */
function shown(name: string): string {
  return name.replaceAll(/[^\x20-\x7e]|["\\]/g, '?').slice(0, 40);
}

/**
 * Bytes from base64 as the decoder of QEMU's guest agent takes it, with what its clients send: line feeds anywhere
 * (Proxmox VE sends one after every 76 characters and at the end), and several texts that were padded one by one. What
 * that decoder would silently drop, an unfinished group at the end, is refused. Throws AgentError that names `what`.
 */
export function decodeBase64(what: string, text: string): Buffer {
  const bare = text.replaceAll('\n', '');
  // No group of four is looked at twice, so that a text of megabytes costs no more than its length.
  const pieces = /^[A-Za-z0-9+/=]*$/.test(bare) && bare.length % 4 === 0 ? (bare.match(/[^=]+=*/g) ?? []) : null;
  if (pieces?.join('').length === bare.length && pieces.every(isPadded)) {
    return Buffer.concat(pieces.map((piece) => Buffer.from(piece, 'base64')));
  }
  throw new AgentError('GW_ARGUMENT_INVALID', [what, 'base64', 'other characters']);
}

/** Whole groups of four, of which the last may have two equal signs at most. */
function isPadded(piece: string): boolean {
  return piece.length % 4 === 0 && !piece.endsWith('===');
}
