/** What the agent sets at its start, by its own description. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { describeInterfaces } from '../../../ts/network/formats/description.js';
import { unconfigured } from '../../../ts/network/plan.js';
import { direct } from '../../../ts/network/renderers/linux/direct.js';
import { ETH0, ETH1 } from '../inputs.js';
import { brought } from './table.js';

const PATH = '/etc/guestwire/network.json';

suite('what the agent sets at its start', () => {
  const described = describeInterfaces([
    {
      ...unconfigured({ ...ETH0, name: 'old0' }),
      ipv4: [{ address: '192.0.2.4', prefix: 24 }],
      gateway4: '192.0.2.1',
      routes: [{ address: '10.1.2.3', prefix: 8, gateway: '192.0.2.9', metric: 5 }],
      auto6: 'ra',
      mtu: 9000,
    },
  ]);

  test('all of the description, of the device with the MAC whatever its name is now', () => {
    assert.deepEqual(brought(direct, { [PATH]: described }), [
      '192.0.2.4/24',
      'default via 192.0.2.1',
      '10.0.0.0/8 via 192.0.2.9 metric 5',
      'auto6 ra',
      'mtu 9000',
    ]);
  });

  test('of a device that it does not name, and of a file that is none, nothing', () => {
    assert.equal(brought(direct, { [PATH]: described }, { nic: ETH1 }), null);
    assert.equal(brought(direct, { [PATH]: '{"version":2}' }), null);
    assert.equal(brought(direct, {}), null);
  });
});
