/** Settings that a plugin brings: what may stand in its table of the configuration, `[plugin.NAME]`. */

/** What a plugin is handed for a setting of each kind. */
export interface SettingKinds {
  boolean: boolean;
  /** One of the words in `choices`. */
  choice: string;
  /** From `min` to `max`. */
  integer: number;
  /** Milliseconds; a file has `"90s"` or `"10m"`. */
  duration: number;
  /** Bytes; a file has `"512KiB"` or `"16MiB"`. */
  size: number;
  /** Absolute. */
  path: string;
  text: string;
  /** A list of texts. */
  texts: readonly string[];
}

/** What the checks of a kind depend on besides the kind. */
export interface SettingBounds {
  choice: { readonly choices: readonly string[] };
  /** `called`: what messages call it in place of `a whole number`. */
  integer: { readonly min: number; readonly max: number; readonly called?: string };
  size: { readonly min?: number };
}

/** As a file has it: durations and sizes are text. */
type Written<K extends keyof SettingKinds> = K extends 'duration' | 'size' ? string : SettingKinds[K];

/** One setting of a plugin. */
export type PluginSetting = {
  [K in keyof SettingKinds]: {
    readonly kind: K;
    /** As a file would have it, such as `'15m'`; null where the setting may be absent. */
    readonly default: Written<K> | null;
    /** One line: what it is. */
    readonly about: string;
  } & (K extends keyof SettingBounds ? SettingBounds[K] : unknown);
}[keyof SettingKinds];

/** By key: letters, digits, `_` and `-`. */
export type PluginSettings = Readonly<Record<string, PluginSetting>>;

/** What `setup` is handed: each key with its value, or its default; null where it has neither. */
export type SettingsOf<S extends PluginSettings> = {
  readonly [Key in keyof S]:
    | (S[Key] extends { readonly choices: readonly (infer Choice)[] } ? Choice : SettingKinds[S[Key]['kind']])
    | (S[Key]['default'] extends null ? null : never);
};
