#!/bin/sh
# Process 1 of a guest of KVM that has nothing but a kernel, busybox and the agent.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /run/network /var/lib /var/log /etc/guestwire
ln -s /run /var/run
mount -t devpts devpts /dev/pts
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_console \
  failover net_failover virtio_net vsock vmw_vsock_virtio_transport_common vsock_loopback; do
  insmod "/lib/modules/$module.ko" || echo "no module $module"
done
ip link set lo up
ip link set eth0 up
ip address add 192.0.2.10/24 dev eth0
ip address add 2001:db8::10/64 dev eth0
hostname -F /etc/hostname
printf 'ID=minimal\nNAME="Minimal guest"\nVERSION_ID="1"\n' > /etc/os-release
printf '[stream]\nvsock-port = 4000\n' > /etc/guestwire/guestwire.toml
# What busybox's poweroff asks of process 1.
trap 'echo powering off; poweroff -f' USR2
guestwire run > /var/log/guestwire.log 2>&1 &
. /lib/shell.sh
serve /dev/ttyS1
