//! The column kernel against the rule for one bet, and the draw in bulk against the draw alone.

use keno_core::draw::{self, DRAWN};
use keno_core::error::{BetFault, CoreError};
use keno_core::keno1::sha256;
use keno_core::paytable::Terms;
use keno_core::picks::NumberSet;
use keno_core::settle::{Bets, Outcome, Settled, settle, settle_one};
use proptest::prelude::*;

/// More than two blocks and a rest.
const BETS: usize = 600;

fn terms(multiplier: impl Fn(u64, u64) -> u64, scale: u64, win_max_minor: u64) -> Terms {
    let row = |picks: u64| if picks == 0 { vec![] } else { (0..=picks).map(|hits| multiplier(picks, hits)).collect() };
    Terms::new(&(0..=10).map(row).collect::<Vec<_>>(), scale, win_max_minor, None).expect("terms")
}

fn some_picks() -> impl Strategy<Value = NumberSet> {
    prop::sample::subsequence((1..=80_u8).collect::<Vec<_>>(), 1..=10)
        .prop_map(|picks| NumberSet::from_numbers(picks).expect("distinct"))
}

fn drawn() -> impl Strategy<Value = NumberSet> {
    prop::sample::subsequence((1..=80_u8).collect::<Vec<_>>(), DRAWN)
        .prop_map(|numbers| NumberSet::from_numbers(numbers).expect("distinct"))
}

type Bet = (NumberSet, i64, u8);

fn settle_columns(bets: &[Bet], terms: &[Terms], drawn: NumberSet) -> Result<Vec<Settled>, CoreError> {
    let picks: Vec<u8> = bets.iter().flat_map(|bet| bet.0.to_mask()).collect();
    let stakes: Vec<u8> = bets.iter().flat_map(|bet| bet.1.to_le_bytes()).collect();
    let index: Vec<u8> = bets.iter().map(|bet| bet.2).collect();
    let (mut hits, mut payouts, mut cuts) = (vec![9; bets.len()], vec![9; bets.len() * 8], vec![9; bets.len() * 8]);
    let mut out = Outcome { hits: &mut hits, payouts: &mut payouts, cuts: &mut cuts };
    settle(&Bets::new(&picks, &stakes, &index)?, terms, drawn, &mut out)?;
    let read = |column: &[u8], at: usize| i64::from_le_bytes(column[8 * at..][..8].try_into().expect("8 bytes"));
    let settled = |at: usize| Settled { hits: hits[at], payout_minor: read(&payouts, at), cut_minor: read(&cuts, at) };
    Ok((0..bets.len()).map(settled).collect())
}

fn one_by_one(bets: &[Bet], terms: &[Terms], drawn: NumberSet) -> Result<Vec<Settled>, CoreError> {
    let one = |(index, bet): (usize, &Bet)| {
        let terms = terms.get(usize::from(bet.2)).ok_or(BetFault::TermsIndex);
        terms
            .and_then(|terms| settle_one(bet.0, bet.1, terms, drawn))
            .map_err(|reason| CoreError::Bet { index, reason })
    };
    bets.iter().enumerate().map(one).collect()
}

#[test]
fn a_payout_is_rounded_down_and_capped_and_the_cut_recorded() {
    let hit = NumberSet::from_numbers([1]).unwrap();
    let terms = terms(|_, hits| 376 * hits, 100, 1000);
    let settled = |stake| settle_one(hit, stake, &terms, hit).unwrap();
    assert_eq!(settled(1), Settled { hits: 1, payout_minor: 3, cut_minor: 0 });
    assert_eq!(settled(265), Settled { hits: 1, payout_minor: 996, cut_minor: 0 });
    assert_eq!(settled(1000), Settled { hits: 1, payout_minor: 1000, cut_minor: 2760 });
}

#[test]
fn a_win_beyond_63_bits_is_capped_and_a_cut_beyond_them_refused() {
    let hit = NumberSet::from_numbers([1]).unwrap();
    let most = i64::MAX;
    let generous = terms(|_, hits| 2 * hits, 1, most as u64);
    let doubled = Settled { hits: 1, payout_minor: most, cut_minor: most };
    assert_eq!(settle_columns(&[(hit, most, 0); BETS], &[generous], hit).unwrap(), vec![doubled; BETS]);
    let modest = terms(|_, hits| 2 * hits, 1, 1);
    let refused = CoreError::Bet { index: 0, reason: BetFault::CutOverflow };
    assert_eq!(settle_columns(&[(hit, most, 0)], &[modest], hit), Err(refused));
}

