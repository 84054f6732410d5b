/** Options of a command line. */
export { parseArgs } from 'node:util';
