import { FileTree } from '#binding';

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
  const tree = new FileTree(root);
  for (const bundle of BUNDLES) {
    const text = (await tree.read(bundle))?.toString('utf8');
    if (text?.includes('-----BEGIN ') === true) return text;
  }
  throw new Error(`no trusted certificates: looked for ${BUNDLES.join(', ')}`);
}
