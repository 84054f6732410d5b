#!/bin/sh
# Process 1 of dom0: what the emulated machine's test drives through its second serial line.
export PATH=/usr/lib/xen/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /run/xenstored /run/xen /var/lib/xenstored /var/lib/xen /var/log/xen
mount -t devpts devpts /dev/pts
ln -s /run /var/run
# xenfs needs a symbol of xen-privcmd.
for module in xen-evtchn xen-privcmd xenfs xen-gntdev xen-gntalloc xen-netback; do
  insmod "/lib/modules/$module.ko" || echo "no module $module"
done
mount -t xenfs xenfs /proc/xen
xenstored --pid-file /run/xenstored.pid --internal-db
while [ ! -S /run/xenstored/socket ]; do sleep 0.1; done
xen-init-dom0
xenconsoled --log=guest --log-dir=/var/log/xen --pid-file=/run/xenconsoled.pid
ip link set lo up
. /lib/shell.sh
serve /dev/ttyS1
