//! The quick pass of settlement: one block of ordinary bets without a branch a bet.
//!
//! It settles exactly like `settle::settle_one` or says that it can't; it never reports what is wrong with a bet.
//! Blocks are arrays of fixed length, so that the compiler can drop every bounds check.

use std::borrow::Borrow;

use crate::draw::DRAWN;
use crate::paytable::{PICKS_MAX, Terms};
use crate::picks::{MASK_BYTES, NUMBERS, NumberSet};

/// Bets that are settled together: few enough to stay in the first cache for a careful pass.
pub(crate) const BLOCK: usize = 256;

/// The columns of one block.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub picks: &'a [u8; BLOCK * MASK_BYTES],
    pub stakes: &'a [u8; BLOCK * 8],
    pub terms_index: &'a [u8; BLOCK],
}

/// Where a block's outcome goes.
pub(crate) struct BlockOutcome<'a> {
    pub hits: &'a mut [u8; BLOCK],
    pub payouts: &'a mut [u8; BLOCK * 8],
    pub cuts: &'a mut [u8; BLOCK * 8],
}

/// The entries of one paytable in `Lookup`: row p starts at 16 p and column h is the count of hits. No bet with up to ten
/// picks leaves its row, so every mask and every draw has an entry, and bad counts of picks need no check of their own.
const ENTRIES: usize = 16 * NUMBERS as usize + DRAWN + 1;
/// The multiplier of bets that cannot be settled: with any stake the product is 2^63 or more.
const REFUSED: u64 = u64::MAX;

/// Paytables as the quick pass reads them.
pub(crate) struct Lookup {
    multipliers: Vec<u64>,
    payers: Vec<Payer>,
}

impl Lookup {
    pub fn new<T: Borrow<Terms>>(terms: &[T]) -> Self {
        let mut multipliers = vec![REFUSED; terms.len() * ENTRIES];
        for (entries, terms) in multipliers.chunks_exact_mut(ENTRIES).zip(terms) {
            let terms = terms.borrow();
            for picks in 1..=PICKS_MAX {
                for hits in 0..=picks {
                    entries[16 * picks + hits] = terms.multiplier(picks, hits);
                }
            }
        }
        Self { multipliers, payers: terms.iter().map(|terms| Payer::new(terms.borrow())).collect() }
    }
}

/// Turns stake x multiplier into payout and cut, for products below 2^63: the division by the scale is a multiplication.
///
/// With l = ceil(log2 d) and m = ceil(2^(63+l) / d), floor(n / d) = floor(n m / 2^(63+l)) for 0 <= n < 2^63
/// (Granlund and Montgomery, "Division by Invariant Integers using Multiplication", 1994, theorem 4.2).
#[derive(Clone, Copy)]
struct Payer {
    factor: u64,
    shift: u32,
    win_max: u64,
}

impl Payer {
    fn new(terms: &Terms) -> Self {
        let shift = terms.scale().next_power_of_two().ilog2();
        let factor = (1_u128 << (63 + shift)).div_ceil(u128::from(terms.scale()));
        let factor = u64::try_from(factor).expect("2^l < 2 d, so the factor is below 2^64");
        Self { factor, shift, win_max: terms.win_max_minor() as u64 }
    }

    /// Payout and cut.
    #[inline(always)]
    fn pay(&self, product: u64) -> (u64, u64) {
        // Twice the product has room in 64 bits, and makes the shift by 63 + l an upper word and a shift by l.
        let upper = (u128::from(product << 1) * u128::from(self.factor)) >> 64;
        let win = upper as u64 >> self.shift;
        let payout = win.min(self.win_max);
        (payout, win - payout)
    }
}

/// Columns between the steps of the quick pass, to be used again for every block.
pub(crate) struct Scratch {
    /// Where each bet's multiplier stands in `Lookup::multipliers`.
    entries: [u32; BLOCK],
    /// The indexes of the bets whose multiplier is not zero.
    winners: [u16; BLOCK],
}

impl Scratch {
    pub fn new() -> Self {
        Self { entries: [0; BLOCK], winners: [0; BLOCK] }
    }
}

/// Settles a block, or returns false and leaves `out` undefined because a bet in it needs the careful pass.
pub(crate) fn quick_pass(
    block: Block,
    lookup: &Lookup,
    drawn: NumberSet,
    scratch: &mut Scratch,
    out: &mut BlockOutcome,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("popcnt") && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { quick_pass_x86(block, lookup, drawn, scratch, out) };
    }
    quick_pass_portable(block, lookup, drawn, scratch, out)
}

