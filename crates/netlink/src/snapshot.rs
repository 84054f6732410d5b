use std::collections::HashMap;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{
    NlaBuffer, NlasIterator, Parseable, ParseableParametrized, parse_ip, parse_string, parse_u32,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeader};
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkLayerType};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteLwEnCapType, RouteNextHop,
    RouteNextHopFlags, RouteType, RouteVia,
};

use crate::error::{NetlinkError, Result};
use crate::session::{Session, malformed};

/// How often changing tables are read again.
const TRIES: u32 = 8;

/// linux/if_addr.h: a lifetime that does not end.
const FOREVER: u32 = u32::MAX;
/// USER_HZ, in which the kernel tells the lifetimes of routes. It is 100 on every architecture that Linux still has.
const TICKS_PER_SECOND: u32 = 100;

const LINK_HEADER_LENGTH: usize = 16;
const ADDRESS_HEADER_LENGTH: usize = 8;
const ROUTE_HEADER_LENGTH: usize = 12;

/// linux/rtnetlink.h, Linux 5.3: what libc and the library do not have.
const RTM_GETNEXTHOP: u16 = 106;

/// linux/nexthop.h
mod next_hop_attribute {
    pub const ID: u16 = 1;
    pub const GROUP: u16 = 2;
    pub const DEVICE: u16 = 5;
    pub const GATEWAY: u16 = 6;
}
/// linux/nexthop.h: of `struct nhmsg`, where its flags lie in it, and of `struct nexthop_grp`, which starts with the
/// number of its member.
const NEXT_HOP_HEADER_LENGTH: usize = 8;
const NEXT_HOP_FLAGS: usize = 4;
const NEXT_HOP_MEMBER_LENGTH: usize = 8;

/// linux/if_link.h
pub mod link_attribute {
    pub const ADDRESS: u16 = 1;
    pub const NAME: u16 = 3;
    pub const MTU: u16 = 4;
    pub const MASTER: u16 = 10;
    pub const INFO: u16 = 18;
    pub const PROPERTIES: u16 = 52;
    /// Inside of `PROPERTIES`, once for each name.
    pub const ALTERNATIVE_NAME: u16 = 53;
    pub const PERMANENT_ADDRESS: u16 = 54;
    /// Inside of `INFO`.
    pub const INFO_KIND: u16 = 1;
}

/// The network as the kernel has it, in the kernel's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// All network devices.
    pub links: Vec<Link>,
    /// All IPv4 and IPv6 addresses.
    pub addresses: Vec<AddressEntry>,
    /// The main table's IPv4 and IPv6 routes.
    pub routes: Vec<Route>,
}

/// One network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of the device; it is never used twice.
    pub index: u32,
    /// Such as `eth0`.
    pub name: String,
    /// More names, which udev gives by systemd.link(5) and `ip link property` by hand. Kernels before 5.5 have none.
    pub alternative_names: Vec<String>,
    /// None where addresses have another size than Ethernet's.
    pub mac: Option<[u8; 6]>,
    /// The MAC that the hardware came with. Kernels before 5.6 do not tell it.
    pub permanent_mac: Option<[u8; 6]>,
    /// What a device without hardware is, such as `vlan`, `bridge`, `bond` or `veth`; None for hardware.
    pub kind: Option<String>,
    /// Index of the bridge, bond or the like that the device is part of.
    pub master: Option<u32>,
    /// Somebody has set it up. Whether it can be used is `carrier`'s matter.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    /// The device's index.
    pub index: u32,
    /// Its own address; not the peer's.
    pub address: IpAddr,
    /// Bits.
    pub prefix: u8,
    /// It has a lifetime: from DHCP or a router advertisement.
    pub dynamic: bool,
    /// What is left of that lifetime, seconds; None where it has none.
    pub valid: Option<u32>,
    /// How long new connections use it, seconds; None where that does not end.
    pub preferred: Option<u32>,
    /// The kernel has set no route to its network.
    pub no_prefix_route: bool,
    /// Duplicate address detection runs or has failed.
    pub unusable: bool,
    /// IPv4: another address of the same network came first; the kernel drops this one with it, unless
    /// `promote_secondaries` is set. IPv6: a temporary address.
    pub secondary: bool,
}

