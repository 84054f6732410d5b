#!/bin/sh
# Process 1 of a machine whose files are those of the machine that started it, read-only, and whose kernel is Debian's.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do
  insmod "/lib/modules/$module.ko" || echo "no module $module"
done < /lib/modules/order
# It has what is behind `checkout=` on the kernel's command line, too.
checkout=$(sed 's/.*checkout=\([^ ]*\).*/\1/' /proc/cmdline)
mkdir /machine
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=524288 machine /machine
mount -t tmpfs -o mode=755 tmpfs /machine/run
# The checkout may lie below /tmp.
mount -t tmpfs -o mode=1777 tmpfs /machine/var/tmp
mount --move /proc /machine/proc
mount --move /sys /machine/sys
mount --move /dev /machine/dev
mkdir -p /machine/dev/pts /machine/dev/shm
mount -t devpts devpts /machine/dev/pts
mount -t tmpfs tmpfs /machine/dev/shm
ip link set lo up
exec switch_root /machine /bin/sh -c "cd '$checkout' && . test/support/xen/shell.sh && serve /dev/ttyS1"
