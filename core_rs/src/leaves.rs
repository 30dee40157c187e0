//! Bet leaves: their layout, their salts, and trees over columns of fixed-width leaf data.
//!
//! Leaf data is `salt(16) bet_id(16) operator_id(16) account(32) picks(10) stake_minor(8) currency(8) paytable(32)`.
//! This file computes salts; it does not build the other fields and does not check them.

use hmac::Mac;

use crate::Hash;
use crate::error::{CoreError, rows};
use crate::keno1::keyed;
use crate::merkle;

/// Bytes of a leaf's salt.
pub const SALT_BYTES: usize = 16;
/// Bytes of a leaf without its salt: the bet id comes first.
pub const UNSALTED_BYTES: usize = 122;
/// Bytes of a whole leaf.
pub const LEAF_BYTES: usize = SALT_BYTES + UNSALTED_BYTES;
const BET_ID_BYTES: usize = 16;

/// Puts each leaf's salt before it: the first 16 bytes of `HMAC(privacy_key, bet_id)`.
///
/// `unsalted` has 122 bytes a bet and `out` 138. Panics if they have different numbers of bets.
pub fn salt_into(privacy_key: &[u8], unsalted: &[u8], out: &mut [u8]) {
    assert_eq!(unsalted.len() / UNSALTED_BYTES, out.len() / LEAF_BYTES, "one leaf a bet");
    let mac = keyed(privacy_key);
    for (bet, leaf) in unsalted.chunks_exact(UNSALTED_BYTES).zip(out.chunks_exact_mut(LEAF_BYTES)) {
        let tag = mac.clone().chain_update(&bet[..BET_ID_BYTES]).finalize().into_bytes();
        leaf[..SALT_BYTES].copy_from_slice(&tag[..SALT_BYTES]);
        leaf[SALT_BYTES..].copy_from_slice(bet);
    }
}

/// Leaf data of one width, end to end.
#[derive(Clone, Copy, Debug)]
pub struct Leaves<'a> {
    data: &'a [u8],
    width: usize,
}

impl<'a> Leaves<'a> {
    /// Refuses a width of 0 and data that is not a whole number of leaves.
    pub fn new(data: &'a [u8], width: usize) -> Result<Self, CoreError> {
        rows("leaves", data, width)?;
        Ok(Self { data, width })
    }

    /// How many leaves there are.
    pub fn count(&self) -> usize {
        self.data.len() / self.width
    }

    fn hashes(&self) -> impl Iterator<Item = Hash> {
        self.data.chunks_exact(self.width).map(|leaf| merkle::leaf_hash(&[leaf]))
    }

    /// Writes the RFC 9162 leaf hashes into `out`, 32 bytes each.
    ///
    /// Panics if `out` does not have exactly one entry per leaf.
    pub fn hash_into(&self, out: &mut [u8]) {
        assert_eq!(out.len(), self.count() * 32, "one hash a leaf");
        let mut entries = out.chunks_exact_mut(32);
        merkle::leaf_hashes(self.data, self.width, |hash| entries.next().expect("as many").copy_from_slice(&hash));
    }

    /// The RFC 9162 root.
    pub fn root(&self) -> Hash {
        merkle::root(self.hashes())
    }

    /// The inclusion path of the leaf at `index`, from the leaf upwards.
    pub fn path(&self, index: usize) -> Result<Vec<Hash>, CoreError> {
        let leaf = |at: usize| merkle::leaf_hash(&[&self.data[at * self.width..][..self.width]]);
        merkle::path(&leaf, self.count(), index)
    }
}