/// One way to one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The device's index.
    pub index: u32,
    /// The network's address; all zeros with prefix 0 for the default route.
    pub network: IpAddr,
    /// Bits.
    pub prefix: u8,
    /// None for a route to the link itself. May be of another family than the network.
    pub gateway: Option<IpAddr>,
    /// Lower comes first.
    pub metric: u32,
    /// Who set it, in the numbers of rtnetlink(7): 2 the kernel, 3 boot, 4 static, 9 router advertisement, 16 DHCP.
    pub protocol: u8,
    /// What is left of its lifetime, seconds, at the kernel's clock tick; None where it has none, as all of IPv4.
    pub expires: Option<u32>,
    /// The gateway counts as reachable though no address of the device covers it.
    pub on_link: bool,
    /// In the numbers of rtnetlink(7): 0 anywhere, 253 the link. Always 0 for IPv6.
    pub scope: u8,
    /// The kernel's number of the next hop, or group of them, that the route shares with others (ip-nexthop(8)); None
    /// for one of its own.
    pub next_hop: Option<u32>,
}

/// Reads all links, addresses and unicast routes of the main table. Routes over several gateways are one entry each;
/// cached, local, broadcast and multicast ones are left out. Waits 2 seconds at most for each part of the answer.
///
/// # Errors
/// [`NetlinkError::Io`] when the kernel cannot be reached or does not answer in time, [`NetlinkError::Refused`] when
/// it does not tell, [`NetlinkError::Unsettled`] when the tables changed at each of eight readings.
pub fn dump() -> Result<Snapshot> {
    for _ in 0..TRIES {
        match read() {
            Ok(Some(snapshot)) => return Ok(snapshot),
            Ok(None) => {}
            // The answer was lost because it did not fit into the socket's buffer.
            Err(error) if error.errno() == Some(libc::ENOBUFS) => {}
            Err(error) => return Err(error),
        }
    }
    Err(NetlinkError::Unsettled { tries: TRIES })
}

/// None when a table changed while it was read.
fn read() -> Result<Option<Snapshot>> {
    let mut session = Session::open()?;
    // Families are not asked for one by one: a kernel without IPv6 answers that with the tables of all others.
    let links = session.dump("reading links", libc::RTM_GETLINK, &LinkHeader::default())?;
    let addresses = session.dump(
        "reading addresses",
        libc::RTM_GETADDR,
        &AddressHeader::default(),
    )?;
    let routes = session.dump(
        "reading routes",
        libc::RTM_GETROUTE,
        &RouteHeader::default(),
    )?;
    let (Some(links), Some(addresses), Some(routes)) = (links, addresses, routes) else {
        return Ok(None);
    };
    let ways = collect(&routes, |payload| way(payload).map(Vec::from_iter))?;
    let mut next_hops = HashMap::new();
    // With `nexthop_compat_mode` at 0 the kernel tells the number only. Older kernels know neither.
    if ways.iter().any(|way| way.hops.is_empty()) {
        // The header of an address is as long, and all zeros too.
        let header = AddressHeader::default();
        let Some(told) = session.dump("reading next hops", RTM_GETNEXTHOP, &header)? else {
            return Ok(None);
        };
        next_hops.extend(told.iter().filter_map(|payload| next_hop(payload)));
    }
    Ok(Some(Snapshot {
        links: collect(&links, |payload| link(payload).map(|link| vec![link]))?,
        addresses: collect(&addresses, |payload| address(payload).map(Vec::from_iter))?,
        routes: ways
            .into_iter()
            .flat_map(|way| way.routes(&next_hops))
            .collect(),
    }))
}

fn collect<T>(payloads: &[Vec<u8>], parse: impl Fn(&[u8]) -> Result<Vec<T>>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    for payload in payloads {
        all.extend(parse(payload)?);
    }
    Ok(all)
}

// Attributes are taken one by one: what a future kernel says in another form, and nobody here reads, must not cost the
// whole entry.

fn attributes(payload: &[u8], header: usize) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(payload.get(header..).unwrap_or_default()).map_while(std::result::Result::ok)
}

