/** libvirt as it is, and a guest that it has made: what an administrator asks of virsh. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LibvirtGuest } from '../support/kvm/libvirt.js';
import { PUBLIC_KEY } from '../support/public-key.js';
import { buildKvmImages } from '../support/xen/images.js';

test('virsh asks, sets a password and keys, and shuts the guest down', { timeout: 300_000 }, async () => {
  await using guest = await LibvirtGuest.start(buildKvmImages(() => undefined));

  assert.match(await guest.virsh('domhostname guest --source agent'), /^minimal$/m);
  const info = await guest.virsh('guestinfo guest --os');
  assert.match(info, /^os\.name +: Minimal guest$/m);
  assert.ok(info.includes(await guest.run('uname -r')), info);
  const interfaces = await guest.virsh('domifaddr guest --source agent');
  assert.match(interfaces, /eth0 +52:54:00:12:34:56 +ipv4 +192\.0\.2\.10\/24/);
  assert.match(interfaces, /ipv6 +2001:db8::10\/64/);

  assert.match(await guest.virsh('set-user-password guest root by-virsh'), /Password set successfully/);
  const su = `su -s /bin/sh nobody -c "echo by-virsh | su root -c 'echo let in; id -u'" 2>&1; true`;
  assert.match(await guest.run(su), /let in\n0/);
  await assert.rejects(guest.virsh('set-user-password guest nobody by-virsh'), /'nobody' is not among those/);

  await guest.virsh(`set-user-sshkeys guest root ${guest.put('key.pub', `${PUBLIC_KEY}\n`)}`);
  assert.equal(await guest.run('cat /root/.ssh/authorized_keys'), PUBLIC_KEY);
  assert.ok((await guest.virsh('get-user-sshkeys guest root')).includes(PUBLIC_KEY));

  await assert.rejects(guest.virsh(`qemu-agent-command guest '{"execute":"guest-exec"}'`), /No such agent command/);
  assert.match(await guest.virsh(`qemu-agent-command guest '{"execute":"guest-ping"}'`), /^\{"return":\{\}\}$/m);

  assert.match(await guest.virsh('shutdown guest --mode agent'), /is being shutdown/);
  for (let tries = 0; (await guest.virsh('list --all')).includes('guest'); tries += 1) {
    assert.ok(tries < 100, 'the guest is still there');
    await sleep(200);
  }
});
