use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{LinkFlags, LinkHeader};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rustix::net::netdevice::index_to_name;
use rustix::net::{AddressFamily as SocketFamily, SocketFlags, SocketType, socket_with};

use crate::error::Result;
use crate::session::{Message, Request, Session};
use crate::snapshot::{Route, dump, link_attribute};

/// One step from the network that the kernel has to another. Devices are named by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a device up.
    SetUp {
        /// The device.
        index: u32,
    },
    /// Sets a device down. Its routes go, and its IPv6 addresses unless `keep_addr_on_down` is set; IPv4 addresses stay.
    SetDown {
        /// The device.
        index: u32,
    },
    /// Sets the size of a device's largest packet.
    SetMtu {
        /// The device.
        index: u32,
        /// Bytes.
        mtu: u32,
    },
    /// Gives a device an address; one that is there gets the lifetime that is said here. IPv6 addresses become usable
    /// after duplicate address detection.
    AddAddress {
        /// The device.
        index: u32,
        /// Its own address.
        address: IpAddr,
        /// Bits.
        prefix: u8,
        /// Seconds, at least 1; None: for good.
        valid: Option<u32>,
        /// How long new connections may use it, seconds; None: as long as it is valid.
        preferred: Option<u32>,
        /// The kernel sets no route to its network. IPv6, or Linux 4.4.
        no_prefix_route: bool,
    },
    /// Takes an address away. With an IPv4 address the kernel also takes the later ones of the same network, unless
    /// the device's `promote_secondaries` is set.
    RemoveAddress {
        /// The device.
        index: u32,
        /// Its own address.
        address: IpAddr,
        /// Bits.
        prefix: u8,
    },
    /// Adds a route to the main table, in place of one that has the same network and metric.
    AddRoute {
        /// The device.
        index: u32,
        /// The network's address; all zeros with prefix 0 for the default route.
        network: IpAddr,
        /// Bits.
        prefix: u8,
        /// None for a route to the link itself. An IPv4 network may have an IPv6 gateway.
        gateway: Option<IpAddr>,
        /// Takes the gateway for reachable though no address of the device covers it.
        on_link: bool,
        /// Lower comes first. None: 0 for IPv4, 1024 for IPv6.
        metric: Option<u32>,
        /// Who sets it, in the numbers of rtnetlink(7). None: 4, static.
        protocol: Option<u8>,
        /// Seconds, of IPv6 only; None: for good.
        expires: Option<u32>,
    },
    /// Removes a route from the main table, whoever added it. An IPv4 route over several gateways goes as a whole, with
    /// its first one.
    RemoveRoute {
        /// The device.
        index: u32,
        /// The network's address.
        network: IpAddr,
        /// Bits.
        prefix: u8,
        /// None for a route to the link itself.
        gateway: Option<IpAddr>,
        /// None: the first, whatever its metric is.
        metric: Option<u32>,
    },
}