fn link(payload: &[u8]) -> Result<Link> {
    let header = LinkHeader::parse(payload).map_err(malformed)?;
    let mut link = Link {
        index: header.index,
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::LowerUp),
        ethernet: header.link_layer_type == LinkLayerType::Ether,
        loopback: header.flags.contains(LinkFlags::Loopback),
        ..Link::default()
    };
    for attribute in attributes(payload, LINK_HEADER_LENGTH) {
        let value = attribute.value();
        match attribute.kind() {
            link_attribute::NAME => link.name = parse_string(value).map_err(malformed)?,
            link_attribute::ADDRESS => link.mac = value.try_into().ok(),
            link_attribute::PERMANENT_ADDRESS => link.permanent_mac = value.try_into().ok(),
            link_attribute::MTU => link.mtu = parse_u32(value).map_err(malformed)?,
            link_attribute::MASTER => link.master = parse_u32(value).ok(),
            link_attribute::INFO => link.kind = info_kind(value),
            link_attribute::PROPERTIES => link.alternative_names = alternative_names(value),
            _ => {}
        }
    }
    Ok(link)
}

fn alternative_names(properties: &[u8]) -> Vec<String> {
    attributes(properties, 0)
        .filter(|nested| nested.kind() == link_attribute::ALTERNATIVE_NAME)
        .filter_map(|nested| parse_string(nested.value()).ok())
        .collect()
}

fn info_kind(info: &[u8]) -> Option<String> {
    let kind = attributes(info, 0).find(|nested| nested.kind() == link_attribute::INFO_KIND)?;
    parse_string(kind.value()).ok()
}

/// None for an address of another family.
fn address(payload: &[u8]) -> Result<Option<AddressEntry>> {
    let header = AddressHeader::parse(payload).map_err(malformed)?;
    let mut flags = AddressFlags::from_bits_retain(header.flags.bits().into());
    let (mut local, mut other) = (None, None);
    let (mut valid, mut preferred) = (None, None);
    for attribute in attributes(payload, ADDRESS_HEADER_LENGTH) {
        match AddressAttribute::parse(&attribute) {
            Ok(AddressAttribute::Local(address)) => local = Some(address),
            // The peer's, where there is a peer.
            Ok(AddressAttribute::Address(address)) => other = Some(address),
            Ok(AddressAttribute::Flags(all)) => flags = all,
            Ok(AddressAttribute::CacheInfo(times)) => {
                (valid, preferred) = (finite(times.ifa_valid), finite(times.ifa_preferred));
            }
            _ => {}
        }
    }
    if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return Ok(None);
    }
    let tentative =
        flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic);
    Ok(local.or(other).map(|address| AddressEntry {
        index: header.index,
        address,
        prefix: header.prefix_len,
        dynamic: !flags.contains(AddressFlags::Permanent),
        valid,
        preferred,
        no_prefix_route: flags.contains(AddressFlags::Noprefixroute),
        unusable: tentative || flags.contains(AddressFlags::Dadfailed),
        secondary: flags.contains(AddressFlags::Secondary),
    }))
}

fn finite(seconds: u32) -> Option<u32> {
    (seconds != FOREVER).then_some(seconds)
}

/// What is left of a route's lifetime, from the signed ticks that the kernel tells; 0 stands for none.
fn seconds_of(ticks: u32) -> Option<u32> {
    let left = u32::try_from(ticks.cast_signed()).unwrap_or(0);
    (ticks != 0).then_some(left / TICKS_PER_SECOND)
}

