import { serveLauncher } from '../host/index.js';
import { EXIT, noMore, subcommand } from './command-line.js';

export const programs = subcommand({
  synopsis: ['programs'],
  description:
    'Starts programs for an agent that runs in a sandbox, until that agent hangs up. systemd calls it for each connection ' +
    'to guestwire-programs.socket, with that connection as its standard input.',
  options: {},
  async main(_values, positionals) {
    noMore(positionals);
    await serveLauncher();
    return EXIT.ok;
  },
});
