//! The kernel's links, addresses and routes for JavaScript. Both calls take microseconds, so they do not leave the
//! thread.

use std::net::IpAddr;

use napi::Result;
use napi_derive::napi;
use netlink::{AddressEntry, Change, Link, Route};

use crate::error::{CodedError, ErrorCode};

/// The network as the kernel has it, in the kernel's order.
#[napi(object, object_from_js = false)]
pub struct NetworkSnapshot {
    /// All network devices.
    pub links: Vec<NetworkLink>,
    /// All IPv4 and IPv6 addresses.
    pub addresses: Vec<NetworkAddress>,
    /// The main table's IPv4 and IPv6 routes.
    pub routes: Vec<NetworkRoute>,
}

/// One network device.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct NetworkLink {
    /// The kernel's number of the device.
    pub index: u32,
    /// Such as `eth0`.
    pub name: String,
    /// More names, by systemd.link(5) or `ip link property`.
    pub alternative_names: Vec<String>,
    /// Lower case, colons; null where addresses have another size than Ethernet's.
    pub mac: Option<String>,
    /// The MAC that the hardware came with. Kernels before 5.6 do not tell it.
    pub permanent_mac: Option<String>,
    /// Such as `vlan`, `bridge` or `veth`; null for hardware.
    pub kind: Option<String>,
    /// Index of the bridge, bond or the like that the device is part of.
    pub master: Option<u32>,
    /// Somebody has set it up.
    pub up: bool,
    /// The other end is there.
    pub carrier: bool,
    /// Bytes.
    pub mtu: u32,
    /// Its frames are Ethernet's; also a bridge's, a VLAN's and the like.
    pub ethernet: bool,
    /// It leads back to this machine.
    pub loopback: bool,
}

/// One address of a device.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct NetworkAddress {
    /// The device's index.
    pub index: u32,
    /// IPv6 as in RFC 5952.
    pub address: String,
    /// Bits.
    pub prefix: u8,
    /// It has a lifetime: from DHCP or a router advertisement.
    pub dynamic: bool,
    /// What is left of that lifetime, seconds; null where it has none.
    pub valid: Option<u32>,
    /// How long new connections use it, seconds; null where that does not end.
    pub preferred: Option<u32>,
    /// The kernel has set no route to its network.
    pub no_prefix_route: bool,
    /// Duplicate address detection runs or has failed.
    pub unusable: bool,
    /// IPv4: the kernel drops it with the first address of its network. IPv6: a temporary address.
    pub secondary: bool,
}

/// One way to one network, of the main table.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct NetworkRoute {
    /// The device's index.
    pub index: u32,
    /// The network's address; all zeros with prefix 0 for the default route.
    pub network: String,
    /// Bits.
    pub prefix: u8,
    /// Null for a route to the link itself. May be of another family than the network.
    pub gateway: Option<String>,
    /// Lower comes first.
    pub metric: u32,
    /// Who set it, in the numbers of rtnetlink(7).
    pub protocol: u8,
    /// What is left of its lifetime, seconds; null where it has none, as all of IPv4.
    pub expires: Option<u32>,
    /// The gateway counts as reachable though no address of the device covers it.
    pub on_link: bool,
    /// In the numbers of rtnetlink(7).
    pub scope: u8,
}

/// One step from the network that the kernel has to another; more about each in the crate `netlink`.
#[expect(missing_docs, reason = "the crate `netlink` describes the same fields")]
#[napi(
    discriminant = "type",
    discriminant_case = "kebab-case",
    use_nullable = true
)]
pub enum NetworkChange {
    Up {
        index: u32,
    },
    Down {
        index: u32,
    },
    Mtu {
        index: u32,
        mtu: u32,
    },
    AddAddress {
        index: u32,
        address: String,
        prefix: u8,
        valid: Option<u32>,
        preferred: Option<u32>,
        no_prefix_route: bool,
    },
    RemoveAddress {
        index: u32,
        address: String,
        prefix: u8,
    },
    AddRoute {
        index: u32,
        network: String,
        prefix: u8,
        gateway: Option<String>,
        metric: Option<u32>,
        on_link: bool,
        protocol: Option<u8>,
        expires: Option<u32>,
    },
    RemoveRoute {
        index: u32,
        network: String,
        prefix: u8,
        gateway: Option<String>,
        metric: Option<u32>,
    },
}

