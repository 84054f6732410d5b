import { networkOptions } from '../daemon/command-options.js';
import { createLog } from '../daemon/log.js';
import { resetNetwork } from '../network/act/reset.js';
import { EXIT, print, subcommand } from './command-line.js';
import { FACTS_FORM, NETWORK_OPTIONS, openNetworkHost } from './network-host.js';
import { onlyNetwork } from './plan.js';

export const apply = subcommand({
  synopsis: ['apply network [--store PATH] [--domain N] [--root DIR]', 'apply network --facts FILE [--root DIR]'],
  description:
    'Does what resetnetwork does: makes the network and the host name what the host published, reads the kernel back, ' +
    `and restores everything if it is not as wanted. ${FACTS_FORM}`,
  options: NETWORK_OPTIONS,
  async main(values, positionals) {
    onlyNetwork('apply', positionals);
    using opened = await openNetworkHost(values);
    const { config } = opened.loaded;
    const { log, flush } = await createLog({ level: 'warn', format: 'pretty' });
    try {
      const { outcome, renderer, names, leftAlone } = await resetNetwork(opened.host, {
        log,
        ...networkOptions(config),
      });
      print(`${names.join(' ')}: ${outcome === 'changed' ? 'configured' : 'already as wanted'} (${renderer})`);
      for (const error of leftAlone) print(`not as wanted: ${error}`);
      return leftAlone.length === 0 ? EXIT.ok : EXIT.failure;
    } finally {
      await flush();
    }
  },
});
