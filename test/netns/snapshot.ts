/** Everything of a running system that a change of the network may touch, as lines to compare before and after. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Namespace } from './namespace.js';

/**
 * Each line starts with what it is of. Lifetimes are there or not: they run, and are renewed. Of processes the numbers
 * differ, of leases the times; a shared next hop has a number that nobody chose.
 */
const SHOW = String.raw`
section() { sed "s|^|$1: |"; }
finite() { sed -E 's/[0-9]+sec/finite/g; s/nhid [0-9]+ //; s/[[:space:]\\]+/ /g; s/ $//'; }
ip -o link show | grep -v ' lo: ' | finite | section link
# Where no program brings an address back and netlink sets it, the kernel adds the first two as it likes. dhcpcd makes a
# link-local address of its own where the link has come up with none yet.
ip -o addr show | grep -v ' lo ' | finite |
  sed -E 's/^[0-9]+: //; s/ nodad//; s/ brd [0-9.]+//; s/fe80:[^ ]*/link-local/; s/ proto kernel_ll//' |
  sort | section address
# NetworkManager counts from 100: each time that it brings a device up, it takes the next number for its routes.
counted='s/^//'
pgrep -x NetworkManager > /dev/null && counted='s/metric 1[0-9][0-9]( |$)/metric counted\1/'
ip -4 -o route show | finite | sed -E "$counted" | sort | section route
ip -6 -o route show | finite | sed -E "$counted" | sort | section route
# Some can only be written.
grep -r . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf 2>/dev/null | sort | section setting
ps -e -o args= | grep -E '(dhclient|dhcpcd|udhcpc|NetworkManager|systemd-networkd|systemd-resolved|wpa_supplicant)( |$)' |
  grep -v grep | sort | section process
find /etc ! -type d -printf '%p %y %m %u %g %l\n' | sort | section file
find /etc /run/network/interfaces.d -type f -exec sha256sum {} + 2>/dev/null | sort -k 2 | section contents
# systemd-resolved names itself there, and the real servers here.
grep -hv '^#' /etc/resolv.conf /run/systemd/resolve/resolv.conf 2>/dev/null | section resolv.conf
# What the programs know of the interfaces, and have in the name of the network.
cat /run/network/ifstate /run/ifstate /var/run/ifstate 2>/dev/null | sort -u | section held
for link in /run/systemd/netif/links/*; do
  [ -e "$link" ] && grep -E '^(ADMIN_STATE|OPER_STATE|NETWORK_FILE)=' "$link" | section "held $(basename "$link")"
done
# Not by nmcli, in whose place a test may have put something else.
grep -E '^(managed|connection-uuid)=' /run/NetworkManager/devices/* 2>/dev/null | sort | section held
for lease in /var/lib/dhcp/*.leases /run/systemd/netif/leases/* /var/lib/NetworkManager/*.lease; do
  [ -s "$lease" ] && grep -hoE '(fixed-address|iaaddr|^ADDRESS=) ?[0-9a-f.:]+' "$lease" | tail -n 1 | section "lease $lease"
done
:`;

export type Snapshot = readonly string[];

/** As it is at this moment. */
export function snapshot(namespace: Namespace): Snapshot {
  return namespace.script(SHOW).trim().split('\n');
}

/** Once nothing has changed for a while and every address can be used: clients of both families come at their own time. */
export async function settledSnapshot(namespace: Namespace): Promise<Snapshot> {
  let last: Snapshot = [];
  for (let tries = 0; ; tries += 1) {
    const now = snapshot(namespace);
    const isTentative = now.some((line) => /^address: .* tentative/.test(line));
    if (!isTentative && now.join('\n') === last.join('\n')) return now;
    assert.ok(tries < 60, `it does not settle: ${differenceOf(last, now).join('\n')}`);
    last = now;
    await sleep(1500);
  }
}

/** Waits until everything is as in `before`. */
export async function comesBack(namespace: Namespace, before: Snapshot): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    const difference = differenceOf(before, snapshot(namespace));
    if (difference.length === 0) return;
    if (tries === 60) assert.deepEqual(difference, [], 'a change that is undone leaves everything as it was');
    await sleep(500);
  }
}

function differenceOf(before: Snapshot, now: Snapshot): readonly string[] {
  return [
    ...before.filter((line) => !now.includes(line)).map((line) => `gone: ${line}`),
    ...now.filter((line) => !before.includes(line)).map((line) => `new: ${line}`),
  ];
}
