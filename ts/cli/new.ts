import { DEFAULTS } from '../daemon/config.js';
import { addNativeCommands } from '../daemon/native-commands.js';
import { Registry } from '../daemon/registry.js';
import { openHost } from '../host/index.js';
import { storeOfNodes } from '../host/shared/memory-store.js';
import { makeFolder } from '../host/shared/new-files.js';
import { isDirectory } from '../host/shared/system.js';
import { commandOptions } from '../daemon/command-options.js';
import { EXIT, UsageError, choice, print, subcommand } from './command-line.js';
import { pluginFiles, typedPluginFiles } from './new-plugin.js';
import { scriptFiles } from './new-script.js';
import { join } from '../host/shared/runtime/path.js';

/** Good as the name of a command and of an npm package alike. */
const NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/;

export const scaffold = subcommand({
  synopsis: ['new plugin NAME [--typescript] [--directory DIR]', 'new script NAME [--directory DIR]'],
  description:
    'Begins a plugin (JavaScript or TypeScript, in the agent) or a script (any program, beside it) for a command NAME, in a new ' +
    'folder NAME with a test that passes. Overwrites nothing. docs/plugins.md explains both.',
  options: {
    typescript: { type: 'boolean', help: 'write the plugin in TypeScript' },
    directory: { type: 'string', argument: 'DIR', help: 'make the folder here instead of in the current directory' },
  },
  async main({ directory = '.', typescript }, positionals) {
    const [kind, name, ...more] = positionals;
    if (kind === undefined || name === undefined) throw new UsageError("wanted 'plugin NAME' or 'script NAME'");
    if (more.length > 0) throw new UsageError(`unexpected argument '${more.join(' ')}'`);
    const wanted = choice('the first argument', kind, ['plugin', 'script']);
    if (wanted === 'script' && typescript) throw new UsageError('--typescript: wanted with a plugin alone');
    if (!NAME.test(name)) {
      throw new UsageError(`NAME: wanted small letters, digits, _ and -, at most 64, got '${name}'`);
    }
    if (isTaken(name)) throw new UsageError(`NAME: the agent has a command '${name}' itself; wanted another name`);
    if (isDirectory(directory) !== true) {
      throw new UsageError(`--directory: ${directory} is not a directory`);
    }
    const folder = join(directory, name);
    const files = wanted === 'script' ? scriptFiles : typescript ? typedPluginFiles : pluginFiles;
    try {
      await makeFolder(folder, files(name));
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'EEXIST') throw error;
      throw new UsageError(`${folder} is there already; nothing was changed`, { cause: error });
    }
    for (const line of wanted === 'plugin' ? pluginSteps(folder, typescript) : scriptSteps(folder, name)) print(line);
    return EXIT.ok;
  },
});

/** A plugin with such a command adds nothing, and a script of that name is not asked. */
function isTaken(name: string): boolean {
  const store = storeOfNodes(new Map());
  const host = openHost({ root: '/', stateDirectory: DEFAULTS.state.directory, live: false, store });
  const registry = new Registry(DEFAULTS.commands);
  addNativeCommands(registry, host, commandOptions(DEFAULTS));
  return registry.origin(name) !== null;
}

function pluginSteps(folder: string, isTyped: boolean): readonly string[] {
  const [source, code, needed] = isTyped
    ? ['index.ts', 'dist', 'guestwire typescript     # or the path of a guestwire-VERSION.tgz for guestwire']
    : ['index.js', 'index.js', 'guestwire     # or the path of a guestwire-VERSION.tgz'];
  return [
    `${folder}/${source} is the plugin, ${folder}/index.test.js its test.`,
    '',
    `  cd ${folder}`,
    `  npm install --save-dev ${needed}`,
    '  npm test',
    '',
    `In the guest: copy ${code} and package.json to a folder below /etc/guestwire/plugins, as root, then`,
    '`guestwire commands` shows whether it can be used, and `systemctl reload guestwire` puts it to use.',
  ];
}

function scriptSteps(folder: string, name: string): readonly string[] {
  return [
    `${folder}/${name} is the script, ${folder}/test.sh its test.`,
    '',
    `  ${folder}/test.sh`,
    '',
    `In the guest: copy ${name} to /etc/guestwire/commands, as root, then \`guestwire commands\` shows whether it can be`,
    'used, and `systemctl reload guestwire` puts it to use.',
  ];
}
