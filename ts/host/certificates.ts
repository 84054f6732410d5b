import { readFile } from 'node:fs/promises';
import { absent, resolveInRoot } from './root-path.js';

/** Where distributions keep all the certificates that they trust in one file; Node's own list is not that of the system. */
const BUNDLES = [
  // Debian, Alpine, Arch, Gentoo, Slackware
  '/etc/ssl/certs/ca-certificates.crt',
  // Red Hat
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  // SUSE
  '/var/lib/ca-certificates/ca-bundle.pem',
  '/etc/ssl/ca-bundle.pem',
  // FreeBSD
  '/etc/ssl/cert.pem',
];

/** The certificates that the system below `root` trusts, as PEM. Throws an Error when it has none. */
export async function trustedCertificates(root: string): Promise<string> {
  for (const bundle of BUNDLES) {
    const resolved = await resolveInRoot(root, bundle, 'follow').catch(absent);
    const text = resolved?.exists === true ? await readFile(resolved.real, 'utf8').catch(absent) : null;
    if (text?.includes('-----BEGIN ') === true) return text;
  }
  throw new Error(`no trusted certificates: looked for ${BUNDLES.join(', ')}`);
}
