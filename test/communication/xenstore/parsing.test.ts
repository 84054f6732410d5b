/** What the Unix agent's successor has tests for: how the bytes of XenStore are read. Ours are read by the real client. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { codec } from '../../../ts/communication/xenstore/nova/codec.js';
import { createNetwork } from '../../../ts/host/linux/network.js';
import { openStore, storeBy, type StoreConnection } from '../../../ts/host/shared/store.js';
import { openHost } from '../../../ts/host/linux/host.js';
import { parsePrefix } from '../../../ts/network/address.js';
import { gather } from '../../../ts/network/act/gather.js';
import { readRecord } from '../../../ts/network/wanted/records.js';
import { ScratchStore } from '../../binding/scratch-store.js';
import { nic } from '../../network/inputs.js';
import { createScratch } from '../../support/scratch.js';

interface Case {
  readonly op: string;
  readonly raw?: string | readonly string[];
  readonly result?: unknown;
  readonly cases?: Readonly<Record<string, number>>;
}

const { cases } = JSON.parse(readFileSync('test/fixtures/xenstore-parsing.json', 'utf8')) as {
  readonly cases: readonly Case[];
};
const MAC = 'bc:76:4e:20:6c:5b';
const RECORD = JSON.stringify({ mac: MAC, ips: [{ ip: '192.0.2.4', netmask: 24 }] });

/** Names below `node`, each of which holds what would end a line of `xenstore-ls` too early. */
async function listed(node: string, names: readonly string[]): Promise<readonly string[]> {
  return withStore(async (store) => {
    for (const name of names) await store.write(`${node}/${name}`, Buffer.from('{"a": "b"}\n\nx = "y"\n'));
    return (await store.list(node)) ?? [];
  });
}

async function withStore<T>(work: (store: StoreConnection, socket: string) => Promise<T>): Promise<T> {
  await using server = await ScratchStore.start('embedded');
  using store = openStore({ endpoint: server.socket, domain: 1, poll: 'loop' }, () => undefined);
  return await work(store, server.socket);
}

/** The successor read what `xenstore-ls` prints, and so stumbled over values with quotes and line feeds. */
const listedByText = async (node: string, { raw, result }: Case): Promise<void> => {
  const names = [...String(raw).matchAll(/^(\S+) = "/gm)].map(([, name = '']) => name);
  if (result !== undefined) assert.deepEqual(names, result);
  assert.deepEqual((await listed(node, names)).toSorted(), names.toSorted());
};

const HANDLED: Readonly<Record<string, (one: Case) => Promise<void> | void>> = {
  'directory data/host': async ({ raw, result }) => {
    assert.deepEqual(await listed('data/host', [String(raw)]), result);
  },
  'xenstore-ls data/host (stdout)': (one) => listedByText('data/host', one),
  'read data/host/<id>': ({ raw, result }) => {
    assert.deepEqual(codec.decode(Buffer.from(String(raw))), result);
  },
  'directory vm-data/networking': async ({ raw, result }) => {
    const names = await listed('vm-data/networking', raw as readonly string[]);
    assert.deepEqual(names.toSorted(), (result as readonly string[]).toSorted());
  },
  'xenstore-ls vm-data/networking (stdout)': (one) => listedByText('vm-data/networking', one),
  'read vm-data/networking/<mac>': ({ raw, result }) => {
    const nics = [nic('eth1', MAC)];
    const read = readRecord(String(raw), nics);
    assert.deepEqual(read, readRecord(JSON.stringify(result), nics));
    assert.deepEqual(read.ipv4, [{ address: '10.208.227.239', prefix: 19 }]);
    assert.equal(read.routes.length, 2);
  },
  'xenstore-ls data/guest (stdout)': (one) => listedByText('data/guest', one),
  'read vm-data/hostname': async ({ raw, result }) => {
    await using scratch = await createScratch();
    await scratch.write('sys/class/net/eth0/address', MAC);
    await withStore(async (store, endpoint) => {
      await store.write('vm-data/hostname', Buffer.from(String(raw)));
      await store.write('vm-data/networking/a', Buffer.from(RECORD));
      using connection = openStore({ endpoint, domain: 1, poll: 'loop' }, () => undefined);
      assert.equal(connection.endpoint, endpoint);
      const { root, state: stateDirectory } = scratch;
      const { facts } = await gather(
        openHost({ root, stateDirectory, live: false, store: storeBy((operation) => operation(connection)) }),
        [],
        0,
      );
      assert.equal(facts.hostname, result);
    });
  },
  'netmask to prefix': ({ cases: prefixes = {} }) => {
    for (const [netmask, prefix] of Object.entries(prefixes)) assert.equal(parsePrefix(netmask, 4), prefix);
  },
  // Netlink and /sys tell a MAC as it is written everywhere else.
  'ioctl SIOCGIFHWADDR': async ({ result }) => {
    await using scratch = await createScratch();
    const mac = String(result).replaceAll(/..(?=.)/g, '$&:');
    await scratch.write('sys/class/net/eth0/address', `${mac}\n`);
    const [device] = await createNetwork(scratch.root, false).nics();
    assert.equal(device?.mac, mac.toLowerCase());
  },
};

test('every recorded reading is looked at', () => {
  assert.deepEqual(
    Object.keys(HANDLED),
    cases.map(({ op }) => op),
  );
});

for (const one of cases) {
  test(`what the successor read is read alike: ${one.op}`, async () => {
    const look = HANDLED[one.op];
    assert.ok(look, `nobody looks at ${one.op}`);
    await look(one);
  });
}
