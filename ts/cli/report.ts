import { reportsOf } from '../daemon/deferred-reports.js';
import { EXIT, noMore, print, subcommand } from './command-line.js';
import { LOADING_OPTIONS, loadExtensions } from './loaded-extensions.js';

export const report = subcommand({
  synopsis: ['report [--root DIR] [--config FILE] [--plugins DIR]'],
  description:
    'Prints what the guest tells by itself, as one JSON object: the system and its kernel, memory, network devices and ' +
    'their addresses, mounted volumes, and the services that plugins tell of, which it loads. Nothing is sent to a host.',
  options: LOADING_OPTIONS,
  async main(values, positionals) {
    noMore(positionals);
    using loaded = await loadExtensions(values);
    const { host, extensions } = loaded;
    const { current } = reportsOf({ host, services: () => extensions.services() });
    print(JSON.stringify(await current(), null, 2));
    return EXIT.ok;
  },
});
