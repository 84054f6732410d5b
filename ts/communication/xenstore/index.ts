import type { CommunicationModule } from '../../api/communication.js';
import type { WireContext } from '../wire-context.js';
import { codec } from './nova/codec.js';

export interface XenStoreOptions {
  /** How long an answer stays in the store, milliseconds. */
  readonly answerLifetime: number;
  /** How often to look for requests whose event was lost, milliseconds. */
  readonly scanInterval: number;
}

/** XenServer's and XCP-ng's wire. */
export function xenStoreWire({ endpoints, log }: WireContext, options: XenStoreOptions): CommunicationModule {
  return {
    name: 'xenstore',
    codec,
    async open() {
      const { NovaTransport } = await import('./nova/transport.js');
      return NovaTransport.open({ line: endpoints.store, log, ...options });
    },
  };
}
