//! What the platform signs for the bets of one acceptance batch (`docs/fairness.md`, receipts).
//!
//! There is no key and no signature here.

use crate::error::{CoreError, exact_rows, rows};
use crate::merkle;
use crate::tree::Tree;

/// Bytes of where and when a bet was accepted: room (16), round (8), accepted_ms (8).
pub const PLACE_BYTES: usize = 32;
const CONTEXT_BYTES: usize = 24;
const NAME: &[u8] = b"keno1:receipt";
const STATEMENT_BYTES: usize = NAME.len() + PLACE_BYTES + 32;

/// The bets of a batch.
#[derive(Debug)]
pub struct Batch {
    /// What is signed: the statement of a bet alone; of several, what their tree is.
    pub message: Vec<u8>,
    /// The tree over the statements.
    pub tree: Tree,
}

impl Batch {
    /// `places` has 32 bytes a bet, `leaf_hashes` the hash of its leaf. Refuses columns of different lengths and no bet.
    pub fn new(places: &[u8], leaf_hashes: &[u8]) -> Result<Self, CoreError> {
        let count = rows("places", places, PLACE_BYTES)?;
        exact_rows("leaf_hashes", leaf_hashes, 32, count)?;
        let mut statements = Vec::with_capacity(count * STATEMENT_BYTES);
        for (place, leaf) in places.chunks_exact(PLACE_BYTES).zip(leaf_hashes.chunks_exact(32)) {
            statement(place, leaf).iter().for_each(|part| statements.extend_from_slice(part));
        }
        let mut hashes = Vec::with_capacity(count);
        merkle::leaf_hashes(&statements, STATEMENT_BYTES, |hash| hashes.push(hash));
        let tree = Tree::new(hashes);
        let message = match u32::try_from(count) {
            Ok(1) => statements,
            Ok(several @ 2..) => [b"keno1:batch".as_slice(), &several.to_be_bytes(), &tree.root()].concat(),
            _ => return Err(CoreError::Range { what: "the number of bets", min: 1, max: u32::MAX.into() }),
        };
        Ok(Self { message, tree })
    }
}

/// `"keno1:receipt" ctx leaf_hash u64 accepted_ms`.
fn statement<'a>(place: &'a [u8], leaf: &'a [u8]) -> [&'a [u8]; 4] {
    let (context, accepted_ms) = place.split_at(CONTEXT_BYTES);
    [NAME, context, leaf, accepted_ms]
}
