/** What a plugin is handed of its table in the configuration, checked by the settings that it brings. */
import type { PluginSettings, SettingsOf } from '../api/settings.js';
import type { PluginTable } from './config-file.js';
import { ShapeError } from './plugin-shape.js';
import { checkValue, dotted, nearest, show } from './setting-checks.js';

/** Throws ShapeError that names file, line, key, what was found and what was wanted. */
export function settingsFor(
  name: string,
  schema: PluginSettings,
  table: PluginTable | null,
): SettingsOf<PluginSettings> {
  const full = (key: string): string => dotted('plugin', name, key);
  const settings = new Map<string, unknown>();
  for (const [key, setting] of Object.entries(schema)) {
    const written = setting.default;
    const checked = written === null ? { value: null } : checkValue(setting, written);
    if ('wanted' in checked) {
      throw new ShapeError(`settings.${key}.default: wanted ${checked.wanted}, got ${show(written)}`);
    }
    settings.set(key, checked.value);
  }
  for (const [key, { value: found, source }] of table?.values ?? []) {
    const setting = Object.hasOwn(schema, key) ? schema[key] : undefined;
    if (setting === undefined) {
      const hint =
        settings.size === 0 ? ': the plugin has no settings' : nearest(full(key), [...settings.keys()].map(full));
      throw new ShapeError(`${source}: unknown key ${full(key)}${hint}`);
    }
    const checked = checkValue(setting, found);
    if ('wanted' in checked) {
      throw new ShapeError(`${source}: ${full(key)}: found ${show(found)}, wanted ${checked.wanted}`);
    }
    settings.set(key, checked.value);
  }
  return Object.freeze(Object.fromEntries(settings)) as SettingsOf<PluginSettings>;
}
