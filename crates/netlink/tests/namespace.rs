//! Against the kernel, in network namespaces of their own, held against what `ip` prints. As root.

#![cfg(target_os = "linux")]

use std::io;
use std::net::IpAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use netlink::{AddressEntry, Change, Link, NetlinkError, Route, Snapshot, apply, dump};
use serde_json::Value;

/// Runs `test` in a new network namespace, which ends with its thread.
fn isolated(test: fn()) {
    let thread = thread::spawn(move || {
        // SAFETY: a call without pointers; only this thread, and the programs that it starts, change their namespace.
        let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        let error = io::Error::last_os_error();
        assert_eq!(result, 0, "a namespace needs root: {error}");
        // No link-local addresses, which come at a time of their own; the others can be used soon.
        set_ipv6("default", "addr_gen_mode", "1");
        set_ipv6("default", "accept_dad", "0");
        test();
    });
    thread.join().expect("the test passes");
}

/// /proc/sys/net is that of whoever looks.
fn set_ipv6(device: &str, key: &str, value: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{device}/{key}");
    std::fs::write(path, value).expect("the kernel has IPv6");
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("iproute2 is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(arguments: &str) -> Vec<Value> {
    let text = ip(&format!("-d -j {arguments}"));
    // `ip` prints nothing at all, or an empty object, where it has nothing to list.
    if text.trim().is_empty() {
        return Vec::new();
    }
    let list: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    list.into_iter()
        .filter(|entry| entry.as_object().is_some_and(|object| !object.is_empty()))
        .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value[key].as_str()
}

/// Seconds; `ip` tells the largest number for one that does not end.
fn lifetime(value: &Value, key: &str) -> Option<u32> {
    number(value, key).filter(|seconds| *seconds != u32::MAX)
}

fn number<T: TryFrom<u64>>(value: &Value, key: &str) -> Option<T> {
    T::try_from(value[key].as_u64()?).ok()
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).expect("hex"))
        .collect();
    bytes.try_into().ok()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// What `ip` makes of the same tables.
