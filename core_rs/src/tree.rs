//! A whole RFC 9162 tree in memory, for the paths of many of its leaves.
//!
//! A root alone needs no tree (`merkle::root`), and neither does one path (`merkle::path`). There is no hashing of leaf
//! data here, and no consistency proofs.

use crate::Hash;
use crate::error::CoreError;
use crate::keno1::sha256;
use crate::merkle::node_hash;

/// A tree over leaf hashes: 64 bytes a leaf.
#[derive(Debug)]
pub struct Tree {
    /// From the leaves to the root. A last node without a sibling stands in the level above it too, as it is.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree over these leaf hashes, in order.
    pub fn new(leaf_hashes: Vec<Hash>) -> Self {
        let mut levels = vec![leaf_hashes];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            // Pairing from the left is the split of RFC 9162 at the largest power of two.
            let above = level.chunks(2).map(|pair| match pair {
                [left, right] => node_hash(left, right),
                alone => alone[0],
            });
            let above = above.collect();
            levels.push(above);
        }
        Self { levels }
    }

    /// How many leaves there are.
    pub fn size(&self) -> usize {
        self.levels[0].len()
    }

    /// The root; of no leaves: `SHA256("")`.
    pub fn root(&self) -> Hash {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_else(|| sha256(&[]))
    }

    /// The inclusion path of leaf `index`, from the leaf upwards.
    pub fn path(&self, index: usize) -> Result<impl Iterator<Item = &Hash>, CoreError> {
        let size = self.size();
        if index >= size {
            return Err(CoreError::Range { what: "the leaf index", min: 0, max: (size as u64).saturating_sub(1) });
        }
        Ok(self.levels.iter().enumerate().filter_map(move |(height, level)| level.get(index >> height ^ 1)))
    }

    /// Which leaf has this hash, the first where several have.
    pub fn index_of(&self, leaf_hash: &Hash) -> Option<usize> {
        self.levels[0].iter().position(|each| each == leaf_hash)
    }
}
