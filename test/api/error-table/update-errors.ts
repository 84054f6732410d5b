/** How the codes of `agentupdate` are provoked, in the order of docs/errors.md. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { symlinkSync } from 'node:fs';
import { BUILT_VERSION, makeRelease } from '../../support/release.js';
import { Signer } from '../../support/signer.js';
import { UpdateServer } from '../../support/update-server.js';
import type { AgentEntry, Told } from './entry.js';
import type { Guest } from './guest.js';

/** The built version, where `current` leads to it, on a disk that only the agent sees. */
const INSTALLED = `
  mount -t tmpfs tmpfs /srv
  mkdir -p /srv/versions/${BUILT_VERSION}
  cp -r dist native package.json /srv/versions/${BUILT_VERSION}
  ln -s versions/${BUILT_VERSION} /srv/current`;
const CONFIG = '[update]\ndirectory = "/srv"\nhttp = true\n';
/** Of somebody who has signed nothing here. */
const PUBLIC_KEY = 'RWRUGIdnmJ0fvy5Ctm+owif4Wvc3q46z32mX6Du3yzPE4knPl/E13uU3';

const md5 = (bytes: string | Uint8Array): string => createHash('md5').update(bytes).digest('hex');

/** Has an installed agent updated from a server, by what `request` says once it has put files there. */
async function updated(guest: Guest, request: (server: UpdateServer) => string, setup = ''): Promise<Told> {
  await using server = await UpdateServer.start(null);
  await guest.startLive(`${INSTALLED}\n${setup}`, { program: '/srv/current/dist/guestwire.js', network: 'shared' });
  return await guest.request('agentupdate', request(server));
}

/** Serves an archive, and gives the request for it. */
function served(server: UpdateServer, archive: string | Uint8Array): string {
  server.files.set('/archive', archive);
  return `${server.url('/archive')},${md5(archive)}`;
}

export const UPDATE_ENTRIES: Readonly<Record<string, AgentEntry>> = {
  GW_UPDATE_REFUSED: {
    says: [/the agent was started as .*\/main\.js, wanted \/usr\/lib\/guestwire\/current\/dist\/guestwire\.js; .*/],
    async provoke(guest) {
      await guest.startLive();
      return guest.request('agentupdate', `https://localhost/archive,${md5('')}`);
    },
  },

  GW_UPDATE_DOWNLOAD: {
    says: [/http:\/\/localhost:\d+\/none/, 'the server has no such file'],
    config: CONFIG,
    provoke: (guest) => updated(guest, (server) => `${server.url('/none')},${md5('')}`),
  },

  GW_UPDATE_DIGEST: {
    says: ['MD5', md5('another'), md5('an archive')],
    config: CONFIG,
    provoke: (guest) =>
      updated(guest, (server) => served(server, 'an archive').replace(md5('an archive'), md5('another'))),
  },

  GW_UPDATE_UNSIGNED: {
    says: [
      /http:\/\/localhost:\d+\/archive\.manifest/,
      /it is signed with the key [0-9A-F]{16}, which is not among update\.keys/,
    ],
    config: `${CONFIG}keys = ["${PUBLIC_KEY}"]`,
    provoke: (guest) =>
      updated(guest, (server) => {
        const manifest = 'version 0.2.0\n';
        server.files.set('/archive.manifest', manifest);
        server.files.set('/archive.manifest.minisig', new Signer(guest.scratch.directory).sign(manifest));
        return served(server, 'an archive');
      }),
  },

  GW_UPDATE_ARCHIVE: {
    says: ['passwd is a symlink'],
    config: CONFIG,
    provoke: (guest) =>
      updated(guest, (server) => {
        symlinkSync('/etc/passwd', `${guest.scratch.directory}/passwd`);
        return served(server, execFileSync('tar', ['cz', '-C', guest.scratch.directory, 'passwd']));
      }),
  },

  GW_UPDATE_TRIAL: {
    says: ['0.2.0', 'it ended with status 7 before it answered'],
    config: CONFIG,
    provoke: (guest) =>
      updated(guest, (server) =>
        served(server, makeRelease(guest.scratch.directory, '0.2.0', { prelude: 'process.exit(7);' }).archive),
      ),
  },

  GW_UPDATE_FAILED: {
    says: ['in the archive', '/srv/versions: the file system is read-only'],
    config: CONFIG,
    provoke: (guest) => updated(guest, (server) => served(server, 'an archive'), 'mount -o remount,ro /srv'),
  },
};