fn by_ip() -> Snapshot {
    let list = json("address show");
    let index_of = |name: &str| {
        let link = list.iter().find(|link| text(link, "ifname") == Some(name));
        number::<u32>(link.expect("a link of that name"), "ifindex").expect("an index")
    };
    let has = |value: &Value, key: &str, wanted: &str| {
        value[key]
            .as_array()
            .is_some_and(|flags| flags.iter().any(|flag| flag == wanted))
    };
    let link = |value: &Value| Link {
        index: number(value, "ifindex").expect("an index"),
        name: text(value, "ifname").expect("a name").to_owned(),
        alternative_names: value["altnames"]
            .as_array()
            .map(|names| {
                names
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default(),
        mac: text(value, "address").and_then(mac),
        permanent_mac: text(value, "permaddr").and_then(mac),
        kind: text(&value["linkinfo"], "info_kind").map(str::to_owned),
        master: text(value, "master").map(index_of),
        up: has(value, "flags", "UP"),
        carrier: has(value, "flags", "LOWER_UP"),
        mtu: number(value, "mtu").expect("an MTU"),
        ethernet: text(value, "link_type") == Some("ether"),
        loopback: has(value, "flags", "LOOPBACK"),
    };
    let entries = |value: &Value| -> Vec<AddressEntry> {
        let index = number(value, "ifindex").expect("an index");
        let list = value["addr_info"].as_array().expect("a list");
        list.iter()
            .map(|entry| AddressEntry {
                index,
                address: address(text(entry, "local").expect("an address")),
                prefix: number(entry, "prefixlen").expect("a prefix"),
                dynamic: entry["dynamic"] == true,
                valid: lifetime(entry, "valid_life_time"),
                preferred: lifetime(entry, "preferred_life_time"),
                no_prefix_route: entry["noprefixroute"] == true,
                unusable: entry["tentative"] == true || entry["dadfailed"] == true,
                secondary: entry["secondary"] == true || entry["temporary"] == true,
            })
            .collect()
    };
    let mut routes = Vec::new();
    for (family, none) in [("-4", "0.0.0.0"), ("-6", "::")] {
        for value in json(&format!("-N {family} route show type unicast table main")) {
            let (network, prefix) = match text(&value, "dst").expect("a network") {
                "default" => (address(none), 0),
                network => match network.split_once('/') {
                    Some((network, prefix)) => {
                        (address(network), prefix.parse().expect("a prefix"))
                    }
                    None => {
                        let network = address(network);
                        (network, if network.is_ipv4() { 32 } else { 128 })
                    }
                },
            };
            let hops = match value["nexthops"].as_array() {
                Some(hops) => hops.clone(),
                None => vec![value.clone()],
            };
            routes.extend(hops.iter().map(|hop| {
                Route {
                    index: index_of(text(hop, "dev").expect("a device")),
                    network,
                    prefix,
                    gateway: text(hop, "gateway")
                        .or(text(&hop["via"], "host"))
                        .map(address),
                    metric: number(&value, "metric").unwrap_or(0),
                    protocol: text(&value, "protocol")
                        .map_or(0, |number| number.parse().expect("a number")),
                    expires: number(&value, "expires"),
                    on_link: has(hop, "flags", "onlink"),
                    scope: text(&value, "scope")
                        .map_or(0, |number| number.parse().expect("a number")),
                    next_hop: number(&value, "nhid"),
                }
            }));
        }
    }
    // `ip` lists addresses by link, both families of each.
    let mut addresses: Vec<AddressEntry> = list.iter().flat_map(entries).collect();
    addresses.sort_by_key(|entry| entry.address.is_ipv6());
    Snapshot {
        links: list.iter().map(link).collect(),
        addresses,
        routes,
    }
}

/// The snapshot once all addresses can be used.
#[track_caller]
fn settled() -> Snapshot {
    for _ in 0..200 {
        let snapshot = dump().expect("the kernel tells");
        if !snapshot.addresses.iter().any(|entry| entry.unusable) {
            return snapshot;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("an address stayed unusable");
}

/// With lifetimes that are there or not: between two readings a second may pass.
fn timeless(snapshot: &mut Snapshot) {
    for entry in &mut snapshot.addresses {
        entry.valid = entry.valid.map(|_| 0);
        entry.preferred = entry.preferred.map(|_| 0);
    }
    for route in &mut snapshot.routes {
        route.expires = route.expires.map(|_| 0);
    }
}

/// The settled snapshot, which is what `ip` says.
#[track_caller]
fn checked() -> Snapshot {
    let snapshot = settled();
    let wanted = by_ip();
    assert_eq!(snapshot.links, wanted.links);
    let (mut told, mut by_ip) = (snapshot.clone(), wanted);
    timeless(&mut told);
    timeless(&mut by_ip);
    assert_eq!(told.addresses, by_ip.addresses);
    assert_eq!(told.routes, by_ip.routes);
    snapshot
}

/// A pair of links, up.
fn pair() -> u32 {
    ip("link add eth0 type veth peer name far");
    ip("link set eth0 up");
    ip("link set far up");
    index("eth0")
}

fn index(name: &str) -> u32 {
    let links = dump().expect("the kernel tells").links;
    let link = links.iter().find(|link| link.name == name);
    link.expect("a link of that name").index
}

fn add_address(index: u32, text: &str, prefix: u8) -> Change {
    Change::AddAddress {
        index,
        address: address(text),
        prefix,
        valid: None,
        preferred: None,
        no_prefix_route: false,
    }
}

fn remove_address(index: u32, text: &str, prefix: u8) -> Change {
    Change::RemoveAddress {
        index,
        address: address(text),
        prefix,
    }
}

/// A route as text, such as `192.0.2.0/24 fe80::1`.
struct Way {
    index: u32,
    network: IpAddr,
    prefix: u8,
    gateway: Option<IpAddr>,
}

fn way(index: u32, line: &str) -> Way {
    let mut words = line.split_whitespace();
    let (network, prefix) = words
        .next()
        .and_then(|network| network.split_once('/'))
        .expect("a network");
    Way {
        index,
        network: address(network),
        prefix: prefix.parse().expect("a prefix"),
        gateway: words.next().map(address),
    }
}

fn add_route(way: &Way, on_link: bool, metric: Option<u32>) -> Change {
    Change::AddRoute {
        index: way.index,
        network: way.network,
        prefix: way.prefix,
        gateway: way.gateway,
        on_link,
        metric,
        protocol: None,
        expires: None,
    }
}

fn remove_route(way: &Way, metric: Option<u32>) -> Change {
    Change::RemoveRoute {
        index: way.index,
        network: way.network,
        prefix: way.prefix,
        gateway: way.gateway,
        metric,
    }
}

/// Makes the changes twice: what is as wanted already is no error, and stays.
#[track_caller]
fn twice(changes: &[Change]) -> Snapshot {
    apply(changes).expect("the changes can be made");
    let first = checked();
    apply(changes).expect("the changes are quiet when they are made");
    let second = checked();
    assert_eq!(first, second);
    second
}

#[test]
fn an_empty_namespace_has_one_link() {
    isolated(|| {
        let snapshot = checked();
        assert_eq!(snapshot.links.len(), 1);
        assert!(snapshot.links[0].loopback && !snapshot.links[0].up);
    });
}

#[test]
fn stacked_devices_show_what_they_are() {
    isolated(|| {
        pair();
        ip("link set eth0 address 00:16:3e:01:02:03");
        ip("link property add dev eth0 altname wan0 altname a-name-of-more-than-15-letters");
        ip("link add bridge0 type bridge");
        ip("link set eth0 master bridge0");
        ip("link set bridge0 address 00:16:3e:01:02:03");
        ip("link add link far name sub type macvlan mode bridge");
        ip("link add tunnel type vxlan id 1 dstport 4789");
        ip("tuntap add tap0 mode tap");
        ip("link set bridge0 up mtu 1400");
        let links = checked().links;
        let of = |name: &str| links.iter().find(|link| link.name == name).expect("a link");
        assert_eq!(of("eth0").mac, of("bridge0").mac);
        assert_eq!(of("eth0").kind.as_deref(), Some("veth"));
        assert_eq!(of("eth0").master, Some(of("bridge0").index));
        for (name, kind) in [
            ("bridge0", "bridge"),
            ("sub", "macvlan"),
            ("tunnel", "vxlan"),
            ("tap0", "tun"),
        ] {
            assert_eq!(of(name).kind.as_deref(), Some(kind));
        }
        assert_eq!(of("bridge0").mtu, 1400);
        let names = ["wan0", "a-name-of-more-than-15-letters"];
        assert_eq!(of("eth0").alternative_names, names);
    });
}

#[test]
fn what_ip_sets_up_is_read() {
    isolated(|| {
        pair();
        ip("address add 192.0.2.10/24 dev eth0");
        ip("address add 192.0.2.11/24 dev eth0");
        ip("address add 10.0.0.1 peer 10.0.0.2/32 dev eth0");
        ip("address add 203.0.113.5/32 dev eth0 valid_lft 1000 preferred_lft 1000");
        ip("address add 2001:db8::10/64 dev eth0 nodad");
        ip("address add 2001:db8:1::10/64 dev far nodad valid_lft 1000 preferred_lft 1000");
        ip("route add default via 192.0.2.1 metric 50");
        ip("route add default via 192.0.2.2 proto dhcp metric 1002");
        ip("route add 198.51.100.0/24 via 172.31.1.1 dev eth0 onlink");
        ip("route add 198.51.101.0/24 via inet6 fe80::1 dev eth0");
        ip("route add 198.51.102.0/24 nexthop via 192.0.2.1 nexthop via inet6 fe80::2 dev eth0");
        ip("route add 198.51.103.0/24 dev eth0 table 100");
        ip("route add 198.51.104.0/24 dev eth0 table 1000");
        ip("route add blackhole 198.51.105.0/24");
        ip("-6 route add default via fe80::1 dev eth0 metric 100");
        ip("-6 route add 2001:db8:5::/48 nexthop via fe80::3 dev eth0 nexthop via fe80::4 dev far");
        ip("-6 route add 2001:db8:6::/48 via 2001:db8:9::1 dev eth0 onlink proto ra");
        ip("-6 route add unreachable 2001:db8:7::/48");
        let snapshot = checked();
        let gateways = |network: &str| -> Vec<Option<IpAddr>> {
            let network = address(network);
            let routes = snapshot.routes.iter();
            let there = routes.filter(|route| route.network == network);
            there.map(|route| route.gateway).collect()
        };
        let some = |text| Some(address(text));
        assert_eq!(gateways("0.0.0.0"), [some("192.0.2.1"), some("192.0.2.2")]);
        assert_eq!(gateways("198.51.101.0"), [some("fe80::1")]);
        assert_eq!(
            gateways("198.51.102.0"),
            [some("192.0.2.1"), some("fe80::2")]
        );
        assert_eq!(gateways("2001:db8:5::"), [some("fe80::3"), some("fe80::4")]);
        for absent in [
            "198.51.103.0",
            "198.51.104.0",
            "198.51.105.0",
            "2001:db8:7::",
            "ff00::",
        ] {
            assert_eq!(gateways(absent), [], "{absent}");
        }
        let secondary = snapshot.addresses.iter().find(|entry| entry.secondary);
        assert_eq!(secondary.map(|entry| entry.address), some("192.0.2.11"));
    });
}

#[test]
fn addresses_are_added_and_removed() {
    isolated(|| {
        let index = pair();
        let changes = [
            add_address(index, "192.0.2.10", 24),
            add_address(index, "192.0.2.11", 24),
            add_address(index, "10.1.1.1", 31),
            add_address(index, "10.1.2.1", 32),
            add_address(index, "2001:db8::10", 64),
            add_address(index, "2001:db8::11", 64),
        ];
        twice(&changes);
        let shown = ip("-o -4 address show dev eth0");
        let broadcasts: Vec<bool> = shown.lines().map(|line| line.contains(" brd ")).collect();
        assert_eq!(broadcasts, [true, false, false, true], "{shown}");
        assert!(
            shown.contains("192.0.2.10/24 brd 192.0.2.255 scope global"),
            "{shown}"
        );
        let left = twice(&[
            remove_address(index, "192.0.2.11", 24),
            remove_address(index, "10.1.1.1", 31),
            remove_address(index, "2001:db8::10", 64),
            // Never there; not with this prefix; no such device.
            remove_address(index, "10.9.9.9", 24),
            remove_address(index, "192.0.2.10", 25),
            remove_address(4711, "10.9.9.9", 24),
        ]);
        let mut there: Vec<String> = left
            .addresses
            .iter()
            .filter(|entry| entry.index == index)
            .map(|entry| format!("{}/{}", entry.address, entry.prefix))
            .collect();
        there.sort();
        assert_eq!(there, ["10.1.2.1/32", "192.0.2.10/24", "2001:db8::11/64"]);
    });
}

#[test]
fn an_address_with_a_lifetime_becomes_a_lasting_one() {
    isolated(|| {
        let index = pair();
        ip("address add 192.0.2.10/24 dev eth0 valid_lft 1000 preferred_lft 1000");
        ip("address add 2001:db8::10/64 dev eth0 nodad valid_lft 1000 preferred_lft 1000");
        assert_eq!(
            checked()
                .addresses
                .iter()
                .filter(|entry| entry.dynamic)
                .count(),
            2
        );
        let after = twice(&[
            add_address(index, "192.0.2.10", 24),
            add_address(index, "2001:db8::10", 64),
        ]);
        assert!(after.addresses.iter().all(|entry| !entry.dynamic));
    });
}

#[test]
fn an_address_is_unusable_during_duplicate_address_detection() {
    isolated(|| {
        let index = pair();
        set_ipv6("eth0", "accept_dad", "1");
        apply(&[add_address(index, "2001:db8::10", 64)]).expect("it can be added");
        let wanted = address("2001:db8::10");
        let entry = |snapshot: Snapshot| {
            let mut addresses = snapshot.addresses.into_iter();
            addresses
                .find(|entry| entry.address == wanted)
                .expect("it is there")
        };
        assert!(entry(dump().expect("the kernel tells")).unusable);
        assert!(!entry(settled()).unusable);
    });
}

#[test]
fn routes_are_added_and_removed() {
    isolated(|| {
        let index = pair();
        apply(&[
            add_address(index, "192.0.2.10", 24),
            add_address(index, "2001:db8::10", 64),
        ])
        .expect("they can be added");
        let before = checked();
        let ways = [
            (way(index, "0.0.0.0/0 192.0.2.1"), false, None),
            (way(index, "0.0.0.0/0 192.0.2.2"), false, Some(500)),
            (way(index, "172.31.1.1/32"), false, None),
            (way(index, "198.51.100.0/24 172.31.1.1"), true, None),
            (way(index, "198.51.101.0/24 fe80::1"), false, None),
            (way(index, "::/0 fe80::1"), false, None),
            (way(index, "::/0 fe80::2"), false, Some(500)),
            (way(index, "2001:db8:1::/48 2001:db8:9::1"), true, None),
            (way(index, "2001:db8:2::/48"), false, None),
        ];
        let adding: Vec<Change> = ways
            .iter()
            .map(|(way, on_link, metric)| add_route(way, *on_link, *metric))
            .collect();
        let with = twice(&adding);
        let own: Vec<&Route> = with
            .routes
            .iter()
            .filter(|route| !before.routes.contains(route))
            .collect();
        assert_eq!(own.len(), ways.len());
        for (way, on_link, metric) in &ways {
            let default = if way.network.is_ipv4() { 0 } else { 1024 };
            let link = way.network.is_ipv4() && way.gateway.is_none();
            let wanted = Route {
                index,
                network: way.network,
                prefix: way.prefix,
                gateway: way.gateway,
                metric: metric.unwrap_or(default),
                protocol: 4,
                expires: None,
                on_link: *on_link,
                scope: if link { 253 } else { 0 },
                next_hop: None,
            };
            assert!(own.contains(&&wanted), "{wanted:?} in {own:?}");
        }
        let removing: Vec<Change> = ways
            .iter()
            .map(|(way, _, metric)| remove_route(way, *metric))
            .collect();
        assert_eq!(twice(&removing), before);
    });
}

#[test]
fn a_route_takes_the_place_of_one_with_the_same_network_and_metric() {
    isolated(|| {
        let index = pair();
        apply(&[add_address(index, "192.0.2.10", 24)]).expect("it can be added");
        for line in [
            "0.0.0.0/0 192.0.2.1",
            "0.0.0.0/0 192.0.2.2",
            "::/0 fe80::1",
            "::/0 fe80::2",
        ] {
            apply(&[add_route(&way(index, line), false, None)]).expect("it can be added");
        }
        let routes = checked().routes;
        let defaults: Vec<Option<IpAddr>> = routes
            .iter()
            .filter(|route| route.prefix == 0)
            .map(|route| route.gateway)
            .collect();
        assert_eq!(
            defaults,
            [Some(address("192.0.2.2")), Some(address("fe80::2"))]
        );
    });
}

#[test]
fn the_routes_of_others_can_be_removed() {
    isolated(|| {
        let index = pair();
        ip("address add 192.0.2.10/24 dev eth0");
        ip("route add default via 192.0.2.1 proto dhcp metric 1002");
        ip("-6 route add default via fe80::1 dev eth0 proto ra metric 1024");
        let after = twice(&[
            remove_route(&way(index, "0.0.0.0/0 192.0.2.1"), None),
            remove_route(&way(index, "::/0 fe80::1"), Some(1024)),
        ]);
        assert!(after.routes.iter().all(|route| route.prefix != 0));
    });
}

/// Routes by next hops that they share, in both ways to tell them: as systemd-networkd sets those of advertisements.
fn with_next_hops(test: fn(index: u32, shown: &Snapshot)) {
    let index = pair();
    ip("address add 192.0.2.10/24 dev eth0");
    ip("address add 2001:db8::10/64 dev eth0 nodad");
    ip("nexthop add id 1 via 192.0.2.1 dev eth0");
    ip("nexthop add id 2 via 192.0.2.2 dev eth0");
    ip("nexthop add id 3 via fe80::1 dev eth0 proto ra");
    ip("nexthop add id 4 via fe80::2 dev far");
    ip("-6 nexthop add id 5 dev eth0");
    ip("link set lo up");
    ip("nexthop add id 6 blackhole");
    ip("nexthop add id 7 via 172.31.1.1 dev eth0 onlink");
    ip("nexthop add id 3000000000 group 1/2");
    ip("nexthop add id 3000000001 group 3/4");
    ip("route add default nhid 1");
    ip("route add default nhid 2 metric 500");
    ip("route add default via 192.0.2.3 metric 600");
    ip("route add 198.51.100.0/24 nhid 3000000000");
    ip("route add 198.51.101.0/24 nhid 3");
    ip("route add 198.51.102.0/24 nhid 7");
    ip("route add 198.51.103.0/24 nhid 6");
    ip("-6 route add default nhid 3 proto ra expires 1800");
    ip("-6 route add 2001:db8:1::/48 nhid 3000000001");
    ip("-6 route add 2001:db8:2::/48 nhid 5");
    let mut shown = checked();
    timeless(&mut shown);
    // In the end as `ip` can show it.
    for compatible in ["0", "1"] {
        std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", compatible).expect("Linux 5.8");
        let mut told = settled();
        timeless(&mut told);
        assert_eq!(
            told.routes, shown.routes,
            "nexthop_compat_mode {compatible}"
        );
    }
    test(index, &shown);
}

#[test]
fn routes_by_next_hops_are_read_even_if_the_kernel_tells_only_their_numbers() {
    isolated(|| {
        with_next_hops(|index, shown| {
            let by = |id: u32| -> Vec<(u32, Option<IpAddr>, bool)> {
                let routes = shown.routes.iter();
                let by = routes.filter(|route| route.next_hop == Some(id));
                by.map(|route| (route.index, route.gateway, route.on_link))
                    .collect()
            };
            let on = |index, text, on_link| (index, Some(address(text)), on_link);
            let far = self::index("far");
            assert_eq!(by(1), [on(index, "192.0.2.1", false)]);
            assert_eq!(by(3), [on(index, "fe80::1", false); 2]);
            assert_eq!(by(5), [(index, None, false)]);
            assert_eq!(by(6), []);
            assert_eq!(by(7), [on(index, "172.31.1.1", true)]);
            assert_eq!(
                by(3_000_000_000),
                [on(index, "192.0.2.1", false), on(index, "192.0.2.2", false)]
            );
            assert_eq!(
                by(3_000_000_001),
                [on(index, "fe80::1", false), on(far, "fe80::2", false)]
            );
        });
    });
}

#[test]
fn routes_by_next_hops_are_removed_by_their_gateways() {
    isolated(|| {
        with_next_hops(|index, _| {
            let after = twice(&[
                remove_route(&way(index, "0.0.0.0/0 192.0.2.1"), Some(0)),
                remove_route(&way(index, "0.0.0.0/0 192.0.2.9"), None),
                // A route over several goes with the first of them.
                remove_route(&way(index, "198.51.100.0/24 192.0.2.1"), None),
                remove_route(&way(index, "198.51.100.0/24 192.0.2.2"), None),
                remove_route(&way(index, "198.51.101.0/24 fe80::1"), None),
                remove_route(&way(index, "198.51.102.0/24 172.31.1.1"), None),
                remove_route(&way(index, "::/0 fe80::1"), Some(1024)),
                remove_route(&way(index, "2001:db8:2::/48"), Some(1024)),
            ]);
            let mut left: Vec<String> = after
                .routes
                .iter()
                .filter(|route| route.protocol != 2)
                .map(|route| format!("{}/{} {:?}", route.network, route.prefix, route.next_hop))
                .collect();
            left.dedup();
            assert_eq!(
                left,
                [
                    "0.0.0.0/0 Some(2)",
                    "0.0.0.0/0 None",
                    "2001:db8:1::/48 Some(3000000001)"
                ]
            );
        });
    });
}

#[test]
fn a_link_is_set_up_with_an_mtu() {
    isolated(|| {
        ip("link add eth0 type veth peer name far");
        let index = index("eth0");
        let after = twice(&[Change::SetMtu { index, mtu: 9000 }, Change::SetUp { index }]);
        let link = after.links.iter().find(|link| link.index == index);
        assert!(link.is_some_and(|link| link.up && !link.carrier && link.mtu == 9000));
    });
}

#[test]
fn a_link_is_set_down_and_keeps_its_ipv4_addresses() {
    isolated(|| {
        let index = pair();
        apply(&[add_address(index, "192.0.2.10", 24)]).expect("an address");
        let after = twice(&[Change::SetDown { index }]);
        let link = after.links.iter().find(|link| link.index == index);
        assert!(link.is_some_and(|link| !link.up));
        let there: Vec<IpAddr> = after.addresses.iter().map(|entry| entry.address).collect();
        assert!(there.contains(&address("192.0.2.10")));
        assert!(after.routes.iter().all(|route| route.index != index));
    });
}

#[test]
fn a_refusal_names_the_change_and_the_error_and_ends_the_rest() {
    isolated(|| {
        let index = pair();
        let error = apply(&[
            add_address(index, "192.0.2.10", 24),
            add_route(&way(index, "0.0.0.0/0 203.0.113.1"), false, None),
            add_address(index, "192.0.2.11", 24),
        ])
        .expect_err("nothing leads to the gateway");
        assert_eq!(error.errno(), Some(libc::ENETUNREACH));
        assert_eq!(
            error.to_string(),
            "adding the route 0.0.0.0/0 via 203.0.113.1 on eth0: ENETUNREACH (Nexthop has invalid gateway)"
        );
        let there: Vec<IpAddr> = checked()
            .addresses
            .iter()
            .map(|entry| entry.address)
            .collect();
        assert!(there.contains(&address("192.0.2.10")) && !there.contains(&address("192.0.2.11")));

        let error = apply(&[Change::SetUp { index: 4711 }]).expect_err("there is no such device");
        assert!(matches!(error, NetlinkError::Refused { .. }));
        assert!(
            error
                .to_string()
                .starts_with("setting device 4711 up: ENODEV"),
            "{error}"
        );
    });
}

#[test]
fn addresses_and_routes_have_the_lifetimes_that_they_are_given_and_may_lose_them() {
    isolated(|| {
        let index = pair();
        let set = |valid, preferred, no_prefix_route| {
            ["192.0.2.10", "2001:db8::10"].map(|text| Change::AddAddress {
                index,
                address: address(text),
                prefix: 24,
                valid,
                preferred,
                no_prefix_route,
            })
        };
        let near = |left: Option<u32>, given: u32| {
            left.is_some_and(|left| (given - 60..=given).contains(&left))
        };
        let own = || -> Vec<AddressEntry> {
            let own = ["192.0.2.10", "2001:db8::10"].map(address);
            let all = checked().addresses.into_iter();
            all.filter(|entry| own.contains(&entry.address)).collect()
        };
        for (valid, preferred, no_prefix_route) in [(3600, 1800, true), (7200, 7200, true)] {
            apply(&set(Some(valid), Some(preferred), no_prefix_route)).expect("it can be set");
            let entries = own();
            assert_eq!(entries.len(), 2);
            for entry in entries {
                assert!(near(entry.valid, valid) && near(entry.preferred, preferred));
                assert!(entry.dynamic && entry.no_prefix_route, "{entry:?}");
            }
        }
        apply(&set(None, None, false)).expect("it can be set");
        for entry in own() {
            assert_eq!(
                (entry.valid, entry.preferred, entry.dynamic),
                (None, None, false)
            );
        }

        let route = |expires| Change::AddRoute {
            index,
            network: address("2001:db8:5::"),
            prefix: 48,
            gateway: Some(address("fe80::1")),
            on_link: false,
            metric: None,
            protocol: Some(16),
            expires,
        };
        apply(&[route(Some(900))]).expect("it can be set");
        let routes = checked().routes;
        let found = routes.iter().find(|route| route.prefix == 48);
        let found = found.expect("the route");
        assert!(
            near(found.expires, 900) && found.protocol == 16,
            "{found:?}"
        );
    });
}

#[test]
fn many_entries_come_in_several_parts() {
    isolated(|| {
        let index = pair();
        let addresses: Vec<Change> = (0..400_u32)
            .map(|number| Change::AddAddress {
                index,
                address: IpAddr::from((0x0a00_0001 + (number << 8)).to_be_bytes()),
                prefix: 24,
                valid: None,
                preferred: None,
                no_prefix_route: false,
            })
            .collect();
        apply(&addresses).expect("they can be added");
        let snapshot = checked();
        assert_eq!(
            snapshot
                .addresses
                .iter()
                .filter(|entry| entry.address.is_ipv4())
                .count(),
            400
        );
        assert_eq!(
            snapshot
                .routes
                .iter()
                .filter(|route| route.network.is_ipv4())
                .count(),
            400
        );
    });
}
