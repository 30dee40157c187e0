//! Computes all hashes of whole rounds of profile B, one epoch after the other, and prints the last result in hex.
//!
//! For `benchmarks/fairness.py`, which takes its processor time and computes the same in Python. The bets' root and the
//! beacon's signature are given; everything else follows from an epoch key, each value once: seeds, commitments, their
//! root and the epoch, then lock, pre, beacon, draw and result. The first argument is the number of epochs.

use std::hint::black_box;

use keno_core::keno1::{Lock, RoundId, RoundRange};
use keno_core::{draw, keno1};

const ROUNDS: usize = 256;

fn main() {
    let epochs: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("the number of epochs");
    let [rules, bets_root] = [&b"rules"[..], b"bets"].map(|tag| keno1::sha256(&[tag]));
    let mut prev_lock = [0; 32];
    for epoch in 0..epochs {
        let epoch_key = keno1::sha256(&[b"epoch key", &epoch.to_be_bytes()]);
        prev_lock = play(&epoch_key, 1 + epoch * ROUNDS as u64, &rules, &bets_root, prev_lock);
    }
    println!("{}", hex::encode(prev_lock));
}

/// Plays the rounds of an epoch; returns what stands for the last one: its result, which is the next one's `prev_lock`
/// here, so that nothing can be left out.
fn play(epoch_key: &[u8; 32], first: u64, rules: &[u8; 32], bets_root: &[u8; 32], mut prev_lock: [u8; 32]) -> [u8; 32] {
    let room = &[7; 16];
    let rounds: Vec<_> = (first..).take(ROUNDS).map(|round| RoundId { room, round }).collect();
    let seeds: Vec<_> = rounds.iter().map(|round| keno1::seed(epoch_key, round)).collect();
    let commits: Vec<u8> = rounds.iter().zip(&seeds).flat_map(|(round, seed)| keno1::commit(round, seed)).collect();
    let range = RoundRange::new(room, first, ROUNDS).expect("a range");
    let root = range.commits_root(&commits);
    black_box(range.epoch_hash(&root, &keno1::key_commit(epoch_key), 1));
    for ((round, seed), commit) in rounds.iter().zip(&seeds).zip(commits.chunks_exact(32)) {
        let (number, commit) = (round.round, commit.try_into().expect("32 bytes"));
        let lock = Lock {
            round: *round,
            commit,
            rules,
            bets_root,
            bets_count: 1,
            lock_ms: number,
            beacon_round: number,
            prev_lock: &prev_lock,
        };
        let lock_hash = lock.hash();
        black_box(keno1::pre_hash(round, commit, number));
        let beacon = keno1::sha256(&[&[number as u8; 48]]);
        let numbers = draw::draw(seed, &lock_hash, &beacon);
        prev_lock = keno1::result_hash(&lock_hash, seed, &beacon, &numbers);
    }
    prev_lock
}
