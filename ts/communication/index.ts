/**
 * Every wire that a host can reach this guest by.
 *
 * To add one: a folder here with a `Transport` and a `Codec` (ts/api/communication.ts says what each promises), a line
 * in the list below, and a test under test/communication/. What the wire needs of the machine comes through
 * `CommunicationOptions`, because only ts/host may touch it.
 */
import type { Logger } from 'pino';
import type { CommunicationModule } from '../api/communication.js';
import { codec } from './xenstore/codec.js';
import { type OpenStore, XenStoreTransport } from './xenstore/transport.js';

export interface CommunicationOptions {
  readonly openStore: OpenStore;
  readonly log: Logger;
  /** How long an answer stays in the store, milliseconds. */
  readonly keepAnswers: number;
  /** How often to look for requests whose event was lost, milliseconds. */
  readonly pollInterval: number;
}

export function createCommunication(options: CommunicationOptions): readonly CommunicationModule[] {
  return [{ name: 'xenstore', codec, open: () => XenStoreTransport.open(options) }];
}