#[test]
fn the_first_bet_that_cannot_be_settled_is_named_wherever_it_stands() {
    let (good, none) = (NumberSet::from_numbers([1, 2]).unwrap(), NumberSet::default());
    let eleven = NumberSet::from_numbers(1..=11).unwrap();
    let all = NumberSet::from_numbers(1..=80).unwrap();
    let terms = [terms(|_, _| 0, 1, 1)];
    for at in [0, 1, 255, 256, 511, 512, BETS - 1] {
        for (bad, reason) in [
            ((good, 0, 0), BetFault::Stake),
            ((good, -1, 0), BetFault::Stake),
            ((good, i64::MIN, 0), BetFault::Stake),
            ((none, 1, 0), BetFault::PickCount),
            ((eleven, 1, 0), BetFault::PickCount),
            ((all, 1, 0), BetFault::PickCount),
            ((good, 1, 1), BetFault::TermsIndex),
            ((good, 1, 255), BetFault::TermsIndex),
        ] {
            let mut bets = vec![(good, 1, 0); BETS];
            bets[at] = bad;
            bets[BETS - 1] = bad;
            let refused = CoreError::Bet { index: at, reason };
            assert_eq!(settle_columns(&bets, &terms, NumberSet::from_numbers(1..=20).unwrap()), Err(refused));
        }
    }
}

#[test]
fn columns_of_different_lengths_are_refused() {
    assert!(matches!(Bets::new(&[0; 9], &[0; 8], &[0]), Err(CoreError::Ragged { what: "picks", .. })));
    assert!(matches!(Bets::new(&[0; 20], &[0; 8], &[0; 2]), Err(CoreError::Rows { what: "stakes", .. })));
    assert!(matches!(Bets::new(&[0; 20], &[0; 16], &[0]), Err(CoreError::Rows { what: "terms_index", .. })));
}

#[test]
fn draws_in_bulk_are_the_draws_one_by_one() {
    // Enough rounds for draws of a second block, and one round more than the lanes divide.
    const ROUNDS: u32 = 4001;
    let column = |tag: &str| (0..ROUNDS).flat_map(|n| sha256(&[tag.as_bytes(), &n.to_be_bytes()])).collect::<Vec<u8>>();
    let columns = ["seed", "x", "beacon"].map(column);
    for rounds in [0, 1, 3, 4, 5, ROUNDS as usize] {
        let [seeds, xs, beacons] = columns.each_ref().map(|column| &column[..32 * rounds]);
        let mut bulk = vec![0; DRAWN * rounds];
        draw::draw_many(seeds, xs, beacons, &mut bulk);
        for (round, numbers) in bulk.chunks_exact(DRAWN).enumerate() {
            let at = |column: &[u8]| column[32 * round..][..32].try_into().unwrap();
            assert_eq!(numbers, draw::draw(&at(seeds), &at(xs), &at(beacons)));
            assert!(draw::drawn_set(numbers.try_into().unwrap()).is_ok());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_kernel_settles_like_the_rule(
        bets in prop::collection::vec((some_picks(), prop_oneof![1..=10_000_i64, 1..=i64::MAX, Just(i64::MAX)], 0..2_u8), 1..BETS),
        factors in prop::array::uniform2(prop_oneof![0..1000_u64, 0..=i64::MAX as u64 / 11]),
        scales in prop::array::uniform2(prop_oneof![Just(1_u64), Just(100), 1..=i64::MAX as u64, (0..63_u32).prop_map(|bit| 1 << bit)]),
        win_maxes in prop::array::uniform2(prop_oneof![Just(1_u64), 1..=5_000_000_u64, Just(i64::MAX as u64)]),
        drawn in drawn(),
    ) {
        let terms: Vec<Terms> = (0..2).map(|at| terms(|_, hits| hits * factors[at], scales[at], win_maxes[at])).collect();
        prop_assert_eq!(settle_columns(&bets, &terms, drawn), one_by_one(&bets, &terms, drawn));
    }

    #[test]
    fn ordinary_bets_in_whole_blocks_settle_like_the_rule(
        pool in prop::collection::vec((some_picks(), 1..=1_000_000_i64), 32),
        scale in 1..2000_u64,
        win_max in 1..2_000_000_u64,
        drawn in drawn(),
    ) {
        let terms = [terms(|picks, hits| if 2 * hits < picks { 0 } else { 37 * hits * hits }, scale, win_max)];
        let bets: Vec<Bet> = pool.into_iter().cycle().take(BETS).map(|(picks, stake)| (picks, stake, 0)).collect();
        prop_assert_eq!(settle_columns(&bets, &terms, drawn), one_by_one(&bets, &terms, drawn));
    }

    #[test]
    fn masks_and_numbers_are_two_forms_of_one_set(mask in any::<[u8; 10]>()) {
        let set = NumberSet::from_mask(&mask);
        prop_assert_eq!(set.to_mask(), mask);
        prop_assert_eq!(NumberSet::from_numbers(set.numbers()).unwrap(), set);
        prop_assert_eq!(set.numbers().count() as u32, set.count());
    }
}
