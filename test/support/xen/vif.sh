#!/bin/sh
# What xl runs for a guest's network interface: dom0 becomes the guest's neighbour and router.
[ "$1" = online ] || exit 0
ip link set "$vif" up
ip address add 203.0.113.1/24 dev "$vif"
ip address add 2001:db8::1/64 dev "$vif"
xenstore-write "$XENBUS_PATH/hotplug-status" connected
