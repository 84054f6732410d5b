import { builtinModules } from 'node:module';
import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Files matching `within` may not import what matches `regex`. */
const forbid = (within, regex, message) => ({
  files: within,
  rules: { '@typescript-eslint/no-restricted-imports': ['error', { patterns: [{ regex, message }] }] },
});

/** Folders of ts/host that are chosen by the system that runs: ts/host/index.ts gives what is in them. */
const system = '/host/(unix|linux)/';
/** What is Node's: other runtimes have it by other names, or not at all. */
const node = `^(node:|(${builtinModules.join('|')})(/|$))`;
/** `ts/host` but what any room may use: host/shared/runtime touches no machine. */
const host = 'host(?!/shared/runtime/)';

export default defineConfig(
  { ignores: ['build/', 'dist/', 'native/', 'target/', '.cache/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      eqeqeq: ['error', 'always'],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/return-await': ['error', 'in-try-catch'],
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    },
  },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  forbid(['ts/api/**'], `${node}|^([.][.]/|#)`, 'api is the leaf: types and errors only'),
  forbid(
    ['ts/agent/**'],
    `${node}|^([.][.]/(?!api/)|#)`,
    'agent is what api is, for the agent itself: types, and api below',
  ),
  forbid(
    ['ts/{network,accounts,crypto}/**'],
    `${node}|^#|/(${host}|daemon|commands|communication|cli|controller)/`,
    'network, accounts and crypto are pure: facts in, plan out',
  ),
  {
    files: ['ts/network/**'],
    ignores: ['ts/network/act/**'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: `${node}|^#|/(${host}|daemon|commands|communication|cli|controller|act)/`,
              message: 'only network/act sees the machine: the rest is facts in, plan out',
            },
            { regex: '/api/host[.]js$', importNames: ['Host'], message: 'only network/act sees the Host' },
          ],
        },
      ],
    },
  },
  {
    files: ['ts/report/**'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          patterns: [
            { regex: '^(?![.][.]?/)|^([.][.]/)+(?!api/|[.][.]/)', message: 'report is pure: it knows the api alone' },
            { regex: '/api/host[.]js$', importNames: ['Host'], message: 'report is pure: facts in, report out' },
          ],
        },
      ],
    },
  },
  forbid(
    ['ts/{commands,communication}/**'],
    `${node}|^#|/(${host}|daemon|cli|controller)/`,
    'reach the machine only through the Host that you are handed',
  ),
  forbid(
    ['ts/{daemon,cli,controller,testing}/**', 'ts/main.ts'],
    `${node}|^#|${system}`,
    "only ts/host imports the addon, what is Node's, and what is of one kind of system",
  ),
  {
    files: ['ts/**'],
    ignores: ['ts/host/**'],
    rules: {
      'no-restricted-globals': ['error', { name: 'Intl', message: 'not every runtime has it' }],
      'no-restricted-properties': [
        'error',
        ...['localeCompare', 'toLocaleString', 'toLocaleLowerCase', 'toLocaleUpperCase'].map((property) => ({
          ...{ property, message: 'not every runtime has Intl, which this goes by' },
        })),
      ],
    },
  },
  forbid(['ts/host/shared/**'], '/(unix|linux)/|[.][.]/index[.]js$', 'host/shared is the same on every system'),
  forbid(['ts/host/shared/runtime/**'], '^[.#]', 'what any room may use uses none'),
  forbid(['ts/host/unix/**'], '/linux/|[.][.]/index[.]js$', 'host/unix is the same on every Unix system'),
  forbid(['ts/daemon/**'], `${node}|^#|/(cli|controller)/|${system}`, 'the daemon reaches the machine through ts/host'),
  {
    files: ['test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', name: ['test', 'describe', 'it', 'suite'], package: 'node:test' },
          ],
        },
      ],
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    files: ['**/*.js'],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        URL: 'readonly',
        Buffer: 'readonly',
        setTimeout: 'readonly',
        AbortController: 'readonly',
      },
    },
  },
);
