//! RFC 9162 Merkle trees: root, inclusion path and its verification.
//!
//! Section 2.1.1 defines the hashes (leaf `SHA256(0x00 data)`, node `SHA256(0x01 left right)`, empty tree
//! `SHA256("")`), 2.1.3 the path and its check. There are no consistency proofs and no stored trees here: a root is
//! computed from a stream of leaf hashes with one hash a level in memory.

use crate::Hash;
use crate::error::CoreError;
use crate::keno1::sha256;
use crate::lanes;

/// `SHA256(0x00 data)`, the data given in parts.
pub fn leaf_hash(parts: &[&[u8]]) -> Hash {
    use sha2::{Digest, Sha256};
    let mut hasher = Sha256::new_with_prefix([0_u8]);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// `SHA256(0x01 left right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// The leaf hashes of rows of `width` bytes, in order.
pub fn leaf_hashes(rows: &[u8], width: usize, take: impl FnMut(Hash)) {
    lanes::hash_rows(0, rows, width, take);
}

/// The level of a tree above one: pairs from the left, which is the split of RFC 9162 at the largest power of two.
/// A last node without a sibling stands in it too, as it is.
pub fn level_above(level: &[Hash]) -> Vec<Hash> {
    let (pairs, alone) = level.split_at(level.len() & !1);
    let mut above = Vec::with_capacity(level.len().div_ceil(2));
    lanes::hash_rows(1, pairs.as_flattened(), 64, |hash| above.push(hash));
    above.extend_from_slice(alone);
    above
}

/// The root over leaf hashes in order; no leaves: `SHA256("")`.
pub fn root(leaf_hashes: impl IntoIterator<Item = Hash>) -> Hash {
    // The stack holds the roots of the perfect subtrees that a binary counter of the leaves seen so far has as its
    // one bits, largest first: RFC 9162 splits at the largest power of two, so these are exactly its left children.
    let mut stack: Vec<Hash> = Vec::new();
    for (seen, leaf) in leaf_hashes.into_iter().enumerate() {
        let mut subtree = leaf;
        for _ in 0..seen.trailing_ones() {
            let left = stack.pop().expect("one subtree for every one bit of the count");
            subtree = node_hash(&left, &subtree);
        }
        stack.push(subtree);
    }
    stack.into_iter().rev().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(|| sha256(&[]))
}

/// The inclusion path of leaf `index` in a tree of `size` leaves, from the leaf upwards (RFC 9162, 2.1.3.1).
///
/// Calls `leaf` once for every other leaf: O(size) hashes.
pub fn path(leaf: &impl Fn(usize) -> Hash, size: usize, index: usize) -> Result<Vec<Hash>, CoreError> {
    if index >= size {
        return Err(CoreError::Range { what: "the leaf index", min: 0, max: (size as u64).saturating_sub(1) });
    }
    let (mut start, mut end) = (0, size);
    let mut downwards = Vec::new();
    while end - start > 1 {
        let split = start + largest_power_of_two_below(end - start);
        if index < split {
            downwards.push(root((split..end).map(leaf)));
            end = split;
        } else {
            downwards.push(root((start..split).map(leaf)));
            start = split;
        }
    }
    downwards.reverse();
    Ok(downwards)
}

fn largest_power_of_two_below(size: usize) -> usize {
    1 << (size - 1).ilog2()
}

/// Whether `path` proves that `leaf_hash` is leaf `index` of the `size` leaves under `root` (RFC 9162, 2.1.3.2).
pub fn verify(root: &Hash, leaf_hash: &Hash, index: u64, size: u64, path: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf_hash;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            if node & 1 == 0 {
                // The last node of an uneven level moves up unpaired until it becomes a right child.
                let levels = node.trailing_zeros();
                node >>= levels.min(63);
                last >>= levels.min(63);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}
