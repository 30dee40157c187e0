//! A paytable in one currency: multipliers by picks and hits, and the maximum wins.
//!
//! Return-to-player and the published document are computed elsewhere; here a paytable is only what a payout needs, and
//! what the settlement notes of the payouts to be expected (`odds.rs`).

use crate::error::CoreError;
use crate::odds::Proportion;

/// The most numbers a bet may pick.
pub const PICKS_MAX: usize = 10;

/// Validated terms: `payout = min(floor(stake * multiplier / scale), win_max)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    multipliers: [[u64; PICKS_MAX + 1]; PICKS_MAX + 1],
    scale: u64,
    win_max_minor: i64,
    round_win_max_minor: Option<i64>,
    proportions: [Proportion; PICKS_MAX + 1],
}

impl Terms {
    /// `multipliers[p][h]` is the multiplier of `h` hits of `p` picks in units of `1/scale`: row 0 is empty, row p has
    /// p + 1 entries, up to row 10. Multipliers fit into 63 bits; scale and maximum win are positive, and a maximum of
    /// all wins of an account in a round, if there is one, is not below that of one bet.
    pub fn new(
        multipliers: &[Vec<u64>],
        scale: u64,
        win_max_minor: u64,
        round_win_max_minor: Option<u64>,
    ) -> Result<Self, CoreError> {
        const POSITIVE_MAX: u64 = i64::MAX as u64;
        let shape = |reason: String| CoreError::Paytable { reason };
        if multipliers.len() != PICKS_MAX + 1 {
            return Err(shape(format!("it needs rows for 0 to {PICKS_MAX} picks, not {} rows", multipliers.len())));
        }
        let mut table = [[0; PICKS_MAX + 1]; PICKS_MAX + 1];
        for (picks, row) in multipliers.iter().enumerate() {
            let expected = if picks == 0 { 0 } else { picks + 1 };
            if row.len() != expected {
                return Err(shape(format!("row {picks} must have {expected} multipliers, not {}", row.len())));
            }
            if row.iter().any(|&multiplier| multiplier > POSITIVE_MAX) {
                return Err(CoreError::Range { what: "a multiplier", min: 0, max: POSITIVE_MAX });
            }
            table[picks][..expected].copy_from_slice(row);
        }
        for (what, value) in [("scale", scale), ("win_max_minor", win_max_minor)] {
            if !(1..=POSITIVE_MAX).contains(&value) {
                return Err(CoreError::Range { what, min: 1, max: POSITIVE_MAX });
            }
        }
        if round_win_max_minor.is_some_and(|value| !(win_max_minor..=POSITIVE_MAX).contains(&value)) {
            return Err(CoreError::Range { what: "round_win_max_minor", min: win_max_minor, max: POSITIVE_MAX });
        }
        let round_win_max_minor = round_win_max_minor.map(|value| value as i64);
        let proportions = std::array::from_fn(|picks| Proportion::new(&multipliers[picks], scale, win_max_minor));
        Ok(Self { multipliers: table, scale, win_max_minor: win_max_minor as i64, round_win_max_minor, proportions })
    }

    /// The multiplier in units of `1/scale`. Panics for more than ten picks or more hits than picks.
    pub fn multiplier(&self, picks: usize, hits: usize) -> u64 {
        assert!(hits <= picks, "a bet cannot hit more than it picked");
        self.multipliers[picks][hits]
    }

    /// What its bets are expected to be paid in proportion to the stake. Panics for more than ten picks.
    pub(crate) fn proportion(&self, picks: usize) -> &Proportion {
        &self.proportions[picks]
    }

    /// The divisor of every multiplier.
    pub fn scale(&self) -> u64 {
        self.scale
    }

    /// The most a single bet can be paid, in minor units.
    pub fn win_max_minor(&self) -> i64 {
        self.win_max_minor
    }

    /// The most an account can be paid in a round, in minor units, if that is limited.
    pub fn round_win_max_minor(&self) -> Option<i64> {
        self.round_win_max_minor
    }
}
