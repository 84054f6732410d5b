/** The family of an IP address as text: 4, 6, or 0 for what is none. */
export { isIP } from 'node:net';
