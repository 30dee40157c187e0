//! The settlement kernel: columns of bets and one draw in, columns of hits, payouts and cuts out.
//!
//! `settle_one` is the rule. `settle` runs over columns: a block of ordinary bets goes through a pass without branches,
//! and a block with anything unusual in it (a bad bet, a win beyond 63 bits) is settled again by the rule, which also
//! finds the error. Nothing here knows currencies, refunds or caps over several bets, or allocates for each bet.

use std::borrow::Borrow;

use crate::error::{BetFault, CoreError, exact_rows, rows};
use crate::kernel::{self, BLOCK, Block, BlockOutcome, Lookup, Scratch};
use crate::paytable::{PICKS_MAX, Terms};
use crate::picks::{MASK_BYTES, NumberSet};

/// Bets as columns of equal length.
#[derive(Clone, Copy, Debug)]
pub struct Bets<'a> {
    picks: &'a [u8],
    stakes: &'a [u8],
    terms_index: &'a [u8],
}

impl<'a> Bets<'a> {
    /// `picks` has 10 bytes a bet, `stakes` 8 (little-endian i64, minor units), `terms_index` 1.
    pub fn new(picks: &'a [u8], stakes: &'a [u8], terms_index: &'a [u8]) -> Result<Self, CoreError> {
        let count = rows("picks", picks, MASK_BYTES)?;
        exact_rows("stakes", stakes, 8, count)?;
        exact_rows("terms_index", terms_index, 1, count)?;
        Ok(Self { picks, stakes, terms_index })
    }

    /// How many bets there are.
    pub fn count(&self) -> usize {
        self.terms_index.len()
    }

    fn slice(&self, start: usize, end: usize) -> Self {
        Self {
            picks: &self.picks[start * MASK_BYTES..end * MASK_BYTES],
            stakes: &self.stakes[start * 8..end * 8],
            terms_index: &self.terms_index[start..end],
        }
    }

    /// The columns as a block, if there are exactly as many bets as a block has.
    fn block(&self) -> Option<Block<'a>> {
        Some(Block {
            picks: self.picks.try_into().ok()?,
            stakes: self.stakes.try_into().ok()?,
            terms_index: self.terms_index.try_into().ok()?,
        })
    }
}

/// Where the outcome goes, one entry a bet: hits (1 byte), payouts and cuts (8 bytes each, little-endian i64).
#[derive(Debug)]
pub struct Outcome<'a> {
    /// How many picks were drawn.
    pub hits: &'a mut [u8],
    /// What is paid, in minor units.
    pub payouts: &'a mut [u8],
    /// What the maximum win cut off, in minor units.
    pub cuts: &'a mut [u8],
}

impl Outcome<'_> {
    fn slice(&mut self, start: usize, end: usize) -> Outcome<'_> {
        Outcome {
            hits: &mut self.hits[start..end],
            payouts: &mut self.payouts[start * 8..end * 8],
            cuts: &mut self.cuts[start * 8..end * 8],
        }
    }

    fn block(&mut self) -> Option<BlockOutcome<'_>> {
        Some(BlockOutcome {
            hits: (&mut *self.hits).try_into().ok()?,
            payouts: (&mut *self.payouts).try_into().ok()?,
            cuts: (&mut *self.cuts).try_into().ok()?,
        })
    }
}

/// What one bet gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// How many of its picks were drawn.
    pub hits: u8,
    /// What is paid, in minor units.
    pub payout_minor: i64,
    /// What the maximum win cut off, in minor units.
    pub cut_minor: i64,
}

/// Settles one bet: `payout = min(floor(stake * multiplier / scale), win_max)`, the cut is what is left.
pub fn settle_one(picks: NumberSet, stake_minor: i64, terms: &Terms, drawn: NumberSet) -> Result<Settled, BetFault> {
    let stake = u128::try_from(stake_minor).ok().filter(|&stake| stake > 0).ok_or(BetFault::Stake)?;
    let pick_count = picks.count() as usize;
    if !(1..=PICKS_MAX).contains(&pick_count) {
        return Err(BetFault::PickCount);
    }
    let hits = picks.hits(drawn);
    // Both factors are below 2^63, so the product fits.
    let win = stake * u128::from(terms.multiplier(pick_count, hits as usize)) / u128::from(terms.scale());
    let payout = win.min(terms.win_max_minor() as u128);
    let cut_minor = i64::try_from(win - payout).map_err(|_| BetFault::CutOverflow)?;
    Ok(Settled { hits: hits as u8, payout_minor: payout as i64, cut_minor })
}

/// Settles all bets against one draw. The error names the first bet that cannot be settled; `out` is then undefined.
///
/// Panics if `out` does not have one entry a bet in every column.
pub fn settle(bets: &Bets, terms: &[impl Borrow<Terms>], drawn: NumberSet, out: &mut Outcome) -> Result<(), CoreError> {
    let count = bets.count();
    assert!(out.hits.len() == count && out.payouts.len() == count * 8 && out.cuts.len() == count * 8);
    let lookup = Lookup::new(terms);
    let mut scratch = Scratch::new();
    for start in (0..count).step_by(BLOCK) {
        let end = count.min(start + BLOCK);
        let (bets, mut out) = (bets.slice(start, end), out.slice(start, end));
        if let (Some(block), Some(mut out)) = (bets.block(), out.block()) {
            if kernel::quick_pass(block, &lookup, drawn, &mut scratch, &mut out) {
                continue;
            }
        }
        careful_pass(&bets, terms, drawn, &mut out)
            .map_err(|(index, reason)| CoreError::Bet { index: start + index, reason })?;
    }
    Ok(())
}

/// Settles bets by the rule. The error names the first that cannot be settled.
pub(crate) fn careful_pass(
    bets: &Bets,
    terms: &[impl Borrow<Terms>],
    drawn: NumberSet,
    out: &mut Outcome,
) -> Result<(), (usize, BetFault)> {
    let columns = bets.picks.chunks_exact(MASK_BYTES).zip(bets.stakes.chunks_exact(8)).zip(bets.terms_index);
    for (index, ((picks, stake), &terms_index)) in columns.enumerate() {
        let fault = |reason| (index, reason);
        let terms = terms.get(usize::from(terms_index)).ok_or(fault(BetFault::TermsIndex))?;
        let picks = NumberSet::from_mask(picks.try_into().expect("10 bytes"));
        let stake = i64::from_le_bytes(stake.try_into().expect("8 bytes"));
        let settled = settle_one(picks, stake, terms.borrow(), drawn).map_err(fault)?;
        out.hits[index] = settled.hits;
        out.payouts[index * 8..][..8].copy_from_slice(&settled.payout_minor.to_le_bytes());
        out.cuts[index * 8..][..8].copy_from_slice(&settled.cut_minor.to_le_bytes());
    }
    Ok(())
}
