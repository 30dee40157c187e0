//! Signatures of beacons: real ones of drand quicknet, and everything that must be refused.

use keno_core::beacon::{message, public_key, sign, verify};
use proptest::prelude::*;

const QUICKNET: &str = concat!(
    "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d106451",
    "0d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"
);
/// Recorded from the public network.
const RECORDED: [(u64, &str); 4] = [
    (1000, "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"),
    (1001, "b33bf3667cbd5a82de3a24b4e0e9fe5513cc1a0e840368c6e31f5fcfa79bea03f73896b25883abf2853d10337fb8fa41"),
    (1002, "ab066f9c12dd6de1336fca0f925192fb0c72a771c3e4c82ede1fd362c1a770f9eb05843c6308ce2530b53a99c0281a6e"),
    (1003, "b104c82771698f45fd8dcfead083d482694c31ab519bcef077f126f3736fe98c8392fd5d45d88aeb76b56ccfcb0296d7"),
];

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).expect("hex")
}

#[test]
fn recorded_rounds_of_quicknet_verify_and_no_round_with_the_signature_of_another() {
    for (round, _) in RECORDED {
        for (signed, signature) in RECORDED {
            assert_eq!(verify(&bytes(QUICKNET), round, &bytes(signature)), round == signed);
        }
    }
}

#[test]
fn a_signature_or_key_with_one_bit_changed_is_refused() {
    let (round, signature) = RECORDED[0];
    for bit in 0..8 * 48 {
        let mut changed = bytes(signature);
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!verify(&bytes(QUICKNET), round, &changed), "bit {bit} of the signature");
    }
    for bit in 0..8 * 96 {
        let mut changed = bytes(QUICKNET);
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!verify(&changed, round, &bytes(signature)), "bit {bit} of the key");
    }
}

#[test]
fn other_encodings_and_the_points_at_infinity_are_refused() {
    let (round, signature) = (RECORDED[0].0, bytes(RECORDED[0].1));
    let key = bytes(QUICKNET);
    let infinity = |length: usize| [&[0xc0], vec![0; length - 1].as_slice()].concat();
    let uncompressed = blst::min_sig::Signature::uncompress(&signature).expect("a point").serialize();
    assert!(!verify(&key, round, &uncompressed));
    assert!(!verify(&blst::min_sig::PublicKey::uncompress(&key).expect("a point").serialize(), round, &signature));
    assert!(!verify(&key, round, &infinity(48)));
    assert!(!verify(&infinity(96), round, &signature));
    assert!(!verify(&infinity(96), round, &infinity(48)));
    assert!(!verify(&key, round, &[]));
    assert!(!verify(&[], round, &signature));
    assert!(!verify(&key, round, &signature[..47]));
    assert!(!verify(&key, round, &[signature.as_slice(), &[0]].concat()));
}

#[test]
fn points_of_the_curve_outside_of_their_group_are_refused() {
    let (round, signature, key) = (RECORDED[0].0, bytes(RECORDED[0].1), bytes(QUICKNET));
    let mut outside = 0;
    for x in 0..=255 {
        let (mut of_g1, mut of_g2) = ([0; 48], [0; 96]);
        (of_g1[0], of_g1[47], of_g2[0], of_g2[95]) = (0x80, x, 0x80, x);
        outside += usize::from(blst::min_sig::Signature::uncompress(&of_g1).is_ok_and(|p| p.validate(true).is_err()));
        outside += usize::from(blst::min_sig::PublicKey::uncompress(&of_g2).is_ok_and(|p| p.validate().is_err()));
        assert!(!verify(&key, round, &of_g1));
        assert!(!verify(&of_g2, round, &signature));
    }
    assert!(outside > 100, "only {outside} points lay on a curve and not in its group");
}

#[test]
fn the_message_is_the_hash_of_the_round_in_eight_bytes() {
    let hash = "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc";
    assert_eq!(hex::encode(message(0)), hash);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_a_secret_signs_verifies_under_its_key_for_its_round_alone(
        secret: [u8; 32], other: [u8; 32], round: u64, another: u64,
    ) {
        prop_assume!(secret != other && round != another);
        let signature = sign(&secret, round);
        prop_assert!(verify(&public_key(&secret), round, &signature));
        prop_assert!(!verify(&public_key(&secret), another, &signature));
        prop_assert!(!verify(&public_key(&other), round, &signature));
        prop_assert_eq!(signature, sign(&secret, round));
    }
}
