#!/bin/sh
# Process 1 of a guest that has nothing but a kernel, busybox and the agent.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /run/network /var/lib /var/log
ln -s /run /var/run
mount -t devpts devpts /dev/pts
insmod /lib/modules/xen-netfront.ko
ip link set lo up
hostname -F /etc/hostname
guestwire run --log-level debug > /var/log/guestwire.log 2>&1 &
. /lib/shell.sh
serve /dev/hvc0
