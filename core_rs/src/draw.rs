//! The keno1 draw: 20 of 80 numbers from a seed, the value X and a beacon value.
//!
//! Block j is `HMAC(seed, "keno1:draw" X beacon u32 j)`. Bytes are read in order: a byte of 240 or more is skipped, so
//! that every number is equally likely, and so is a number already drawn, until there are 20. The draw sees no bets.

use hmac::Mac;

use crate::Hash;
use crate::error::CoreError;
use crate::keno1::keyed;
use crate::lanes::{self, LANES, to_bytes};
use crate::picks::{NUMBERS, NumberSet};

/// How many numbers a draw has.
pub const DRAWN: usize = 20;

/// 20 distinct numbers in the order in which they were drawn.
pub type Numbers = [u8; DRAWN];

/// `HMAC(seed, "keno1:draw" X beacon u32 j)`.
pub fn block(seed: &Hash, x: &Hash, beacon: &Hash, j: u32) -> Hash {
    let mac = keyed(seed).chain_update(b"keno1:draw").chain_update(x).chain_update(beacon);
    mac.chain_update(j.to_be_bytes()).finalize().into_bytes().into()
}

/// The draw: numbers in draw order.
pub fn draw(seed: &Hash, x: &Hash, beacon: &Hash) -> Numbers {
    finish(&block(seed, x, beacon, 0), seed, x, beacon)
}

/// Completes a draw whose block 0 is already known.
fn finish(block0: &Hash, seed: &Hash, x: &Hash, beacon: &Hash) -> Numbers {
    let mut sampler = Sampler::new();
    let mut j = 0;
    let mut complete = sampler.feed(block0);
    while !complete {
        j += 1;
        complete = sampler.feed(&block(seed, x, beacon, j));
    }
    sampler.numbers()
}

/// Draws row by row: 32 bytes of seed, X and beacon a row, 20 number bytes a row.
///
/// Panics if the columns have different numbers of rows.
pub fn draw_many(seeds: &[u8], xs: &[u8], beacons: &[u8], out: &mut [u8]) {
    let [seeds, xs, beacons] = [seeds, xs, beacons].map(|column| column.chunks_exact(32).map(to_hash));
    let mut rounds = seeds.zip(xs).zip(beacons).zip(out.chunks_exact_mut(DRAWN));
    loop {
        let lanes: [_; LANES] = std::array::from_fn(|_| rounds.next());
        let blocks = blocks0(&lanes.each_ref().map(|lane| match lane {
            Some((((seed, x), beacon), _)) => [*seed, *x, *beacon],
            None => [&[0; 32]; 3],
        }));
        for (lane, block0) in lanes.into_iter().zip(&blocks) {
            let Some((((seed, x), beacon), numbers)) = lane else { return };
            numbers.copy_from_slice(&finish(block0, seed, x, beacon));
        }
    }
}

fn to_hash(bytes: &[u8]) -> &Hash {
    bytes.try_into().expect("32 bytes")
}

/// Block 0 of several draws: HMAC (RFC 2104) as its five compressions, each for all lanes at once.
fn blocks0(lanes: &[[&Hash; 3]; LANES]) -> [Hash; LANES] {
    let mut inner = [lanes::INITIAL; LANES];
    lanes::compress(&mut inner, &lanes.map(|[seed, ..]| pad(seed, 0x36)));
    lanes::compress(
        &mut inner,
        &lanes.map(|[_, x, beacon]| {
            let mut block = [0; 64];
            block[..10].copy_from_slice(b"keno1:draw");
            block[10..42].copy_from_slice(x);
            block[42..].copy_from_slice(&beacon[..22]);
            block
        }),
    );
    lanes::compress(
        &mut inner,
        &lanes.map(|[.., beacon]| {
            let mut rest = [0; 14];
            rest[..10].copy_from_slice(&beacon[22..]);
            last_block(&rest, 64 + 78)
        }),
    );
    let mut outer = [lanes::INITIAL; LANES];
    lanes::compress(&mut outer, &lanes.map(|[seed, ..]| pad(seed, 0x5c)));
    lanes::compress(&mut outer, &inner.map(|digest| last_block(&to_bytes(&digest), 64 + 32)));
    outer.map(|digest| to_bytes(&digest))
}

/// The last block of a message of `length` bytes: what is left of it, and the padding (FIPS 180-4, 5.1.1).
fn last_block(rest: &[u8], length: u64) -> [u8; 64] {
    let mut block = [0; 64];
    block[..rest.len()].copy_from_slice(rest);
    block[rest.len()] = 0x80;
    block[56..].copy_from_slice(&(8 * length).to_be_bytes());
    block
}

fn pad(key: &Hash, with: u8) -> [u8; 64] {
    let mut block = [with; 64];
    for (byte, key) in block.iter_mut().zip(key) {
        *byte ^= key;
    }
    block
}

/// Checks that `numbers` are 20 distinct numbers, and returns them as a set.
pub fn drawn_set(numbers: &Numbers) -> Result<NumberSet, CoreError> {
    NumberSet::from_numbers(numbers.iter().copied())
}

/// Byte -> number, 0 for a byte that is skipped.
const NUMBER_OF_BYTE: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 240 {
        table[byte] = (byte % NUMBERS as usize) as u8 + 1;
        byte += 1;
    }
    table
};

/// Collects distinct numbers from a stream of bytes.
struct Sampler {
    /// One slot more than a draw: a number is always written, and counts only if it is new.
    drawn: [u8; DRAWN + 1],
    count: usize,
    /// 1 for a number that is still to be drawn, 0 for one that counts no more; slot 0 stands for skipped bytes.
    open: [u8; NUMBERS as usize + 1],
}

impl Sampler {
    fn new() -> Self {
        let mut open = [1; NUMBERS as usize + 1];
        open[0] = 0;
        Self { drawn: [0; DRAWN + 1], count: 0, open }
    }

    /// Reads bytes until the draw is complete; returns whether it is.
    fn feed(&mut self, bytes: &Hash) -> bool {
        for &byte in bytes {
            // Without a branch a byte, because whether it counts cannot be predicted.
            let number = NUMBER_OF_BYTE[usize::from(byte)];
            let open = &mut self.open[usize::from(number)];
            self.drawn[self.count] = number;
            self.count += usize::from(*open);
            *open = 0;
            if self.count == DRAWN {
                return true;
            }
        }
        false
    }

    fn numbers(&self) -> Numbers {
        self.drawn[..DRAWN].try_into().expect("a complete draw")
    }
}
