//! Signatures of drand's scheme `bls-unchained-g1-rfc9380`, checked with blst: signatures on G1, keys on G2.
//!
//! A round's message is `SHA256(u64 round)`, so a round has exactly one valid signature under a key. Points come
//! compressed, 48 bytes of G1 and 96 of G2; other encodings, points outside of the groups and the points at infinity are
//! refused. Signing is here for the local beacon of demonstrations and tests, whose key nobody need trust.

use blst::BLST_ERROR;
use blst::min_sig::{PublicKey, SecretKey, Signature};

use crate::Hash;
use crate::keno1::sha256;

const DST: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

/// Bytes of a compressed public key.
pub const PUBLIC_KEY_BYTES: usize = 96;
/// Bytes of a compressed signature.
pub const SIGNATURE_BYTES: usize = 48;

/// What a round's signature signs: `SHA256(u64 round)`.
pub fn message(round: u64) -> Hash {
    sha256(&[&round.to_be_bytes()])
}

/// Whether `signature` is the one of `round` under `public_key`; false for whatever is no point of its group.
pub fn verify(public_key: &[u8], round: u64, signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (PublicKey::uncompress(public_key), Signature::uncompress(signature)) else {
        return false;
    };
    if key.validate().is_err() || signature.validate(true).is_err() {
        return false;
    }
    signature.verify(false, &message(round), DST, &[], &key, false) == BLST_ERROR::BLST_SUCCESS
}

/// The public key that belongs to a secret, 32 bytes of key material.
pub fn public_key(secret: &Hash) -> [u8; PUBLIC_KEY_BYTES] {
    key(secret).sk_to_pk().compress()
}

/// The signature of `round` under a secret.
pub fn sign(secret: &Hash, round: u64) -> [u8; SIGNATURE_BYTES] {
    key(secret).sign(&message(round), DST, &[]).compress()
}

fn key(secret: &Hash) -> SecretKey {
    SecretKey::key_gen(secret, &[]).expect("32 bytes of key material are enough")
}
