//! The quick pass of settlement: one block of ordinary bets without a branch a bet.
//!
//! It settles exactly like `settle::settle_one` or says that it can't; it never reports what is wrong with a bet.
//! Blocks are arrays of fixed length, so that the compiler can drop every bounds check.

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

/// The winners of a block: entry in `Lookup::multipliers` x BLOCK + index in the block.
pub(crate) type Winners = [u32; BLOCK];

impl Lookup {
    pub fn new(terms: &[Terms]) -> Self {
        let mut multipliers = vec![REFUSED; terms.len() * ENTRIES];
        for (entries, terms) in multipliers.chunks_exact_mut(ENTRIES).zip(terms) {
            for picks in 1..=PICKS_MAX {
                for hits in 0..=picks {
                    entries[16 * picks + hits] = terms.multiplier(picks, hits);
                }
            }
        }
        Self { multipliers, payers: terms.iter().map(Payer::new).collect() }
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

/// Settles a block, or returns false and leaves `out` undefined because a bet in it needs the careful pass.
pub(crate) fn quick_pass(
    block: Block,
    lookup: &Lookup,
    drawn: NumberSet,
    winners: &mut Winners,
    out: &mut BlockOutcome,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("popcnt") && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { quick_pass_x86(block, lookup, drawn, winners, out) };
    }
    quick_pass_portable(block, lookup, drawn, winners, out)
}

/// The portable pass, compiled for POPCNT and AVX2. Without them counting bits takes longer than all the rest.
///
/// # Safety
/// The processor must have POPCNT and AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt,avx2")]
unsafe fn quick_pass_x86(
    block: Block,
    lookup: &Lookup,
    drawn: NumberSet,
    winners: &mut Winners,
    out: &mut BlockOutcome,
) -> bool {
    quick_pass_portable(block, lookup, drawn, winners, out)
}

#[inline(always)]
fn quick_pass_portable(
    block: Block,
    lookup: &Lookup,
    drawn: NumberSet,
    winners: &mut Winners,
    out: &mut BlockOutcome,
) -> bool {
    let Some(won) = find_winners(block, lookup, drawn, out.hits, winners) else { return false };

    // Sign bits collect what is unusual: a stake of zero or less, a product that does not fit into 63 bits.
    let stakes = block.stakes.chunks_exact(8).map(stake);
    let mut unusual = stakes.fold(0, |signs, stake| signs | stake | stake.wrapping_sub(1));
    *out.payouts = [0; BLOCK * 8];
    *out.cuts = [0; BLOCK * 8];
    for &winner in &winners[..won] {
        let (entry, index) = (winner as usize / BLOCK, winner as usize % BLOCK);
        let (product, overflow) = stake(&block.stakes[8 * index..][..8]).overflowing_mul(lookup.multipliers[entry]);
        unusual |= product | u64::from(overflow) << 63;
        let (payout, cut) = lookup.payers[usize::from(block.terms_index[index])].pay(product);
        out.payouts[8 * index..][..8].copy_from_slice(&payout.to_le_bytes());
        out.cuts[8 * index..][..8].copy_from_slice(&cut.to_le_bytes());
    }
    unusual >> 63 == 0
}

/// Writes the hits of a block and lists its winners; None if a terms index is wrong.
#[inline(always)]
fn find_winners(
    block: Block,
    lookup: &Lookup,
    drawn: NumberSet,
    hits_out: &mut [u8; BLOCK],
    winners: &mut Winners,
) -> Option<usize> {
    let (drawn_first, drawn_last) = words(&drawn.to_mask());
    let mut won = 0_usize;
    for index in 0..BLOCK {
        let (first, last) = words(&block.picks[index * MASK_BYTES..][..MASK_BYTES]);
        let pick_count = first.count_ones() + last.count_ones();
        let hits = (first & drawn_first).count_ones() + (last & drawn_last).count_ones();
        let entry = usize::from(block.terms_index[index]) * ENTRIES + (16 * pick_count + hits) as usize;
        let multiplier = lookup.multipliers.get(entry)?;
        hits_out[index] = hits as u8;
        // Written for every bet and kept for winners: who wins cannot be predicted, by the processor either.
        winners[won % BLOCK] = (entry * BLOCK + index) as u32;
        won += usize::from(*multiplier != 0);
    }
    Some(won)
}

/// A mask in two words for counting: in which order its bytes stand does not matter, as long as it is always the same.
#[inline(always)]
fn words(mask: &[u8]) -> (u64, u64) {
    let (first, last) = mask.split_at(8);
    let last = u16::from_ne_bytes(last.try_into().expect("2 bytes"));
    (u64::from_ne_bytes(first.try_into().expect("8 bytes")), last.into())
}

#[inline(always)]
fn stake(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
}