/// All links, addresses and unicast routes of the main table. Throws `NETLINK_FAILED`.
#[napi(catch_unwind)]
pub fn network_snapshot() -> Result<NetworkSnapshot, ErrorCode> {
    let snapshot = netlink::dump().map_err(|error| failed(&error))?;
    Ok(NetworkSnapshot {
        links: snapshot.links.into_iter().map(Into::into).collect(),
        addresses: snapshot.addresses.into_iter().map(Into::into).collect(),
        routes: snapshot.routes.into_iter().map(Into::into).collect(),
    })
}

/// Carries out changes in order, until one fails. What is there already is no error, nor is the removal of what is
/// gone. Throws `NETLINK_FAILED`, which names the change and the kernel's error.
#[napi(catch_unwind)]
pub fn network_apply(changes: Vec<NetworkChange>) -> Result<(), ErrorCode> {
    let changes = changes
        .into_iter()
        .map(Change::try_from)
        .collect::<Result<Vec<Change>, ErrorCode>>()?;
    netlink::apply(&changes).map_err(|error| failed(&error))
}

impl From<Link> for NetworkLink {
    fn from(link: Link) -> Self {
        Self {
            index: link.index,
            name: link.name,
            mac: link.mac.map(mac_text),
            alternative_names: link.alternative_names,
            permanent_mac: link.permanent_mac.map(mac_text),
            kind: link.kind,
            master: link.master,
            up: link.up,
            carrier: link.carrier,
            mtu: link.mtu,
            ethernet: link.ethernet,
            loopback: link.loopback,
        }
    }
}

impl From<AddressEntry> for NetworkAddress {
    fn from(entry: AddressEntry) -> Self {
        Self {
            index: entry.index,
            address: entry.address.to_string(),
            prefix: entry.prefix,
            dynamic: entry.dynamic,
            valid: entry.valid,
            preferred: entry.preferred,
            no_prefix_route: entry.no_prefix_route,
            unusable: entry.unusable,
            secondary: entry.secondary,
        }
    }
}

impl From<Route> for NetworkRoute {
    fn from(route: Route) -> Self {
        Self {
            index: route.index,
            network: route.network.to_string(),
            prefix: route.prefix,
            gateway: route.gateway.map(|gateway| gateway.to_string()),
            metric: route.metric,
            protocol: route.protocol,
            expires: route.expires,
            on_link: route.on_link,
            scope: route.scope,
        }
    }
}

impl TryFrom<NetworkChange> for Change {
    type Error = CodedError;

    fn try_from(change: NetworkChange) -> Result<Self, ErrorCode> {
        Ok(match change {
            NetworkChange::Up { index } => Self::SetUp { index },
            NetworkChange::Down { index } => Self::SetDown { index },
            NetworkChange::Mtu { index, mtu } => Self::SetMtu { index, mtu },
            NetworkChange::AddAddress {
                index,
                address,
                prefix,
                valid,
                preferred,
                no_prefix_route,
            } => Self::AddAddress {
                index,
                address: parse(&address)?,
                prefix,
                valid,
                preferred,
                no_prefix_route,
            },
            NetworkChange::RemoveAddress {
                index,
                address,
                prefix,
            } => Self::RemoveAddress {
                index,
                address: parse(&address)?,
                prefix,
            },
            NetworkChange::AddRoute {
                index,
                network,
                prefix,
                gateway,
                metric,
                on_link,
                protocol,
                expires,
            } => Self::AddRoute {
                index,
                network: parse(&network)?,
                prefix,
                gateway: gateway.as_deref().map(parse).transpose()?,
                on_link,
                metric,
                protocol,
                expires,
            },
            NetworkChange::RemoveRoute {
                index,
                network,
                prefix,
                gateway,
                metric,
            } => Self::RemoveRoute {
                index,
                network: parse(&network)?,
                prefix,
                gateway: gateway.as_deref().map(parse).transpose()?,
                metric,
            },
        })
    }
}

fn mac_text([a, b, c, d, e, f]: [u8; 6]) -> String {
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

fn parse(address: &str) -> Result<IpAddr, ErrorCode> {
    address
        .parse()
        .map_err(|_| failed(&format!("{address:?} is no IP address")))
}

fn failed(error: &impl std::fmt::Display) -> CodedError {
    CodedError::new(ErrorCode::NetlinkFailed, error.to_string())
}