/// None for what is not in the main table or not a way to somewhere.
fn way(payload: &[u8]) -> Result<Option<Way>> {
    let header = RouteHeader::parse(payload).map_err(malformed)?;
    let mut network = match header.address_family {
        AddressFamily::Inet => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        _ => return Ok(None),
    };
    if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return Ok(None);
    }
    let mut table = u32::from(header.table);
    let mut metric = 0;
    let mut single = Hop {
        on_link: header.flags.contains(RouteFlags::Onlink),
        ..Hop::default()
    };
    let mut several = Vec::new();
    let (mut expires, mut next_hop) = (None, None);
    for attribute in attributes(payload, ROUTE_HEADER_LENGTH) {
        let parameters = (header.address_family, header.kind, RouteLwEnCapType::None);
        match RouteAttribute::parse_with_param(&attribute, parameters) {
            Ok(RouteAttribute::Destination(address)) => {
                network = ip_of(&address).unwrap_or(network);
            }
            Ok(RouteAttribute::Table(number)) => table = number,
            Ok(RouteAttribute::Priority(priority)) => metric = priority,
            Ok(RouteAttribute::CacheInfo(times)) => expires = seconds_of(times.expires),
            Ok(RouteAttribute::MultiPath(hops)) => several = hops.iter().map(Hop::from).collect(),
            Ok(RouteAttribute::NhId(id)) => next_hop = Some(id),
            Ok(attribute) => single.take(&attribute),
            Err(_) => {}
        }
    }
    if table != u32::from(RouteHeader::RT_TABLE_MAIN) || network.is_multicast() {
        return Ok(None);
    }
    if several.is_empty() && single.index.is_some() {
        several.push(single);
    }
    let way = Way {
        network,
        prefix: header.destination_prefix_length,
        metric,
        protocol: header.protocol.into(),
        expires,
        scope: header.scope.into(),
        next_hop,
        hops: several,
    };
    Ok((!way.hops.is_empty() || next_hop.is_some()).then_some(way))
}

/// A route as the kernel tells it.
struct Way {
    network: IpAddr,
    prefix: u8,
    metric: u32,
    protocol: u8,
    expires: Option<u32>,
    scope: u8,
    next_hop: Option<u32>,
    /// None where only the number of its next hop was told.
    hops: Vec<Hop>,
}

impl Way {
    /// One for each next hop.
    fn routes(mut self, next_hops: &HashMap<u32, NextHop>) -> Vec<Route> {
        let mut hops = mem::take(&mut self.hops);
        if hops.is_empty() {
            let shared = self.next_hop.and_then(|id| next_hops.get(&id));
            hops = match shared {
                Some(NextHop::Group(members)) => members
                    .iter()
                    .filter_map(|id| next_hops.get(id))
                    .filter_map(NextHop::single)
                    .collect(),
                Some(NextHop::Single(hop)) => vec![*hop],
                None => Vec::new(),
            };
        }
        let route = |hop: Hop| {
            Some(Route {
                index: hop.index?,
                network: self.network,
                prefix: self.prefix,
                gateway: hop.gateway,
                metric: self.metric,
                protocol: self.protocol,
                expires: self.expires,
                on_link: hop.on_link,
                scope: self.scope,
                next_hop: self.next_hop,
            })
        };
        hops.into_iter().filter_map(route).collect()
    }
}

/// What routes share.
enum NextHop {
    Single(Hop),
    Group(Vec<u32>),
}

impl NextHop {
    /// Groups have no groups in them.
    fn single(&self) -> Option<Hop> {
        match self {
            Self::Single(hop) => Some(*hop),
            Self::Group(_) => None,
        }
    }
}

/// By its number. None for what nobody here could read.
fn next_hop(payload: &[u8]) -> Option<(u32, NextHop)> {
    let flags = parse_u32(payload.get(NEXT_HOP_FLAGS..NEXT_HOP_HEADER_LENGTH)?).ok()?;
    let mut hop = Hop {
        on_link: RouteNextHopFlags::from_bits_retain(flags as u8)
            .contains(RouteNextHopFlags::Onlink),
        ..Hop::default()
    };
    let (mut id, mut members) = (None, Vec::new());
    for attribute in attributes(payload, NEXT_HOP_HEADER_LENGTH) {
        let value = attribute.value();
        match attribute.kind() {
            next_hop_attribute::ID => id = parse_u32(value).ok(),
            next_hop_attribute::DEVICE => hop.index = parse_u32(value).ok(),
            next_hop_attribute::GATEWAY => hop.gateway = parse_ip(value).ok(),
            next_hop_attribute::GROUP => {
                members = value
                    .chunks_exact(NEXT_HOP_MEMBER_LENGTH)
                    .filter_map(|member| parse_u32(member.get(..4)?).ok())
                    .collect();
            }
            _ => {}
        }
    }
    let next_hop = if members.is_empty() {
        NextHop::Single(hop)
    } else {
        NextHop::Group(members)
    };
    Some((id?, next_hop))
}

