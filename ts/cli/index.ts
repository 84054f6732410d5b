/**
 * The subcommands, in the order that `--help` lists them. Each is loaded only when it is called: what keeps one of them
 * from being loaded, such as a system that is not supported, is then told as its other errors are.
 */
import type { Subcommand } from './command-line.js';

export interface Entry {
  readonly summary: string;
  load(): Promise<Subcommand>;
}

export const SUBCOMMANDS: Readonly<Record<string, Entry>> = {
  run: {
    summary: 'serve the host in the foreground',
    load: async () => (await import('./run.js')).run,
  },
  call: {
    summary: "be the host: send a guest's agent a request",
    load: async () => (await import('./call.js')).call,
  },
  store: {
    summary: 'serve an embedded XenStore on a socket, without Xen',
    load: async () => (await import('./store.js')).store,
  },
  demo: {
    summary: 'show every command on a scratch system',
    load: async () => (await import('./demo.js')).demo,
  },
  plan: {
    summary: 'show what a network reset would change, but change nothing',
    load: async () => (await import('./plan.js')).plan,
  },
  apply: {
    summary: 'reset the network as the host would',
    load: async () => (await import('./apply.js')).apply,
  },
  doctor: {
    summary: 'explain what the agent finds on this machine, and why',
    load: async () => (await import('./doctor.js')).doctor,
  },
  commands: {
    summary: 'list the commands, where each comes from, and what cannot be used',
    load: async () => (await import('./commands.js')).commands,
  },
  report: {
    summary: 'print what the guest tells by itself',
    load: async () => (await import('./report.js')).report,
  },
  new: {
    summary: 'begin a plugin or a script, with a test that passes',
    load: async () => (await import('./new.js')).scaffold,
  },
  config: {
    summary: 'print the effective configuration and where it came from',
    load: async () => (await import('./config.js')).config,
  },
  programs: {
    summary: 'start programs for an agent in a sandbox; for systemd',
    load: async () => (await import('./programs.js')).programs,
  },
};
