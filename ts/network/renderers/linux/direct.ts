/**
 * The last resort: no files of anybody else. The agent keeps its own description and sets addresses and routes by
 * netlink, now and at each of its starts (ts/network/act/start.ts). There is no DHCP client in it.
 */
import { AgentError } from '../../../api/errors.js';
import { listenAsWanted } from './advertisements.js';
import { DESCRIPTION, describeInterfaces, readDescription } from '../../formats/description.js';
import { readDirect } from '../../readers/direct.js';
import { type Action, type Renderer, writeIfChanged } from '../../plan.js';

export const direct: Renderer = {
  name: 'direct',
  looksFor: 'a running Linux without any of them',
  reads: [DESCRIPTION],
  asks: ['/proc/sys/kernel/ostype'],
  feeds: () => [],

  detect({ files, present }) {
    if (files.has(DESCRIPTION)) return { rank: 'enabled', why: `${DESCRIPTION} is there` };
    if (!present.has('/proc/sys/kernel/ostype')) return null;
    return { rank: 'present', why: 'addresses and routes can always be set by netlink' };
  },

  render(facts) {
    const client = facts.interfaces.find(({ dhcp4, auto6 }) => dhcp4 || auto6 === 'dhcp');
    if (client !== undefined) {
      throw new AgentError('GW_NETWORK_IMPOSSIBLE', ['the direct renderer', `DHCP on ${client.nic.name}`]);
    }
    const names = facts.interfaces.map(({ nic }) => nic.name);
    const old = readDescription(facts.files.get(DESCRIPTION) ?? '') ?? [];
    const gone = old.map(({ nic }) => nic.name).filter((name) => !names.includes(name));
    const after = facts.interfaces.flatMap((config): readonly Action[] => [
      listenAsWanted(config),
      { type: 'configure', nic: config.nic.name },
    ]);
    return {
      before: [],
      files: writeIfChanged(facts, DESCRIPTION, describeInterfaces(facts.interfaces), 0o644),
      after: [...after, ...gone.map((nic) => ({ type: 'configure', nic }) as const)],
      // What was live is put back by netlink in any case.
      restore: [],
    };
  },

  boot({ files }, nic) {
    return readDirect(files, nic);
  },
};