/// Carries out changes in order, until one fails. What is there already is no error, nor is the removal of what is
/// gone. Waits 2 seconds at most for each answer.
///
/// # Errors
/// [`NetlinkError::Refused`](crate::NetlinkError::Refused) names the change and the kernel's error; those before it are made, those after it not.
/// [`NetlinkError::Io`](crate::NetlinkError::Io) when the kernel cannot be reached or does not answer in time.
/// Those of [`dump`] where a route to be removed is not found, and may go by a next hop that it shares.
pub fn apply(changes: &[Change]) -> Result<()> {
    let mut session = Session::open()?;
    for change in changes {
        let mut answer = session.request(&change.request())?;
        if answer
            .as_ref()
            .is_some_and(|refusal| refusal.errno == libc::ESRCH)
            && let Some(request) = change.by_next_hop()?
        {
            answer = session.request(&request)?;
        }
        match answer {
            Some(refusal) if !change.is_done_by(refusal.errno) => {
                return Err(refusal.of(change.in_words(&device_name(change.index()))));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Change {
    fn index(&self) -> u32 {
        match *self {
            Self::SetUp { index }
            | Self::SetDown { index }
            | Self::SetMtu { index, .. }
            | Self::AddAddress { index, .. }
            | Self::RemoveAddress { index, .. }
            | Self::AddRoute { index, .. }
            | Self::RemoveRoute { index, .. } => index,
        }
    }

    /// Whether an error only says that there is nothing left to do.
    fn is_done_by(&self, errno: i32) -> bool {
        match self {
            Self::AddAddress { .. } | Self::AddRoute { .. } => errno == libc::EEXIST,
            Self::RemoveAddress { .. } | Self::RemoveRoute { .. } => {
                matches!(errno, libc::ESRCH | libc::EADDRNOTAVAIL | libc::ENODEV)
            }
            Self::SetUp { .. } | Self::SetDown { .. } | Self::SetMtu { .. } => false,
        }
    }

    fn request(&self) -> Request {
        let (message_type, message) = self.message();
        let flags = match self {
            Self::AddAddress { .. } | Self::AddRoute { .. } => NLM_F_CREATE | NLM_F_REPLACE,
            _ => 0,
        };
        Request {
            message_type,
            flags,
            message,
        }
    }

    /// Removes a route by the number of its next hop, where it shares one: an IPv4 route is then not found by its
    /// gateway and device.
    fn by_next_hop(&self) -> Result<Option<Request>> {
        let Self::RemoveRoute {
            index,
            network,
            prefix,
            gateway,
            metric,
        } = *self
        else {
            return Ok(None);
        };
        let is_meant = |route: &Route| {
            route.index == index
                && route.network == network
                && route.prefix == prefix
                && route.gateway == gateway
                && metric.is_none_or(|metric| metric == route.metric)
        };
        let found = dump()?.routes.into_iter().find(is_meant);
        Ok(found.and_then(|route| {
            let mut message = destination_message(network, prefix, Some(route.metric));
            message.header.scope = RouteScope::NoWhere;
            message
                .attributes
                .push(RouteAttribute::NhId(route.next_hop?));
            Some(Request {
                message_type: libc::RTM_DELROUTE,
                flags: 0,
                message: Message::Route(message),
            })
        }))
    }

    fn message(&self) -> (u16, Message) {
        match *self {
            Self::SetUp { index } => flags_message(index, LinkFlags::Up),
            Self::SetDown { index } => flags_message(index, LinkFlags::empty()),
            Self::SetMtu { index, mtu } => {
                let header = LinkHeader {
                    index,
                    ..LinkHeader::default()
                };
                let size = DefaultNla::new(link_attribute::MTU, mtu.to_ne_bytes().to_vec());
                (libc::RTM_SETLINK, Message::Link(header, vec![size]))
            }
            Self::AddAddress {
                index,
                address,
                prefix,
                valid,
                preferred,
                no_prefix_route,
            } => {
                let mut message = address_message(index, address, prefix);
                let broadcast = broadcast(address, prefix).map(AddressAttribute::Broadcast);
                message.attributes.extend(broadcast);
                if valid.is_some() || preferred.is_some() {
                    let mut times = CacheInfo::default();
                    times.ifa_valid = valid.unwrap_or(u32::MAX);
                    // The kernel refuses a longer one than the address is valid.
                    times.ifa_preferred = preferred.unwrap_or(u32::MAX).min(times.ifa_valid);
                    message.attributes.push(AddressAttribute::CacheInfo(times));
                }
                if no_prefix_route {
                    let flags = AddressAttribute::Flags(AddressFlags::Noprefixroute);
                    message.attributes.push(flags);
                }
                (libc::RTM_NEWADDR, Message::Address(message))
            }
            Self::RemoveAddress {
                index,
                address,
                prefix,
            } => (
                libc::RTM_DELADDR,
                Message::Address(address_message(index, address, prefix)),
            ),
            Self::AddRoute {
                index,
                network,
                prefix,
                gateway,
                on_link,
                metric,
                protocol,
                expires,
            } => {
                let mut message = route_message(index, network, prefix, gateway, metric);
                message.header.protocol = protocol.map_or(RouteProtocol::Static, Into::into);
                message
                    .attributes
                    .extend(expires.map(RouteAttribute::Expires));
                if on_link {
                    message.header.flags = RouteFlags::Onlink;
                }
                (libc::RTM_NEWROUTE, Message::Route(message))
            }
            // Without a protocol, so that it does not matter who added the route.
            Self::RemoveRoute {
                index,
                network,
                prefix,
                gateway,
                metric,
            } => {
                let mut message = route_message(index, network, prefix, gateway, metric);
                if gateway.is_some() {
                    message.header.scope = RouteScope::NoWhere;
                }
                (libc::RTM_DELROUTE, Message::Route(message))
            }
        }
    }

    fn in_words(&self, device: &str) -> String {
        match self {
            Self::SetUp { .. } => format!("setting {device} up"),
            Self::SetDown { .. } => format!("setting {device} down"),
            Self::SetMtu { mtu, .. } => format!("setting the MTU of {device} to {mtu}"),
            Self::AddAddress {
                address, prefix, ..
            } => format!("adding {address}/{prefix} to {device}"),
            Self::RemoveAddress {
                address, prefix, ..
            } => format!("removing {address}/{prefix} from {device}"),
            Self::AddRoute {
                network,
                prefix,
                gateway,
                ..
            } => format!(
                "adding the route {network}/{prefix}{} on {device}",
                Via(*gateway)
            ),
            Self::RemoveRoute {
                network,
                prefix,
                gateway,
                ..
            } => format!(
                "removing the route {network}/{prefix}{} on {device}",
                Via(*gateway)
            ),
        }
    }
}

struct Via(Option<IpAddr>);

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(gateway) => write!(f, " via {gateway}"),
            None => Ok(()),
        }
    }
}

fn family_of(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// Sets the device's flag IFF_UP to what `flags` says, and no other.
fn flags_message(index: u32, flags: LinkFlags) -> (u16, Message) {
    let header = LinkHeader {
        index,
        flags,
        change_mask: LinkFlags::Up,
        ..LinkHeader::default()
    };
    (libc::RTM_SETLINK, Message::Link(header, Vec::new()))
}

fn address_message(index: u32, address: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family_of(address);
    message.header.prefix_len = prefix;
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
    ];
    message
}

/// The broadcast address, where the network has room for one.
fn broadcast(address: IpAddr, prefix: u8) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) if prefix <= 30 => {
            let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            Some(Ipv4Addr::from(u32::from(address) | host))
        }
        _ => None,
    }
}

