/**
 * Every wire that a host can reach this guest by.
 *
 * To add one: a folder here with a `Transport` and a `Codec` (ts/api/communication.ts says what each promises), an
 * index.ts that makes a `CommunicationModule` of them, a line in the list below, and a test under test/communication/.
 * What the wire needs of the machine comes through `Endpoints`, because only ts/host may touch it.
 */
import type { CommunicationModule } from '../api/communication.js';
import { streamWire } from './stream/index.js';
import type { StreamOptions } from './stream/options.js';
import type { WireContext } from './wire-context.js';
import { type XenStoreOptions, xenStoreWire } from './xenstore/index.js';

export interface CommunicationOptions {
  readonly xenstore: XenStoreOptions;
  readonly stream: StreamOptions;
}

export function createCommunication(
  context: WireContext,
  options: CommunicationOptions,
): readonly CommunicationModule[] {
  return [xenStoreWire(context, options.xenstore), streamWire(context, options.stream)];
}
