/** How the codes of files are provoked, in the order of docs/errors.md. */
import { createHash } from 'node:crypto';
import { asked, base64 } from './asked.js';
import type { AgentEntry } from './entry.js';

/** The value of `file_inject` for a part of /srv/big, whose whole is ten digits. */
function part(content: string, offset: number, path = '/srv/big', total = 10): Readonly<Record<string, unknown>> {
  const last = offset + content.length === total;
  const digest = createHash('sha256').update('0123456789').digest('hex');
  return {
    b64_path: base64(path),
    b64_file: base64(content),
    offset,
    total,
    ...(last ? { sha256: digest } : {}),
  };
}

export const FILE_ENTRIES: Readonly<Record<string, AgentEntry>> = {
  GW_FILE_UNDECODABLE: { says: [], provoke: asked('injectfile', 'no base64!') },

  GW_FILE_REFUSED: {
    says: ['/proc/sys/kernel/hostname', '/proc belongs to the kernel'],
    provoke: asked('injectfile', base64('/proc/sys/kernel/hostname,x')),
  },

  GW_FILE_FAILED: {
    says: ['/etc/hostname/x', 'a part of the path is not a directory'],
    provoke: asked('injectfile', base64('/etc/hostname/x,hello')),
  },

  GW_FILE_UNREADABLE: {
    says: ['/etc/ghost', 'there is no such file'],
    async provoke(guest) {
      await guest.start();
      return guest.execute('guest-file-open', { path: '/etc/ghost' });
    },
  },

  GW_FILE_HANDLE: {
    says: ['5', 'one that guest-file-open gave', 'one that is not open'],
    async provoke(guest) {
      await guest.start();
      return guest.execute('guest-file-read', { handle: 5 });
    },
  },

  GW_UPLOAD_CONTRADICTORY: {
    says: ['/srv/big', 'a total of 10 bytes as before', '11'],
    async provoke(guest) {
      await guest.start();
      await guest.succeeds('file_inject', part('0123', 0));
      return guest.request('file_inject', part('4567', 4, '/srv/big', 11));
    },
  },

  GW_UPLOAD_GAP: {
    says: ['/srv/big', '4', '6'],
    async provoke(guest) {
      await guest.start();
      await guest.succeeds('file_inject', part('0123', 0));
      return guest.request('file_inject', part('67', 6));
    },
  },

  GW_UPLOAD_LIMIT: {
    says: ['/srv/second', '1', '1'],
    config: '[files]\nuploads = 1',
    async provoke(guest) {
      await guest.start();
      await guest.succeeds('file_inject', part('0123', 0));
      return guest.request('file_inject', part('0123', 0, '/srv/second'));
    },
  },
};