fn route_message(
    index: u32,
    network: IpAddr,
    prefix: u8,
    gateway: Option<IpAddr>,
    metric: Option<u32>,
) -> RouteMessage {
    let mut message = destination_message(network, prefix, metric);
    message.header.scope = match (network, gateway) {
        (IpAddr::V4(_), None) => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    message.attributes.push(RouteAttribute::Oif(index));
    message.attributes.extend(gateway.map(|gateway| {
        if gateway.is_ipv4() == network.is_ipv4() {
            RouteAttribute::Gateway(gateway.into())
        } else {
            RouteAttribute::Via(gateway.into())
        }
    }));
    message
}

/// Where to, without a way.
fn destination_message(network: IpAddr, prefix: u8, metric: Option<u32>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family_of(network);
    message.header.destination_prefix_length = prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Destination(network.into())];
    message
        .attributes
        .extend(metric.map(RouteAttribute::Priority));
    message
}

/// For messages.
fn device_name(index: u32) -> String {
    let name = socket_with(
        SocketFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .and_then(|socket| index_to_name(socket, index));
    name.unwrap_or_else(|_| format!("device {index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_has_a_broadcast_address_when_it_has_room_for_one() {
        for (address, prefix, wanted) in [
            ("192.0.2.130", 25, Some(Ipv4Addr::new(192, 0, 2, 255))),
            ("10.0.0.1", 30, Some(Ipv4Addr::new(10, 0, 0, 3))),
            ("10.0.0.1", 0, Some(Ipv4Addr::BROADCAST)),
            ("10.0.0.1", 31, None),
            ("10.0.0.1", 32, None),
            ("2001:db8::1", 24, None),
        ] {
            assert_eq!(broadcast(ip(address), prefix), wanted, "{address}/{prefix}");
        }
    }

    #[test]
    fn a_change_in_words() {
        let route = |gateway| Change::AddRoute {
            index: 2,
            network: ip("0.0.0.0"),
            prefix: 0,
            gateway,
            on_link: false,
            metric: None,
            protocol: None,
            expires: None,
        };
        assert_eq!(
            route(Some(ip("fe80::1"))).in_words("eth0"),
            "adding the route 0.0.0.0/0 via fe80::1 on eth0"
        );
        assert_eq!(
            route(None).in_words("eth0"),
            "adding the route 0.0.0.0/0 on eth0"
        );
    }

    #[test]
    fn only_errors_that_mean_that_nothing_is_left_to_do_are_passed_over() {
        let (index, address, prefix) = (2, ip("192.0.2.1"), 24);
        let add = Change::AddAddress {
            index,
            address,
            prefix,
            valid: None,
            preferred: None,
            no_prefix_route: false,
        };
        let remove = Change::RemoveAddress {
            index,
            address,
            prefix,
        };
        assert!(add.is_done_by(libc::EEXIST) && !add.is_done_by(libc::ENODEV));
        assert!(remove.is_done_by(libc::ENODEV) && !remove.is_done_by(libc::EPERM));
        assert!(!Change::SetUp { index }.is_done_by(libc::ENODEV));
    }
}