#[derive(Clone, Copy, Default)]
struct Hop {
    index: Option<u32>,
    gateway: Option<IpAddr>,
    on_link: bool,
}

impl Hop {
    fn take(&mut self, attribute: &RouteAttribute) {
        match attribute {
            RouteAttribute::Oif(index) => self.index = Some(*index),
            RouteAttribute::Gateway(address) => self.gateway = ip_of(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => self.gateway = Some((*address).into()),
            RouteAttribute::Via(RouteVia::Inet6(address)) => self.gateway = Some((*address).into()),
            _ => {}
        }
    }
}

impl From<&RouteNextHop> for Hop {
    fn from(next_hop: &RouteNextHop) -> Self {
        let mut hop = Self {
            index: Some(next_hop.interface_index),
            gateway: None,
            on_link: next_hop.flags.contains(RouteNextHopFlags::Onlink),
        };
        next_hop
            .attributes
            .iter()
            .for_each(|attribute| hop.take(attribute));
        hop
    }
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_route::address::{AddressHeaderFlags, AddressMessage, AddressScope};
    use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, Prop};
    use netlink_packet_route::route::{RouteMessage, RouteProtocol, RouteScope};

    use super::*;

    fn bytes(message: &impl Emitable) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn address_message(flags: u32, attributes: Vec<AddressAttribute>) -> Vec<u8> {
        let mut message = AddressMessage::default();
        message.header = AddressHeader {
            family: AddressFamily::Inet6,
            prefix_len: 64,
            flags: AddressHeaderFlags::from_bits_retain(flags as u8),
            scope: AddressScope::Universe,
            index: 3,
        };
        message.attributes = attributes;
        let flags = AddressFlags::from_bits_retain(flags);
        message.attributes.push(AddressAttribute::Flags(flags));
        bytes(&message)
    }

    fn route_message(family: AddressFamily, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Dhcp;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        message.attributes = attributes;
        message
    }

    fn routes_of(payload: &[u8]) -> Vec<Route> {
        let way = way(payload).expect("well formed");
        way.map_or(Vec::new(), |way| way.routes(&HashMap::new()))
    }

