//! The exchange against the worked example of docs/protocol.md, and against whoever breaks its rules.

use std::collections::HashSet;

use sealed::{KEY_LENGTH, LowOrder, PrivateKey, PublicKey, TAG_LENGTH, Unreadable};

/// A cell of the worked example.
fn example(name: &str) -> &'static str {
    let start = format!("| {name} | `");
    include_str!("../../../docs/protocol.md")
        .lines()
        .find_map(|line| line.strip_prefix(start.as_str())?.strip_suffix("` |"))
        .unwrap_or_else(|| panic!("docs/protocol.md has {name}"))
}

fn hex(text: &str) -> [u8; KEY_LENGTH] {
    let bytes: Vec<u8> = (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hexadecimal"))
        .collect();
    bytes.try_into().expect("32 bytes")
}

/// Base64 without its padding, bit by bit: this is a test.
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for character in text.trim_end_matches('=').chars() {
        bits = bits << 6 | ALPHABET.find(character).expect("base64") as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

fn private_key(whose: &str) -> PrivateKey {
    PrivateKey::from_bytes(hex(example(&format!("{whose}'s private key"))))
}

fn public_key(whose: &str) -> PublicKey {
    hex(example(&format!("{whose}'s public key"))).into()
}

fn message() -> Vec<u8> {
    let value = example("value of `password`");
    base64(value.strip_prefix("x25519-v1:").expect("the form's prefix"))
}

#[test]
fn the_worked_example_comes_out_on_both_sides() {
    assert_eq!(private_key("host").public_key(), public_key("host"));
    assert_eq!(private_key("agent").public_key(), public_key("agent"));
    let text = example("text").as_bytes();
    let sealer = private_key("host")
        .agree_as_host(&public_key("agent"))
        .expect("a good key");
    assert_eq!(sealer.seal(text), message());
    let opener = private_key("agent")
        .agree_as_agent(&public_key("host"))
        .expect("a good key");
    assert_eq!(*opener.open(&message()).expect("a good message"), text);
}

#[test]
fn texts_of_every_length_come_back() {
    for length in 0..200_u8 {
        let (host, agent) = (generate(), generate());
        let (host_public, agent_public) = (host.public_key(), agent.public_key());
        let text: Vec<u8> = (0..length).collect();
        let message = host
            .agree_as_host(&agent_public)
            .expect("a good key")
            .seal(&text);
        assert_eq!(message.len(), text.len() + TAG_LENGTH);
        let opener = agent.agree_as_agent(&host_public).expect("a good key");
        assert_eq!(*opener.open(&message).expect("a good message"), text);
    }
}

#[test]
fn a_message_with_any_bit_changed_or_any_byte_gone_is_refused() {
    let open = |message: &[u8]| {
        let opener = private_key("agent").agree_as_agent(&public_key("host"));
        opener.expect("a good key").open(message).map(|_| ())
    };
    let message = message();
    assert_eq!(open(&message), Ok(()));
    for bit in 0..message.len() * 8 {
        let mut changed = message.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&changed), Err(Unreadable), "bit {bit}");
    }
    for length in 0..message.len() {
        assert_eq!(open(&message[..length]), Err(Unreadable), "{length} bytes");
    }
    assert_eq!(open(&[message, vec![0]].concat()), Err(Unreadable));
}

#[test]
fn both_public_keys_and_their_roles_are_part_of_the_key() {
    // The unused top bit makes another spelling of the same point: the same shared secret, but not the same keys.
    let mut other_spelling = hex(example("host's public key"));
    other_spelling[KEY_LENGTH - 1] |= 0x80;
    let opener = private_key("agent").agree_as_agent(&other_spelling.into());
    assert_eq!(
        opener.expect("a good key").open(&message()),
        Err(Unreadable)
    );
    // The host's own message, sent back to it as if it were the agent.
    let opener = private_key("host").agree_as_agent(&public_key("agent"));
    assert_eq!(
        opener.expect("a good key").open(&message()),
        Err(Unreadable)
    );
}

#[test]
fn points_of_low_order_are_refused_in_every_spelling() {
    // The u-coordinates of order 1, 2, 4 and 8, among them those above the prime.
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in points {
        for top in [0, 0x80] {
            let mut bytes = hex(point);
            bytes[KEY_LENGTH - 1] |= top;
            let peer = PublicKey::from(bytes);
            assert_eq!(generate().agree_as_agent(&peer).err(), Some(LowOrder));
            assert_eq!(generate().agree_as_host(&peer).err(), Some(LowOrder));
        }
    }
}

#[test]
fn no_two_private_keys_are_alike_and_none_is_printed() {
    let keys: HashSet<[u8; KEY_LENGTH]> = (0..100)
        .map(|_| *generate().public_key().as_bytes())
        .collect();
    assert_eq!(keys.len(), 100);
    assert_eq!(format!("{:?}", generate()), "[secret]");
    let sealer = private_key("host").agree_as_host(&public_key("agent"));
    let opener = private_key("agent").agree_as_agent(&public_key("host"));
    assert_eq!(
        format!("{sealer:?} {opener:?}"),
        "Ok([secret]) Ok([secret])"
    );
}

fn generate() -> PrivateKey {
    PrivateKey::generate().expect("randomness")
}
