//! What a bet is worth before its draw: its possible payouts, weighted by how likely their hits are.
//!
//! Of p picks exactly h are drawn with probability C(20, h) x C(60, p - h) / C(80, p). All of these are whole numbers of
//! 1/`PARTS`, so expected payouts are whole numbers of parts of a minor unit, and their sums are exact.

use crate::draw::DRAWN;
use crate::paytable::{PICKS_MAX, Terms};
use crate::picks::NUMBERS;

/// The parts of a minor unit: the least common multiple of C(80, p) for 1 to 10 picks.
pub const PARTS: u64 = 115_254_447_708_400;

/// `WEIGHTS[p][h]` is the probability that h of p picks are drawn, in 1/`PARTS`.
const WEIGHTS: [[u64; PICKS_MAX + 1]; PICKS_MAX + 1] = weights();

/// What bets of one pick count are expected to be paid, where that grows in proportion to the stake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proportion {
    /// Of a multiple of this no win is rounded down.
    step_minor: u64,
    /// Up to this no win is cut.
    stake_max_minor: u64,
    /// What is expected for each step, in 1/`PARTS` of a minor unit.
    parts: u128,
}

impl Proportion {
    /// Of a row of multipliers in units of 1/`scale`, one for each number of hits.
    pub fn new(row: &[u64], scale: u64, win_max_minor: u64) -> Self {
        let step_minor = row.iter().map(|&multiplier| scale / gcd(scale, multiplier)).fold(1, lcm);
        let highest = row.iter().max().copied().unwrap_or_default();
        let stake_max = (u128::from(win_max_minor) * u128::from(scale)).checked_div(u128::from(highest));
        let stake_max_minor = stake_max.map_or(u64::MAX, |most| u64::try_from(most).unwrap_or(u64::MAX));
        let win = |&multiplier: &u64| u128::from(multiplier) * u128::from(step_minor) / u128::from(scale);
        let weights = &WEIGHTS[row.len().saturating_sub(1)];
        let parts = row.iter().zip(weights).map(|(multiplier, &weight)| win(multiplier) * u128::from(weight)).sum();
        Self { step_minor, stake_max_minor, parts }
    }
}

/// What a bet of a stake above 0 is expected to be paid, in 1/`PARTS` of a minor unit: each of its payouts by the rule
/// of `settle_one`, the maximum win of a bet included and that of an account in a round not.
///
/// Panics for more than ten picks.
#[inline]
pub fn expected_parts(picks: usize, stake_minor: i64, terms: &Terms) -> u128 {
    let (stake, of) = (stake_minor.unsigned_abs(), terms.proportion(picks));
    if stake <= of.stake_max_minor && stake % of.step_minor == 0 {
        return u128::from(stake / of.step_minor) * of.parts;
    }
    sum_of_payouts(picks, stake, terms)
}

/// The same for any stake.
#[cold]
fn sum_of_payouts(picks: usize, stake: u64, terms: &Terms) -> u128 {
    let expected = |hits: usize| {
        let win = u128::from(stake) * u128::from(terms.multiplier(picks, hits)) / u128::from(terms.scale());
        // The weights of a row add up to PARTS, which has 47 bits, and a payout has 63.
        win.min(terms.win_max_minor() as u128) * u128::from(WEIGHTS[picks][hits])
    };
    (0..=picks).map(expected).sum()
}

fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { gcd(other, one % other) }
}

/// Of divisors of a scale, so it is no more than the scale.
fn lcm(one: u64, other: u64) -> u64 {
    one / gcd(one, other) * other
}

const fn weights() -> [[u64; PICKS_MAX + 1]; PICKS_MAX + 1] {
    let mut weights = [[0; PICKS_MAX + 1]; PICKS_MAX + 1];
    let mut picks = 1;
    while picks <= PICKS_MAX {
        let all = choose(NUMBERS as u64, picks as u64);
        assert!(PARTS % all == 0, "PARTS is a multiple of C(80, p)");
        let mut hits = 0;
        while hits <= picks {
            let ways = choose(DRAWN as u64, hits as u64) * choose(NUMBERS as u64 - DRAWN as u64, (picks - hits) as u64);
            weights[picks][hits] = ways * (PARTS / all);
            hits += 1;
        }
        picks += 1;
    }
    weights
}

const fn choose(of: u64, these: u64) -> u64 {
    let (mut ways, mut taken) = (1, 0);
    while taken < these {
        ways = ways * (of - taken) / (taken + 1);
        taken += 1;
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(win_max_minor: u64) -> Terms {
        let row = |picks: u64| (0..=picks).map(|hits| 100 * hits * hits).collect();
        let rows: Vec<Vec<u64>> = (0..=10).map(|picks| if picks == 0 { vec![] } else { row(picks) }).collect();
        Terms::new(&rows, 100, win_max_minor, None).unwrap()
    }

    #[test]
    fn the_probabilities_of_all_hits_add_up_to_one() {
        for (picks, row) in WEIGHTS.iter().enumerate().skip(1) {
            assert_eq!(row.iter().sum::<u64>(), PARTS, "{picks} picks");
            assert_eq!(row[0], PARTS / choose(80, picks as u64) * choose(60, picks as u64));
        }
    }

    #[test]
    fn a_bet_is_expected_to_be_paid_its_payouts_by_their_probabilities_rounded_down_and_cut() {
        let quarter = u128::from(PARTS / 4);
        assert_eq!(expected_parts(1, 100, &terms(1_000)), 100 * quarter);
        assert_eq!(expected_parts(1, 100, &terms(60)), 60 * quarter);
        let thirds = Terms::new(
            &[
                vec![],
                vec![0, 4],
                vec![0; 3],
                vec![0; 4],
                vec![0; 5],
                vec![0; 6],
                vec![0; 7],
                vec![0; 8],
                vec![0; 9],
                vec![0; 10],
                vec![0; 11],
            ],
            3,
            1_000,
            None,
        )
        .unwrap();
        assert_eq!(expected_parts(1, 100, &thirds), 133 * quarter);
        // E[hits^2] of two picks: 2 x 1/4 + 2 x 20/80 x 19/79.
        assert_eq!(expected_parts(2, 1, &terms(10)) * 158, u128::from(PARTS) * 98);
    }

    #[test]
    fn in_proportion_or_not_it_is_the_sum_of_the_payouts() {
        let row = |picks: u64| (0..=picks).map(|hits| if 3 * hits < picks { 0 } else { 37 * hits * hits }).collect();
        let rows: Vec<Vec<u64>> = (0..=10).map(|picks| if picks == 0 { vec![] } else { row(picks) }).collect();
        for (scale, win_max_minor) in [(1, 5_000), (7, 90), (100, 1_000), (1_000_000, i64::MAX as u64)] {
            let terms = Terms::new(&rows, scale, win_max_minor, None).unwrap();
            for picks in 1..=10 {
                for stake in (1..=2_000).chain([1_000_000, 7_000_000, i64::MAX]) {
                    let sum = sum_of_payouts(picks, stake as u64, &terms);
                    assert_eq!(expected_parts(picks, stake, &terms), sum, "{picks} picks, {stake}/{scale}");
                }
            }
        }
    }

    #[test]
    fn the_largest_amounts_have_room() {
        let most = i64::MAX as u64;
        let rows: Vec<Vec<u64>> =
            (0..=10).map(|picks| if picks == 0 { vec![] } else { vec![most; picks + 1] }).collect();
        let terms = Terms::new(&rows, 1, most, None).unwrap();
        assert_eq!(expected_parts(10, i64::MAX, &terms), u128::from(most) * u128::from(PARTS));
    }
}