    #[test]
    fn a_link_has_what_its_attributes_say() {
        let mut message = LinkMessage::default();
        message.header.index = 4;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
        message.attributes = vec![
            LinkAttribute::IfName("eth0.5".to_owned()),
            LinkAttribute::Address(vec![0, 0x16, 0x3e, 1, 2, 3]),
            LinkAttribute::PermAddress(vec![0, 0x16, 0x3e, 9, 9, 9]),
            LinkAttribute::Mtu(9000),
            LinkAttribute::Controller(7),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan)]),
            LinkAttribute::PropList(vec![
                Prop::AltIfName("storage".to_owned()),
                Prop::AltIfName("a-name-of-more-than-15-letters".to_owned()),
            ]),
        ];
        let wanted = Link {
            index: 4,
            name: "eth0.5".to_owned(),
            alternative_names: vec![
                "storage".to_owned(),
                "a-name-of-more-than-15-letters".to_owned(),
            ],
            mac: Some([0, 0x16, 0x3e, 1, 2, 3]),
            permanent_mac: Some([0, 0x16, 0x3e, 9, 9, 9]),
            kind: Some("vlan".to_owned()),
            master: Some(7),
            up: true,
            carrier: true,
            mtu: 9000,
            ethernet: true,
            loopback: false,
        };
        assert_eq!(link(&bytes(&message)).expect("well formed"), wanted);
    }

    #[test]
    fn hardware_addresses_of_another_size_are_none() {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::Address(vec![0; 20])];
        assert_eq!(link(&bytes(&message)).expect("well formed").mac, None);
    }

    #[test]
    fn an_address_with_a_peer_is_the_own_one() {
        let local = AddressAttribute::Local(ip("2001:db8::1"));
        let peer = AddressAttribute::Address(ip("2001:db8::2"));
        let entry = address(&address_message(0x80, vec![peer, local])).expect("well formed");
        assert_eq!(
            entry.map(|entry| (entry.index, entry.address, entry.prefix)),
            Some((3, ip("2001:db8::1"), 64))
        );
    }

    #[test]
    fn an_address_is_unusable_while_it_may_be_a_duplicate() {
        // Flags of linux/if_addr.h: optimistic 0x04, failed 0x08, tentative 0x40, permanent 0x80.
        for (flags, unusable, dynamic) in [
            (0x80, false, false),
            (0x00, false, true),
            (0xc0, true, false),
            (0xc4, false, false),
            (0x88, true, false),
            (0x280, false, false),
        ] {
            let attributes = vec![AddressAttribute::Address(ip("2001:db8::1"))];
            let entry = address(&address_message(flags, attributes))
                .expect("well formed")
                .expect("an address");
            assert_eq!(
                (entry.unusable, entry.dynamic),
                (unusable, dynamic),
                "{flags:#x}"
            );
        }
    }

    #[test]
    fn a_route_has_what_is_left_of_its_lifetime_or_none() {
        assert_eq!(seconds_of(0), None);
        assert_eq!(seconds_of(17_950), Some(179));
        assert_eq!(seconds_of((-5_i32).cast_unsigned()), Some(0));
    }

    #[test]
    fn a_route_over_several_gateways_is_one_entry_each() {
        let mut first = RouteNextHop::default();
        first.interface_index = 2;
        first.attributes = vec![RouteAttribute::Gateway(ip("192.0.2.1").into())];
        let mut second = RouteNextHop::default();
        second.interface_index = 3;
        second.flags = RouteNextHopFlags::Onlink;
        second.attributes = vec![RouteAttribute::Via(ip("fe80::1").into())];
        let message = route_message(
            AddressFamily::Inet,
            vec![
                RouteAttribute::Priority(100),
                RouteAttribute::MultiPath(vec![first, second]),
            ],
        );
        let entry = |index, gateway, on_link| Route {
            index,
            network: ip("0.0.0.0"),
            prefix: 0,
            gateway: Some(ip(gateway)),
            metric: 100,
            protocol: 16,
            expires: None,
            on_link,
            scope: 0,
            next_hop: None,
        };
        assert_eq!(
            routes_of(&bytes(&message)),
            [entry(2, "192.0.2.1", false), entry(3, "fe80::1", true)]
        );
    }

    #[test]
    fn only_unicast_routes_of_the_main_table_count() {
        let with = |change: &dyn Fn(&mut RouteMessage)| {
            let attributes = vec![
                RouteAttribute::Oif(2),
                RouteAttribute::Destination(ip("2001:db8::").into()),
            ];
            let mut message = route_message(AddressFamily::Inet6, attributes);
            change(&mut message);
            routes_of(&bytes(&message)).len()
        };
        assert_eq!(with(&|_| {}), 1);
        assert_eq!(with(&|message| message.header.kind = RouteType::Local), 0);
        assert_eq!(
            with(&|message| message.header.flags = RouteFlags::Cloned),
            0
        );
        assert_eq!(with(&|message| message.header.table = 255), 0);
        // Tables above 255 stand in an attribute, and the header has 252.
        let far = RouteAttribute::Table(1000);
        assert_eq!(with(&|message| message.attributes.push(far.clone())), 0);
        let multicast = RouteAttribute::Destination(ip("ff00::").into());
        assert_eq!(
            with(&|message| message.attributes.push(multicast.clone())),
            0
        );
        assert_eq!(
            with(&|message| message.header.address_family = AddressFamily::Mpls),
            0
        );
    }

    #[test]
    fn what_is_cut_off_anywhere_is_an_error_or_less_but_never_a_panic() {
        let hop = {
            let mut hop = RouteNextHop::default();
            hop.attributes = vec![RouteAttribute::Via(ip("fe80::1").into())];
            hop
        };
        let route = bytes(&route_message(
            AddressFamily::Inet,
            vec![RouteAttribute::MultiPath(vec![hop.clone(), hop])],
        ));
        let other = address_message(0x80, vec![AddressAttribute::Local(ip("2001:db8::1"))]);
        for length in 0..route.len() {
            let _ = way(&route[..length]);
            let _ = link(&route[..length]);
            let _ = next_hop(&route[..length]);
        }
        for length in 0..other.len() {
            let _ = address(&other[..length]);
        }
    }
}
