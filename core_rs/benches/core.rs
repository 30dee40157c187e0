//! Microbenchmarks of the kernels on one core. Ratios to peers are measured by `benchmarks/core.py`.

#![allow(missing_docs)] // The macros below write functions.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use keno_core::leaves::Leaves;
use keno_core::paytable::Terms;
use keno_core::picks::NumberSet;
use keno_core::settle::{Bets, Outcome, settle};
use keno_core::{draw, keno1, leaves};

/// Bytes that look random and are the same in every run.
fn bytes(tag: &str, count: usize) -> Vec<u8> {
    let block = |index: u32| keno1::sha256(&[tag.as_bytes(), &index.to_be_bytes()]);
    (0..).flat_map(block).take(count).collect()
}

fn draws(c: &mut Criterion) {
    const ROUNDS: usize = 4096;
    let columns = ["seed", "x", "beacon"].map(|tag| bytes(tag, ROUNDS * 32));
    let [seeds, xs, beacons] = &columns;
    let mut numbers = vec![0; ROUNDS * draw::DRAWN];
    let mut group = c.benchmark_group("draw");
    group.throughput(Throughput::Elements(ROUNDS as u64));
    group.bench_function("many", |b| b.iter(|| draw::draw_many(seeds, xs, beacons, black_box(&mut numbers))));
    group.finish();
    let [seed, x, beacon] = columns.each_ref().map(|column| column[..32].try_into().expect("32 bytes"));
    c.bench_function("draw/one", |b| b.iter(|| draw::draw(black_box(seed), x, beacon)));
}

fn trees(c: &mut Criterion) {
    const BETS: usize = 10_000;
    let data = bytes("leaves", BETS * leaves::LEAF_BYTES);
    let leaves = Leaves::new(&data, leaves::LEAF_BYTES).expect("whole leaves");
    let mut group = c.benchmark_group("merkle");
    group.throughput(Throughput::Elements(BETS as u64));
    group.bench_function("root", |b| b.iter(|| black_box(&leaves).root()));
    group.finish();
}

fn settlements(c: &mut Criterion) {
    const BETS: usize = 100_000;
    let pool = bytes("picks", BETS * 16);
    let picks: Vec<u8> = pool.chunks_exact(16).flat_map(picks_of).collect();
    let stakes: Vec<u8> =
        pool.chunks_exact(16).flat_map(|chunk| (100 * (i64::from(chunk[15]) % 100 + 1)).to_le_bytes()).collect();
    let terms_index: Vec<u8> = pool.chunks_exact(16).map(|chunk| chunk[14] % 2).collect();
    let rows: Vec<Vec<u64>> = (0..=10_u64)
        .map(|picks| {
            if picks == 0 {
                vec![]
            } else {
                (0..=picks).map(|hits| if 2 * hits < picks { 0 } else { 50 * hits * hits * hits }).collect()
            }
        })
        .collect();
    let terms = [100, 1000].map(|scale| Terms::new(&rows, scale, 5_000_000).expect("terms"));
    let drawn = NumberSet::from_numbers((1..=20).map(|step| step * 4)).expect("20 numbers");
    let bets = Bets::new(&picks, &stakes, &terms_index).expect("bets");
    let (mut hits, mut payouts, mut cuts) = (vec![0; BETS], vec![0; BETS * 8], vec![0; BETS * 8]);
    let mut group = c.benchmark_group("settle");
    group.throughput(Throughput::Elements(BETS as u64));
    group.bench_function("bets", |b| {
        b.iter(|| {
            let mut out = Outcome { hits: &mut hits, payouts: &mut payouts, cuts: &mut cuts };
            settle(black_box(&bets), &terms, drawn, &mut out).expect("valid bets");
        });
    });
    let source = vec![1_u8; BETS * 18];
    let mut target = vec![0_u8; BETS * 18];
    group.bench_function("memcpy of equal traffic", |b| b.iter(|| black_box(&mut target).copy_from_slice(&source)));
    group.finish();
}

/// One to ten picks from a chunk of random bytes.
fn picks_of(chunk: &[u8]) -> [u8; 10] {
    let wanted = usize::from(chunk[0]) % 10 + 1;
    let mut picks: Vec<u8> = Vec::new();
    for step in 0_u8.. {
        let pick = chunk[1 + usize::from(step) % 13].wrapping_add(step) % 80 + 1;
        if picks.len() < wanted && !picks.contains(&pick) {
            picks.push(pick);
        } else if picks.len() == wanted {
            break;
        }
    }
    NumberSet::from_numbers(picks).expect("distinct numbers").to_mask()
}

criterion_group!(benches, draws, trees, settlements);
criterion_main!(benches);
