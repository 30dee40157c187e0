//! Microbenchmarks of the kernels on one core. Ratios to peers are measured by `benchmarks/core.py`.

#![allow(missing_docs)] // The macros below write functions.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use keno_core::leaves::Leaves;
use keno_core::paytable::Terms;
use keno_core::picks::NumberSet;
use keno_core::settle::{Bets, Outcome, settle};
use keno_core::stream::{Round, SettlementStream};
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
    let terms = [100, 1000].map(|scale| Terms::new(&rows(), scale, 5_000_000, None).expect("terms"));
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

/// A paytable in which half of the picks must hit.
fn rows() -> Vec<Vec<u64>> {
    let row = |picks: u64| (0..=picks).map(|hits| if 2 * hits < picks { 0 } else { 50 * hits * hits * hits }).collect();
    (0..=10).map(|picks| if picks == 0 { vec![] } else { row(picks) }).collect()
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

/// Bets as COPY writes them, through a stream; `settlements` has the same bets as columns.
fn streams(c: &mut Criterion) {
    const BETS: usize = 100_000;
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for (bet_id, chunk) in (0_i64..).zip(bytes("picks", BETS * 16).chunks_exact(16)) {
        let operator_id = [chunk[13] % 7; 16];
        let (stake_minor, terms) = (100 * (i64::from(chunk[15]) % 100 + 1), i16::from(chunk[14] % 2));
        let [round_id, bet_id, stake_minor] = [1, bet_id, stake_minor].map(i64::to_be_bytes);
        let (picks, terms) = (picks_of(chunk), terms.to_be_bytes());
        data.extend_from_slice(&7_u16.to_be_bytes());
        for field in [&round_id[..], &bet_id, &operator_id, &bet_id, &picks, &stake_minor, &terms] {
            data.extend_from_slice(&(field.len() as u32).to_be_bytes());
            data.extend_from_slice(field);
        }
    }
    data.extend_from_slice(&[0xff; 2]);
    let terms = [100, 1000].map(|scale| Arc::new(Terms::new(&rows(), scale, 5_000_000, None).expect("terms")));
    let numbers = std::array::from_fn(|step| 4 * step as u8 + 4);
    let round = Round::new(1, &numbers, terms.to_vec()).expect("a drawn round");
    let mut group = c.benchmark_group("stream");
    group.throughput(Throughput::Elements(BETS as u64));
    group.bench_function("bets", |b| {
        b.iter(|| {
            let mut stream = SettlementStream::new(vec![round.clone()]).expect("one round");
            for chunk in data.chunks(65_536) {
                black_box(stream.feed(chunk).expect("valid bets"));
            }
            black_box(stream.finish().expect("valid bets"));
        });
    });
    group.finish();
}

criterion_group!(benches, draws, trees, settlements, streams);
criterion_main!(benches);
