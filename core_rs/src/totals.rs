//! Sums of a stream of bets, a group for each round, operator and terms.
//!
//! All sums are checked: one of money that leaves 64 bits is an error, because no ledger could hold it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::error::CoreError;

/// Whose bets are added up; groups sort by round, operator and terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The round.
    pub round_id: i64,
    /// The operator's 16 bytes, big-endian.
    pub operator_id: u128,
    /// Which of the round's terms.
    pub terms: u8,
}

/// What one group adds up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Total {
    /// Whose bets these are.
    pub group: Group,
    /// How many bets.
    pub bets_count: i64,
    /// Their stakes, in minor units.
    pub staked_minor: i64,
    /// Their payouts, in minor units.
    pub paid_minor: i64,
    /// What maximum wins cut off, in minor units.
    pub cut_minor: i64,
    /// What their payouts were expected to be before the draw, in 1/`odds::PARTS` of a minor unit.
    pub expected_parts: u128,
}

/// Totals in the making. Grows with the number of groups, not of bets.
#[derive(Default)]
pub(crate) struct Totals {
    totals: Vec<Total>,
    /// Where a group's total stands.
    places: HashMap<Group, usize, BuildHasherDefault<Mixer>>,
}

impl Totals {
    /// Counts a stake and what its payout is expected to be, and returns the place of its group, for `win`.
    #[inline]
    pub fn stake(&mut self, group: Group, stake_minor: i64, expected_parts: u128) -> Result<usize, CoreError> {
        let place = *self.places.entry(group).or_insert_with(|| {
            let (bets_count, staked_minor, paid_minor, cut_minor, expected_parts) = (0, 0, 0, 0, 0);
            self.totals.push(Total { group, bets_count, staked_minor, paid_minor, cut_minor, expected_parts });
            self.totals.len() - 1
        });
        let total = &mut self.totals[place];
        total.bets_count += 1;
        total.staked_minor = sum("a round's total of stakes", total.staked_minor, stake_minor)?;
        total.expected_parts = total.expected_parts.checked_add(expected_parts).ok_or(CoreError::Range {
            what: "a round's total of expected payouts",
            min: 0,
            max: i64::MAX as u64,
        })?;
        Ok(place)
    }

    /// Counts a payout in the group at `place`.
    #[inline]
    pub fn win(&mut self, place: usize, payout_minor: i64, cut_minor: i64) -> Result<(), CoreError> {
        let total = &mut self.totals[place];
        total.paid_minor = sum("a round's total of payouts", total.paid_minor, payout_minor)?;
        total.cut_minor = sum("a round's total of cuts", total.cut_minor, cut_minor)?;
        Ok(())
    }

    /// All totals, sorted.
    pub fn finish(mut self) -> Vec<Total> {
        self.totals.sort_unstable();
        self.totals
    }
}

#[inline]
fn sum(what: &'static str, total: i64, value: i64) -> Result<i64, CoreError> {
    total.checked_add(value).ok_or(CoreError::Range { what, min: 0, max: i64::MAX as u64 })
}

impl Hash for Group {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (upper, lower) = ((self.operator_id >> 64) as u64, self.operator_id as u64);
        state.write_u64(upper.rotate_left(23) ^ lower ^ (self.round_id as u64).rotate_left(8) ^ u64::from(self.terms));
    }
}

/// Hashes ids by one product: they are ours, nobody picks them to collide, and every bet waits for it.
#[derive(Default)]
pub(crate) struct Mixer(u64);

impl Hasher for Mixer {
    fn write_u64(&mut self, value: u64) {
        // An odd number near 2^64 divided by the golden ratio.
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn finish(&self) -> u64 {
        // The table takes its index from the lower bits, which a product hardly mixes.
        self.0 ^ (self.0 >> 32)
    }
}
