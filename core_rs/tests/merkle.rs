//! Merkle trees against known values and against the recursive definition of RFC 9162.

use keno_core::merkle::{leaf_hash, node_hash, path, root, verify};
use keno_core::receipts::Batch;
use keno_core::tree::Tree;
use keno_core::{Hash, keno1};
use proptest::prelude::*;

/// The eight leaves and the roots over the first n of them that certificate transparency logs test with.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hashes(size: usize) -> Vec<Hash> {
    (0..size as u64).map(|index| leaf_hash(&[&index.to_be_bytes()])).collect()
}

/// RFC 9162, 2.1.1, word by word.
fn defined_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => keno1::sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let mut split = 1;
            while split * 2 < leaves.len() {
                split *= 2;
            }
            node_hash(&defined_root(&leaves[..split]), &defined_root(&leaves[split..]))
        }
    }
}

#[test]
fn the_empty_tree_is_the_hash_of_nothing() {
    assert_eq!(hex::encode(root([])), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn the_reference_trees_have_their_known_roots() {
    let leaves: Vec<Hash> = LEAVES.iter().map(|leaf| leaf_hash(&[&hex::decode(leaf).expect("hex")])).collect();
    for (size, expected) in (1..).zip(ROOTS) {
        assert_eq!(hex::encode(root(leaves[..size].iter().copied())), expected);
    }
}

#[test]
fn a_leaf_outside_of_the_tree_has_no_path() {
    let leaves = hashes(3);
    for (size, index) in [(0, 0), (3, 3), (3, usize::MAX)] {
        assert!(path(&|at| leaves[at], size, index).is_err());
    }
}

#[test]
fn a_bet_alone_in_its_batch_is_signed_as_its_statement() {
    let batch = Batch::new(&[7; 32], &[9; 32]).unwrap();
    assert_eq!(batch.message, [b"keno1:receipt".as_slice(), &[7; 24], &[9; 32], &[7; 8]].concat());
    assert_eq!(batch.tree.path(0).unwrap().count(), 0);
}

#[test]
fn a_batch_of_no_bet_or_of_columns_of_different_lengths_is_refused() {
    for (places, leaf_hashes) in [(0, 0), (1, 0), (0, 1), (2, 1)] {
        assert!(Batch::new(&vec![0; places * 32], &vec![0; leaf_hashes * 32]).is_err());
    }
    assert!(Batch::new(&[0; 33], &[0; 32]).is_err());
}

#[test]
fn a_tree_of_the_largest_size_ends_without_overflow() {
    let leaf = hashes(1)[0];
    assert!(!verify(&leaf, &leaf, u64::MAX - 1, u64::MAX, &[leaf; 64]));
    assert!(!verify(&leaf, &leaf, u64::MAX, u64::MAX, &[]));
    assert!(!verify(&leaf, &leaf, 0, 0, &[]));
    assert!(verify(&leaf, &leaf, 0, 1, &[]));
}

proptest! {
    #[test]
    fn the_streamed_root_is_the_defined_one(size in 0_usize..300) {
        let leaves = hashes(size);
        prop_assert_eq!(root(leaves.iter().copied()), defined_root(&leaves));
    }

    #[test]
    fn a_kept_tree_has_the_root_and_paths_that_are_computed_anew(size in 0_usize..70) {
        let leaves = hashes(size);
        let tree = Tree::new(leaves.clone());
        prop_assert_eq!(tree.root(), defined_root(&leaves));
        for (index, leaf) in leaves.iter().enumerate() {
            let kept: Vec<Hash> = tree.path(index).unwrap().copied().collect();
            prop_assert_eq!(kept, path(&|leaf| leaves[leaf], size, index).unwrap());
            prop_assert_eq!(tree.index_of(leaf), Some(index));
        }
        prop_assert!(tree.path(size).is_err());
        prop_assert_eq!(tree.index_of(&[0; 32]), None);
    }

    #[test]
    fn the_statement_of_every_bet_is_under_the_signed_root_of_its_batch(size in 2_usize..80) {
        let leaves = hashes(size);
        let places: Vec<u8> = (0..size).flat_map(|at| [at as u8; 32]).collect();
        let batch = Batch::new(&places, &leaves.concat()).unwrap();
        let (head, tree) = batch.message.split_at(15);
        prop_assert_eq!(head, [b"keno1:batch".as_slice(), &(size as u32).to_be_bytes()].concat());
        for (index, leaf) in leaves.iter().enumerate() {
            let (context, accepted_ms) = ([index as u8; 24], [index as u8; 8]);
            let statement = leaf_hash(&[b"keno1:receipt", &context, leaf, &accepted_ms]);
            let proof: Vec<Hash> = batch.tree.path(index).unwrap().copied().collect();
            prop_assert!(verify(tree.try_into().unwrap(), &statement, index as u64, size as u64, &proof));
        }
    }

    #[test]
    fn every_path_verifies_and_no_changed_one_does(size in 1_usize..200, at in any::<prop::sample::Index>(), bit in 0_usize..256) {
        let leaves = hashes(size);
        let (index, tree) = (at.index(size), root(leaves.iter().copied()));
        let proof = path(&|leaf| leaves[leaf], size, index).unwrap();
        let holds = |leaf: &Hash, index: usize, proof: &[Hash]| verify(&tree, leaf, index as u64, size as u64, proof);
        prop_assert!(holds(&leaves[index], index, &proof));

        let flip = |hash: &mut Hash| hash[bit / 8] ^= 1 << (bit % 8);
        let mut wrong_leaf = leaves[index];
        flip(&mut wrong_leaf);
        prop_assert!(!holds(&wrong_leaf, index, &proof));
        for other in (0..size).filter(|&other| other != index) {
            prop_assert!(!holds(&leaves[index], other, &proof));
        }
        for level in 0..proof.len() {
            let mut wrong = proof.clone();
            flip(&mut wrong[level]);
            prop_assert!(!holds(&leaves[index], index, &wrong));
            prop_assert!(!holds(&leaves[index], index, &proof[..level]));
        }
        let longer = [&proof[..], &[tree]].concat();
        prop_assert!(!holds(&leaves[index], index, &longer));
    }
}
