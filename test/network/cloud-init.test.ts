import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parse } from 'yaml';
import { CLOUD_FILES, quietCloudInit } from '../../ts/network/cloud-init.js';
import { type NetworkFacts, withChanges } from '../../ts/network/plan.js';

const NETWORK = '/etc/cloud/cloud.cfg.d/99-guestwire-disable-network-config.cfg';
const NAME = '/etc/cloud/cloud.cfg.d/99-guestwire-preserve-hostname.cfg';

function factsOf(hostname: string | null, files: Readonly<Record<string, string>>): NetworkFacts {
  return {
    interfaces: [],
    hostname,
    currentHostname: 'old',
    files: new Map(Object.entries(files)),
    present: new Set(),
    resolver: 'file',
  };
}

/** What cloud-init reads in the files that are written, with their modes. */
function written(facts: NetworkFacts): unknown {
  return quietCloudInit(facts).map((change) => {
    assert.equal(change.type, 'write');
    return [change.path, change.mode, parse(Buffer.from(change.content).toString('utf8')) as unknown];
  });
}

suite('cloud-init', () => {
  const installed = { '/etc/cloud/cloud.cfg': 'preserve_hostname: false\n' };
  const network = [NETWORK, 0o644, { network: { config: 'disabled' } }];
  const name = [NAME, 0o644, { preserve_hostname: true, manage_etc_hosts: false }];

  test('where it is not installed, nothing is written', () => {
    assert.deepEqual(quietCloudInit(factsOf('web1', {})), []);
    assert.deepEqual(quietCloudInit(factsOf('web1', { [NETWORK]: 'x' })), []);
  });

  test('it is told to leave the network and the name', () => {
    assert.deepEqual(written(factsOf('web1', installed)), [network, name]);
  });

  test('a part of a provider with the same key that comes after ours is passed by another name, and ours are in one place', () => {
    const D = '/etc/cloud/cloud.cfg.d/';
    const provider = { [`${D}zz-provider.cfg`]: 'network: {version: 1, config: []}\n' };
    const facts = factsOf('web1', { ...installed, ...provider, [NETWORK]: 'network: {config: disabled}\n' });
    const paths = quietCloudInit(facts).map(({ type, path }) => `${type} ${path}`);
    const later = `${D}zzzz-guestwire-disable-network-config.cfg`;
    assert.deepEqual(paths, [`remove ${NETWORK}`, `write ${later}`, `write ${NAME}`]);
    const now = withChanges(facts, quietCloudInit(facts));
    assert.deepEqual(quietCloudInit(now), []);
    const without = new Map([...now.files].filter(([path]) => !path.includes('provider')));
    assert.deepEqual(
      quietCloudInit({ ...now, files: without }).map(({ type, path }) => `${type} ${path}`),
      [`remove ${later}`, `write ${NETWORK}`],
    );
  });

  test('the name stays its business as long as the host wants none', () => {
    assert.deepEqual(written(factsOf(null, installed)), [network]);
  });

  test('a second run writes nothing, and what somebody changed is put right', () => {
    const facts = factsOf('web1', installed);
    const once = withChanges(facts, quietCloudInit(facts));
    assert.deepEqual(quietCloudInit(once), []);
    const changed = withChanges(once, [
      { type: 'write', path: NAME, content: 'preserve_hostname: false\n', mode: 0o644 },
    ]);
    assert.deepEqual(written(changed), [name]);
  });

  test('FreeBSD keeps its configuration elsewhere', () => {
    const facts = factsOf(null, { '/usr/local/etc/cloud/cloud.cfg': '' });
    assert.deepEqual(written(facts), [[`/usr/local${NETWORK}`, ...network.slice(1)]]);
  });

  test('all that it looks at is gathered', () => {
    const files = ['/etc/cloud/cloud.cfg', '/etc/cloud/cloud.cfg.d/*.cfg'];
    assert.deepEqual(CLOUD_FILES, [...files, ...files.map((path) => `/usr/local${path}`)]);
  });
});
