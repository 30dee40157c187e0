//! A whole RFC 9162 tree in memory, for the paths of many of its leaves.
//!
//! A root alone needs no tree (`merkle::root`), and neither does one path (`merkle::path`). There is no hashing of leaf
//! data here, and no consistency proofs.

use crate::Hash;
use crate::error::CoreError;
use crate::keno1::sha256;
use crate::merkle::level_above;

/// A tree over leaf hashes: 64 bytes a leaf. Its nodes are hashes, or what they were mapped to.
#[derive(Debug)]
pub struct Tree<Node = Hash> {
    /// From the leaves to the root. A last node without a sibling stands in the level above it too, as it is.
    levels: Vec<Vec<Node>>,
}

impl Tree {
    /// The tree over these leaf hashes, in order.
    pub fn new(leaf_hashes: Vec<Hash>) -> Self {
        let mut levels = vec![leaf_hashes];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let above = level_above(level);
            levels.push(above);
        }
        Self { levels }
    }

    /// The root; of no leaves: `SHA256("")`.
    pub fn root(&self) -> Hash {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_else(|| sha256(&[]))
    }

    /// Which leaf has this hash, the first where several have.
    pub fn index_of(&self, leaf_hash: &Hash) -> Option<usize> {
        self.levels[0].iter().position(|each| each == leaf_hash)
    }

    /// The tree of what `node` makes of each hash: to write every node once, however many paths it is in.
    pub fn map<Node>(&self, node: impl Fn(&Hash) -> Node) -> Tree<Node> {
        Tree { levels: self.levels.iter().map(|level| level.iter().map(&node).collect()).collect() }
    }
}

impl<Node> Tree<Node> {
    /// How many leaves there are.
    pub fn size(&self) -> usize {
        self.levels[0].len()
    }

    /// The inclusion path of leaf `index`, from the leaf upwards.
    pub fn path(&self, index: usize) -> Result<impl Iterator<Item = &Node>, CoreError> {
        let size = self.size();
        if index >= size {
            return Err(CoreError::Range { what: "the leaf index", min: 0, max: (size as u64).saturating_sub(1) });
        }
        Ok(self.levels.iter().enumerate().filter_map(move |(height, level)| level.get(index >> height ^ 1)))
    }
}
