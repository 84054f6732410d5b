//! The exchange against known answers and from both of its sides.

use dh::{InvalidPublicKey, PrivateKey, PublicKey};
use serde_json::Value;

const P: u128 = (1 << 107) - 1;

fn vectors() -> Vec<Value> {
    let text = include_str!("../../../test/fixtures/password-vectors.json");
    let file: Value = serde_json::from_str(text).expect("the fixture is JSON");
    file["vectors"]
        .as_array()
        .expect("the fixture lists vectors")
        .clone()
}

fn private_key(vector: &Value, name: &str) -> PrivateKey {
    let hex = vector[name].as_str().expect("a private key in hexadecimal");
    PrivateKey::from_exponent(
        u128::from_str_radix(hex, 16).expect("a private key of 128 bits at most"),
    )
}

fn text<'a>(vector: &'a Value, pointer: &str) -> &'a str {
    vector
        .pointer(pointer)
        .and_then(Value::as_str)
        .expect(pointer)
}

#[test]
fn both_sides_match_the_known_answers() {
    let vectors = vectors();
    assert!(vectors.len() >= 6);
    for vector in &vectors {
        let (controller, agent) = (
            private_key(vector, "controller_private_hex"),
            private_key(vector, "agent_private_hex"),
        );
        let controller_public: PublicKey = text(vector, "/keyinit_request/value")
            .parse()
            .expect("a valid key");
        let agent_public: PublicKey = text(vector, "/keyinit_reply/message")
            .parse()
            .expect("a valid key");
        assert_eq!(controller.public_key(), controller_public);
        assert_eq!(agent.public_key(), agent_public);
        let shared = text(vector, "/shared_decimal").as_bytes();
        assert_eq!(
            controller
                .shared_secret(&agent_public)
                .to_decimal()
                .as_bytes(),
            shared
        );
        assert_eq!(
            agent
                .shared_secret(&controller_public)
                .to_decimal()
                .as_bytes(),
            shared
        );
    }
}

#[test]
fn two_generated_keys_agree() {
    for _ in 0..200 {
        let (a, b) = (
            PrivateKey::generate().expect("randomness"),
            PrivateKey::generate().expect("randomness"),
        );
        assert_ne!(a.public_key(), b.public_key());
        let (ours, theirs) = (
            a.shared_secret(&b.public_key()),
            b.shared_secret(&a.public_key()),
        );
        assert_eq!(ours.to_decimal().as_bytes(), theirs.to_decimal().as_bytes());
    }
}

#[test]
fn the_decimal_text_of_a_secret_is_that_of_its_number() {
    // With exponent 1 the secret is the peer's own key, so every length of text can be asked for.
    let one = PrivateKey::from_exponent(1);
    let tens = (1..33).map(|digits| 10_u128.pow(digits));
    for number in tens
        .flat_map(|ten| [ten - 1, ten, ten + 1])
        .chain([2, P - 2])
    {
        let peer: PublicKey = number.to_string().parse().expect("a valid key");
        assert_eq!(
            one.shared_secret(&peer).to_decimal().as_bytes(),
            number.to_string().as_bytes()
        );
    }
}

#[test]
fn a_public_key_is_decimal_text_from_2_to_p_minus_2() {
    use InvalidPublicKey::{NotADecimal, OutOfRange};
    for (text, wanted) in [
        ("", NotADecimal),
        ("  ", NotADecimal),
        ("zzz", NotADecimal),
        ("-5", NotADecimal),
        ("+5", NotADecimal),
        ("0x10", NotADecimal),
        ("1 2", NotADecimal),
        ("5.0", NotADecimal),
        ("\u{0665}", NotADecimal),
        ("0", OutOfRange),
        ("1", OutOfRange),
        ("162259276829213363391578010288126", OutOfRange),
        ("162259276829213363391578010288127", OutOfRange),
        ("340282366920938463463374607431768211456", OutOfRange),
        (
            "99999999999999999999999999999999999999999999999999",
            OutOfRange,
        ),
    ] {
        assert_eq!(text.parse::<PublicKey>(), Err(wanted), "{text:?}");
    }
    for text in ["2", " 25\n", "\t0005 ", "162259276829213363391578010288125"] {
        let key: PublicKey = text.parse().expect(text);
        assert_eq!(key.to_string(), text.trim_ascii().trim_start_matches('0'));
    }
}

#[test]
fn secrets_do_not_print() {
    let key = PrivateKey::generate().expect("randomness");
    let shared = key.shared_secret(&key.public_key());
    assert_eq!(
        format!("{key:?} {shared:?} {:?}", shared.to_decimal()),
        "[secret] [secret] [secret]"
    );
}
