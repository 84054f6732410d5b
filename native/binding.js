// Loads the addon that stands beside this file, by its own name and from nowhere else: a daemon that runs as root
// must not take its native code from wherever an environment variable points.
//
// Node's own modules are not imported: that would load parts of them that are never used, at every start.
const { existsSync } = process.getBuiltinModule('node:fs');
const { createRequire } = process.getBuiltinModule('node:module');
const { fileURLToPath } = process.getBuiltinModule('node:url');

const names = [`binding.${process.platform}-${process.arch}-gnu.node`, `binding.${process.platform}-${process.arch}-musl.node`];
const paths = names.map((name) => fileURLToPath(new URL(name, import.meta.url)));
const path = paths.find((candidate) => existsSync(candidate));

// Only its use fails: a program that cannot run here for another reason, such as the system, is to say that first.
const missing = () => {
  throw new Error(`guestwire's native addon is missing: looked for ${paths.join(' and ')}; build it with 'npm run build:native'`);
};
const stub = new Proxy(function () {}, { apply: missing, construct: missing, get: missing });

const addon = path === undefined ? new Proxy({}, { get: () => stub }) : createRequire(import.meta.url)(path);
export const {
  FileLock,
  FilePlace,
  FileTree,
  KeyExchange,
  PrivateDirectory,
  PrivateSocket,
  SealedExchange,
  StoreServer,
  VsockListener,
  Watch,
  XenStore,
  commit,
  hashPassword,
  networkApply,
  networkSnapshot,
  notify,
  replaceProcess,
  openPort,
} = addon;
