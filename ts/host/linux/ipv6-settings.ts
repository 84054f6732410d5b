/** How the kernel does IPv6 on a device: /proc/sys/net/ipv6/conf/DEVICE, as ip-sysctl of the kernel's documentation has it. */
import { constants } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Ipv6Settings } from '../../api/host.js';
import { absent } from '../shared/system-error.js';

/** What values of a file mean, least first: a number counts as the last that is not above it. */
type Words<Value> = readonly (readonly [least: number, meaning: Value])[];

const OFF_ON: Words<boolean> = [
  [0, false],
  [1, true],
];

/** In the order in which they are set: with IPv6 off there is nothing to set. */
const FILES: { readonly [Key in keyof Ipv6Settings]: readonly [file: string, words: Words<Ipv6Settings[Key]>] } = {
  enabled: [
    'disable_ipv6',
    [
      [0, true],
      [1, false],
    ],
  ],
  forwarding: ['forwarding', OFF_ON],
  temporaryAddresses: [
    'use_tempaddr',
    [
      [0, 'none'],
      [1, 'made'],
      [2, 'preferred'],
    ],
  ],
  autoconfiguration: ['autoconf', OFF_ON],
  advertisements: [
    'accept_ra',
    [
      [0, 'ignored'],
      [1, 'heard'],
      [2, 'always'],
    ],
  ],
};

/** Of the device's `directory`. */
export async function readIpv6(directory: string): Promise<Partial<Ipv6Settings>> {
  const settings: Record<string, unknown> = {};
  for (const [key, [file, words]] of Object.entries(FILES)) {
    const text = await readFile(join(directory, file), 'utf8').catch(absent);
    if (text !== null) settings[key] = meaning(words, Number(text));
  }
  return settings;
}

/** Sets all that can be set. Throws the first error of those that cannot. */
export async function writeIpv6(directory: string, settings: Partial<Ipv6Settings>): Promise<void> {
  let first: Error | null = null;
  for (const [key, [file, words]] of Object.entries(FILES)) {
    const wanted: unknown = Reflect.get(settings, key);
    if (wanted === undefined) continue;
    try {
      const value = words.find(([, word]) => word === wanted)?.[0];
      if (value === undefined) throw new Error(`${key}: wanted ${listed(words)}, got ${JSON.stringify(wanted)}`);
      // Without O_CREAT: /proc refuses that with EACCES where it should say that there is nothing.
      await writeFile(join(directory, file), String(value), { flag: constants.O_WRONLY }).catch(absent);
    } catch (error) {
      first ??= error as Error;
    }
  }
  if (first !== null) throw first;
}

function listed(words: Words<unknown>): string {
  return words.map(([, word]) => String(word)).join(' or ');
}

/** A number below the least, as -1 of `use_tempaddr`, counts as that. */
function meaning(words: Words<unknown>, number: number): unknown {
  return (words.findLast(([least]) => least <= number) ?? words[0])?.[1];
}
