/** The dialect of QEMU's guest agent: its commands are asked for in no other. */
const DIALECT = 'qemu';

/** The one that is not answered when it works: whoever asked sees the machine go. */
export const SHUTDOWN = 'guest-shutdown';

/** What of QEMU's guest agent there is. */
const NAMES = [
  'guest-sync',
  'guest-sync-delimited',
  'guest-ping',
  'guest-info',
  'guest-get-host-name',
  'guest-get-osinfo',
  'guest-network-get-interfaces',
  'guest-set-user-password',
  'guest-ssh-get-authorized-keys',
  'guest-ssh-add-authorized-keys',
  'guest-ssh-remove-authorized-keys',
  'guest-file-open',
  'guest-file-read',
  'guest-file-write',
  'guest-file-close',
  SHUTDOWN,
] as const;

export type QemuName = (typeof NAMES)[number];

export const QEMU_COMMANDS = NAMES.map((name) => ({ name, dialect: DIALECT }));
