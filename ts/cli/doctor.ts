import { messageOf } from '../api/errors.js';
import type { FileChange, Nic } from '../api/host.js';
import { hasCloudInit } from '../network/cloud-init.js';
import { decide, rank } from '../network/decide.js';
import { gather, inspect } from '../network/act/gather.js';
import { foresee } from '../network/act/validate.js';
import { isManaged, networkdFile } from '../network/owners/live.js';
import { type InterfaceConfig, type NetworkFacts, unconfigured, withChanges } from '../network/plan.js';
import { RENDERERS } from '../network/renderers/index.js';
import { EXIT, noMore, print, subcommand } from './command-line.js';
import { describeExtensions } from './doctor-extensions.js';
import { describeHooks } from './doctor-hooks.js';
import { strangeHosts } from './doctor-hosts.js';
import { FACTS_FORM, NETWORK_OPTIONS, openNetworkHost } from './network-host.js';

const RESOLVERS = {
  resolved: 'systemd-resolved makes it',
  resolvconf: 'resolvconf makes it',
  networkmanager: 'NetworkManager makes it',
  netconfig: "SUSE's netconfig makes it",
  file: 'absent, or a plain file that nobody else writes',
  other: 'a link whose maker is unknown: a reset leaves it alone',
} as const;

export const doctor = subcommand({
  synopsis: [
    'doctor [--store PATH] [--domain N] [--root DIR] [--config FILE]',
    'doctor --facts FILE [--root DIR] [--config FILE]',
  ],
  description:
    'Explains what the agent finds on this machine: the devices and who holds them, the ways of configuring a network ' +
    'and which of them resetnetwork would use, who makes resolv.conf, which hooks run, which plugins and scripts can be ' +
    'used, and whether it can use what the host published. ' +
    `Changes nothing; fails when resetnetwork would. ${FACTS_FORM}`,
  options: {
    ...NETWORK_OPTIONS,
    config: { type: 'string', argument: 'FILE', help: 'read this configuration file and no other' },
  },
  async main(values, positionals) {
    noMore(positionals);
    let storeError: unknown = null;
    // A machine without XenStore can be examined all the same.
    using opened = await openNetworkHost(values, (error) => (storeError = error));
    const { host, loaded } = opened;
    const { config } = loaded;
    let sound = true;
    const complain = (error: unknown): null => {
      sound = false;
      print(`  not usable: ${messageOf(error)}`);
      return null;
    };
    const nics = await host.network.nics();

    print('what the host wants');
    const gathered = storeError === null ? await gather(host, RENDERERS, 0).catch(complain) : complain(storeError);
    for (const error of gathered?.recordErrors ?? []) complain(new Error(error));
    for (const config of gathered?.facts.interfaces ?? []) print(`  ${summary(config)}`);
    if (gathered !== null) print(`  host name: ${gathered.facts.hostname ?? 'unchanged'}`);
    // Of what nothing is wanted, the owner can be told all the same.
    const interfaces = nics.filter(isCandidate).map(unconfigured);
    const facts = gathered?.facts ?? { ...(await inspect(host, RENDERERS)), interfaces, hostname: null };

    print('\ndevices');
    for (const nic of nics) print(`  ${deviceLine(nic, facts)}`);
    if (nics.length === 0) print('  none');

    print('\nways of configuring a network, the best claim first');
    const ranked = rank(facts, RENDERERS);
    for (const [index, { renderer, standing }] of ranked.entries()) {
      print(`  ${index === 0 ? '*' : ' '} ${renderer.name}: ${standing.rank}, because ${standing.why}`);
    }
    const absent = RENDERERS.filter((renderer) => !ranked.some((one) => one.renderer === renderer));
    if (absent.length > 0) print(`    not here: ${absent.map(({ name }) => name).join(', ')}`);
    if (ranked.length === 0) sound = false;
    let changes: readonly FileChange[] = [];
    if (gathered !== null && ranked.length > 0) {
      print('\nwhat a reset would bring, now and at the next boot');
      try {
        const plan = decide(gathered.facts, RENDERERS);
        const { files, servers } = plan;
        changes = files;
        for (const reason of await foresee(plan, host, config.network['program-timeout'])) print(`  ${reason}`);
        if (servers.problem === null) print('  what the host wants');
        else complain(new Error(servers.problem));
      } catch (error) {
        complain(error);
      }
    }

    print(`\n/etc/resolv.conf\n  ${RESOLVERS[facts.resolver]}`);
    print(`\nhost name\n  ${facts.currentHostname === '' ? 'none' : facts.currentHostname}`);
    if (hasCloudInit(facts)) {
      print('\ncloud-init\n  is installed; a reset tells it to leave network and host name alone');
    }
    const strange = strangeHosts(withChanges(facts, changes), gathered !== null, host.live);
    if (strange.length > 0) print('\n/etc/hosts');
    for (const line of strange) print(`  ${line}`);
    const hooks = await describeHooks(host, config);
    if (hooks.length > 0) print(`\nhooks in ${config.hooks.directory}`);
    for (const { text } of hooks) print(`  ${text}`);
    const extensions = await describeExtensions(loaded, values.root);
    if (extensions.length > 0) print('\nplugins and scripts');
    for (const line of extensions) print(`  ${line}`);
    if (hooks.some(({ refusesReset }) => refusesReset)) sound = false;
    return sound ? EXIT.ok : EXIT.failure;
  },
});

function isCandidate({ physical, master }: Nic): boolean {
  return physical && master === null;
}

function summary({ nic, ipv4, ipv6, gateway4, gateway6, dhcp4, auto6 }: InterfaceConfig): string {
  const addresses = [...ipv4, ...ipv6].map(({ address, prefix }) => `${address}/${prefix}`);
  const automatic = [dhcp4 ? 'DHCP' : null, auto6 === 'dhcp' ? 'DHCPv6' : auto6 === 'ra' ? 'SLAAC' : null];
  const gateways = [gateway4, gateway6].filter((gateway) => gateway !== null).map((gateway) => `via ${gateway}`);
  return [`${nic.name}:`, ...addresses, ...automatic.filter((word) => word !== null), ...gateways].join(' ');
}

function deviceLine(nic: Nic, facts: NetworkFacts): string {
  const kind = nic.kind ?? (nic.driver === null ? 'no driver known' : `driver ${nic.driver}`);
  const file = networkdFile(facts, nic);
  const holder = file !== null ? `systemd-networkd by ${file}` : isManaged(facts, nic) ? 'NetworkManager' : 'no daemon';
  const notes = [
    nic.master === null ? null : `part of ${nic.master}`,
    nic.physical ? null : 'not a VIF',
    nic.permanentMac === null ? 'no permanent MAC' : null,
  ].filter((note) => note !== null);
  const state = nic.up ? 'up' : 'down';
  return `${nic.name} ${nic.mac} (${[kind, state, ...notes].join(', ')}); held by ${holder}`;
}
