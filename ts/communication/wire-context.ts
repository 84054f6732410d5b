import type { Logger } from 'pino';
import type { Endpoints } from '../api/endpoints.js';

/** What every wire is handed. */
export interface WireContext {
  readonly endpoints: Endpoints;
  readonly log: Logger;
}
