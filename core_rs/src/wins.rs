//! The maximum of what an account wins in one round: what was paid so far, and the rule that cuts the next win.
//!
//! Wins come in the order of their bets. Memory grows with the accounts that win, and only where a maximum holds. That of
//! a single bet is for `settle.rs`, and comes first.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::error::{BetFault, CoreError, rows};
use crate::settle::Settled;
use crate::totals::Mixer;

const ENTRY_BYTES: usize = 16;

/// What accounts were paid in a round, in minor units.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoundWins(HashMap<i64, i64, BuildHasherDefault<Mixer>>);

impl RoundWins {
    /// Reads 16 bytes an account: its id and what it was paid, both big-endian. No account is there twice.
    pub fn read(paid: &[u8]) -> Result<Self, CoreError> {
        let mut wins =
            HashMap::with_capacity_and_hasher(rows("paid", paid, ENTRY_BYTES)?, BuildHasherDefault::default());
        for entry in paid.chunks_exact(ENTRY_BYTES) {
            let word = |at: usize| i64::from_be_bytes(entry[at..at + 8].try_into().expect("8 bytes"));
            let (account_id, minor) = (word(0), word(8));
            if minor < 0 {
                return Err(CoreError::Range { what: "what an account was paid", min: 0, max: i64::MAX as u64 });
            }
            if wins.insert(account_id, minor).is_some() {
                return Err(CoreError::RepeatedAccount { account_id });
            }
        }
        Ok(Self(wins))
    }

    /// Cuts a win to what the account's wins before it have left of the maximum.
    pub fn cut(&mut self, account_id: i64, settled: Settled, max_minor: i64) -> Result<Settled, BetFault> {
        let paid_minor = self.0.entry(account_id).or_default();
        let payout_minor = settled.payout_minor.min((max_minor - *paid_minor).max(0));
        let cut_more = settled.payout_minor - payout_minor;
        let cut_minor = settled.cut_minor.checked_add(cut_more).ok_or(BetFault::CutOverflow)?;
        *paid_minor += payout_minor;
        Ok(Settled { payout_minor, cut_minor, ..settled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn win(payout_minor: i64, cut_minor: i64) -> Settled {
        Settled { hits: 3, payout_minor, cut_minor }
    }

    fn entries(of: &[(i64, i64)]) -> Vec<u8> {
        of.iter().flat_map(|(account_id, minor)| [account_id.to_be_bytes(), minor.to_be_bytes()].concat()).collect()
    }

    #[test]
    fn wins_are_paid_in_order_until_the_maximum_and_the_one_that_passes_it_is_cut_to_what_is_left() {
        let mut wins = RoundWins::default();
        let mut cut = |account_id, minor| wins.cut(account_id, win(minor, 7), 100).unwrap();
        assert_eq!([60, 30, 25, 1].map(|minor| cut(1, minor)), [win(60, 7), win(30, 7), win(10, 22), win(0, 8)]);
        assert_eq!(cut(2, 100), win(100, 7));
    }

    #[test]
    fn what_was_paid_before_counts_also_where_it_passes_the_maximum() {
        let mut wins = RoundWins::read(&entries(&[(-4, 70), (5, i64::MAX)])).unwrap();
        assert_eq!(wins.cut(-4, win(31, 0), 100), Ok(win(30, 1)));
        assert_eq!(wins.cut(5, win(31, 0), 100), Ok(win(0, 31)));
        assert_eq!(wins.cut(6, win(31, 0), 100), Ok(win(31, 0)));
    }

    #[test]
    fn a_cut_that_does_not_fit_into_64_bits_is_refused() {
        let mut wins = RoundWins::read(&entries(&[(1, 1)])).unwrap();
        assert_eq!(wins.cut(1, win(2, i64::MAX), 2), Err(BetFault::CutOverflow));
        assert_eq!(wins.cut(1, win(1, i64::MAX), 2), Ok(win(1, i64::MAX)));
    }

    #[test]
    fn what_was_paid_before_is_read_whole_or_refused() {
        assert!(matches!(RoundWins::read(&[0; 17]), Err(CoreError::Ragged { what: "paid", .. })));
        assert!(matches!(RoundWins::read(&entries(&[(1, -1)])), Err(CoreError::Range { .. })));
        let twice = RoundWins::read(&entries(&[(1, 5), (2, 5), (1, 0)]));
        assert_eq!(twice.err(), Some(CoreError::RepeatedAccount { account_id: 1 }));
    }
}