/// The portable pass, compiled for AVX2: without it, counting bits takes longer than all the rest.
///
/// # Safety
/// The processor must have POPCNT and AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt,avx2")]
unsafe fn quick_pass_x86(
    block: Block,
    lookup: &Lookup,
    drawn: NumberSet,
    scratch: &mut Scratch,
    out: &mut BlockOutcome,
) -> bool {
    quick_pass_portable(block, lookup, drawn, scratch, out)
}

#[inline(always)]
fn quick_pass_portable(
    block: Block,
    lookup: &Lookup,
    drawn: NumberSet,
    scratch: &mut Scratch,
    out: &mut BlockOutcome,
) -> bool {
    let terms_index_max = block.terms_index.iter().fold(0, |max, &index| index.max(max));
    if usize::from(terms_index_max) >= lookup.payers.len() {
        return false;
    }
    count_hits(block, drawn, &mut scratch.entries, out.hits);
    let won = find_winners(&scratch.entries, &lookup.multipliers, &mut scratch.winners);

    // Sign bits collect what is unusual: a stake of zero or less, a product that does not fit into 63 bits.
    let mut unusual = 0;
    for stake in block.stakes.chunks_exact(8).map(stake) {
        unusual |= stake | stake.wrapping_sub(1);
    }
    *out.payouts = [0; BLOCK * 8];
    *out.cuts = [0; BLOCK * 8];
    for &index in &scratch.winners[..won] {
        let index = usize::from(index) % BLOCK;
        let multiplier = lookup.multipliers[scratch.entries[index] as usize];
        let (product, overflow) = stake(&block.stakes[8 * index..][..8]).overflowing_mul(multiplier);
        unusual |= product | u64::from(overflow) << 63;
        let (payout, cut) = lookup.payers[usize::from(block.terms_index[index])].pay(product);
        out.payouts[8 * index..][..8].copy_from_slice(&payout.to_le_bytes());
        out.cuts[8 * index..][..8].copy_from_slice(&cut.to_le_bytes());
    }
    unusual >> 63 == 0
}

/// Writes every bet's hits and its entry in `Lookup::multipliers`.
///
/// Four loops over simple columns, because the compiler makes vector instructions of each of them and of no loop that
/// does it all; none of them can overflow, but a check would keep the last one scalar. The order of a mask's bytes does not matter for counting, as long as it is always the same.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // One index for columns of different widths.
fn count_hits(block: Block, drawn: NumberSet, entries: &mut [u32; BLOCK], hits: &mut [u8; BLOCK]) {
    let (mut first, mut last) = ([0_u64; BLOCK], [0_u16; BLOCK]);
    for (index, mask) in block.picks.chunks_exact(MASK_BYTES).enumerate() {
        (first[index], last[index]) = words(mask);
    }
    let (drawn_first, drawn_last) = words(&drawn.to_mask());
    // 16 x picks + hits, of the first eight bytes and of the last two.
    let (mut counts_first, mut counts_last) = ([0_u32; BLOCK], [0_u16; BLOCK]);
    for index in 0..BLOCK {
        let (picked, hit) = (first[index], first[index] & drawn_first);
        counts_first[index] = 16 * picked.count_ones() + hit.count_ones();
    }
    for index in 0..BLOCK {
        let (picked, hit) = (last[index], last[index] & drawn_last);
        counts_last[index] = (16 * picked.count_ones() + hit.count_ones()) as u16;
    }
    for index in 0..BLOCK {
        let entry = counts_first[index].wrapping_add(u32::from(counts_last[index]));
        let start = u32::from(block.terms_index[index]).wrapping_mul(ENTRIES as u32);
        entries[index] = start.wrapping_add(entry);
        // More than 15 hits are more than ten picks, which the careful pass refuses.
        hits[index] = entry as u8 % 16;
    }
}

#[inline(always)]
fn words(mask: &[u8]) -> (u64, u16) {
    let (first, last) = mask.split_at(8);
    let first = u64::from_ne_bytes(first.try_into().expect("8 bytes"));
    (first, u16::from_ne_bytes(last.try_into().expect("2 bytes")))
}

/// Lists the bets whose multiplier is not zero, and returns how many they are.
#[inline(always)]
fn find_winners(entries: &[u32; BLOCK], multipliers: &[u64], winners: &mut [u16; BLOCK]) -> usize {
    let mut won = 0_usize;
    for (index, &entry) in (0..).zip(entries) {
        // Written for every bet and kept for winners: who wins cannot be predicted, by the processor either.
        winners[won % BLOCK] = index;
        won = won.wrapping_add(usize::from(multipliers[entry as usize] != 0));
    }
    won
}

#[inline(always)]
fn stake(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
}
