import type { CommunicationModule } from '../../api/communication.js';
import type { WireContext } from '../wire-context.js';
import { createCodec } from './codec.js';
import type { StreamOptions } from './options.js';

/** Lines of JSON through a port of the virtual machine, a unix socket or vsock. docs/wires.md has both dialects. */
export function streamWire({ endpoints, log }: WireContext, options: StreamOptions): CommunicationModule {
  return {
    name: 'stream',
    codec: createCodec(options.maxLine),
    async open() {
      const { StreamTransport } = await import('./transport.js');
      return StreamTransport.open({ endpoints, log, ...options });
    },
  };
}
