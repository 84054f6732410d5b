import type { Command, Lane } from '../../api/command.js';

/** The dialect of QEMU's guest agent: its commands are asked for in no other. */
const DIALECT = 'qemu';

/**
 * What of QEMU's guest agent there is. Those that only tell something, or keep something in memory until the file is
 * closed, need no turn among the commands that change the machine.
 */
const LANES: Readonly<Record<string, Lane>> = {
  'guest-sync': 'immediate',
  'guest-sync-delimited': 'immediate',
  'guest-ping': 'immediate',
  'guest-info': 'immediate',
  'guest-get-host-name': 'immediate',
  'guest-get-osinfo': 'immediate',
  'guest-network-get-interfaces': 'immediate',
  'guest-set-user-password': 'serial',
  'guest-ssh-get-authorized-keys': 'immediate',
  'guest-ssh-add-authorized-keys': 'serial',
  'guest-ssh-remove-authorized-keys': 'serial',
  'guest-file-open': 'immediate',
  'guest-file-read': 'immediate',
  'guest-file-write': 'immediate',
  'guest-file-close': 'serial',
  'guest-shutdown': 'serial',
};

export const QEMU_COMMANDS: readonly Pick<Command, 'name' | 'lane' | 'dialect'>[] = Object.entries(LANES).map(
  ([name, lane]) => ({ name, lane, dialect: DIALECT }),
);

/** The one that is not answered when it works: whoever asked sees the machine go. */
export const SHUTDOWN = 'guest-shutdown';
