//! The settlement stream against the rule for one bet, and against every way of spoiling its input.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use keno_core::copy::CopyFault;
use keno_core::error::{BetFault, CoreError, StreamFault};
use keno_core::odds::expected_parts;
use keno_core::paytable::Terms;
use keno_core::picks::NumberSet;
use keno_core::settle::{Settled, settle_one};
use keno_core::stream::{Round, SettlementStream};
use keno_core::totals::{Group, Total};
use proptest::prelude::*;

const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = [0xff; 2];
const BET_BYTES: usize = 90;
/// The ids of the rounds; the second and third have the same terms, the last has none.
const ROUNDS: [i64; 4] = [3, 7, 8, i64::MAX];

#[derive(Clone, Debug)]
struct Bet {
    round_id: i64,
    bet_id: i64,
    operator_id: u128,
    account_id: i64,
    picks: NumberSet,
    stake_minor: i64,
    terms: i16,
}

fn good() -> Bet {
    let picks = NumberSet::from_numbers([1, 2, 70]).unwrap();
    Bet { round_id: 3, bet_id: 1, operator_id: 5, account_id: 9, picks, stake_minor: 100, terms: 0 }
}

fn fields(bet: &Bet) -> [Vec<u8>; 7] {
    [
        bet.round_id.to_be_bytes().to_vec(),
        bet.bet_id.to_be_bytes().to_vec(),
        bet.operator_id.to_be_bytes().to_vec(),
        bet.account_id.to_be_bytes().to_vec(),
        bet.picks.to_mask().to_vec(),
        bet.stake_minor.to_be_bytes().to_vec(),
        bet.terms.to_be_bytes().to_vec(),
    ]
}

fn tuple(fields: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = (fields.len() as u16).to_be_bytes().to_vec();
    for field in fields {
        bytes.extend((field.len() as u32).to_be_bytes());
        bytes.extend(field);
    }
    bytes
}

fn encode(bets: &[Bet]) -> Vec<u8> {
    let tuples = bets.iter().flat_map(|bet| tuple(&fields(bet)));
    HEADER.iter().copied().chain(tuples).chain(TRAILER).collect()
}

fn terms(scale: u64, win_max_minor: u64, round_win_max_minor: Option<u64>) -> Arc<Terms> {
    let row = |picks: u64| (0..=picks).map(|hits| if 3 * hits < picks { 0 } else { 37 * hits * hits }).collect();
    let rows: Vec<Vec<u64>> = (0..=10).map(|picks| if picks == 0 { vec![] } else { row(picks) }).collect();
    Arc::new(Terms::new(&rows, scale, win_max_minor, round_win_max_minor).unwrap())
}

/// Each round with its draw and terms.
fn rounds() -> Vec<(i64, [u8; 20], Vec<Arc<Terms>>)> {
    let shared = vec![terms(100, 5_000, Some(12_000)), terms(1, i64::MAX as u64, None)];
    let other = vec![terms(7, 90, Some(90)), terms(1000, 1_000_000, None), terms(1, 1, Some(3))];
    let lists = [other, shared.clone(), shared, vec![]];
    let draw = |at: u8| std::array::from_fn(|step| (step as u8 * 3 + at) % 80 + 1);
    (0..).zip(ROUNDS).zip(lists).map(|((at, id), list)| (id, draw(at), list)).collect()
}

fn stream() -> SettlementStream {
    let round = |(id, numbers, terms): (i64, [u8; 20], Vec<Arc<Terms>>)| Round::new(id, &numbers, terms).unwrap();
    SettlementStream::new(rounds().into_iter().rev().map(round).collect()).unwrap()
}

/// Bets, stakes, payouts and cuts; and what was expected to be paid.
type Sums = ([i64; 4], u128);
type Outcome = Result<(Vec<u8>, Vec<Total>, u64), CoreError>;

/// Feeds the bytes in pieces of the given lengths, over and over.
fn run(bytes: &[u8], lengths: &[usize]) -> Outcome {
    let (mut stream, mut out, mut rest) = (stream(), vec![], bytes);
    for &length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, later) = rest.split_at(length.min(rest.len()));
        out.extend(stream.feed(chunk)?);
        rest = later;
    }
    out.extend(stream.finish()?);
    Ok((out, stream.totals()?.to_vec(), stream.winners_count()))
}

/// The same by the rule for one bet.
fn expected(bets: &[Bet]) -> Outcome {
    let rounds: BTreeMap<_, _> = rounds().into_iter().map(|(id, numbers, terms)| (id, (numbers, terms))).collect();
    let mut totals: BTreeMap<Group, Sums> = BTreeMap::new();
    let mut paid: HashMap<(i64, i64), i64> = HashMap::new();
    let (mut out, mut winners_count) = (HEADER.to_vec(), 0);
    for bet in bets {
        let (numbers, terms) = &rounds[&bet.round_id];
        let drawn = NumberSet::from_numbers(*numbers).unwrap();
        let settled = settle_one(bet.picks, bet.stake_minor, &terms[bet.terms as usize], drawn).map_err(|reason| {
            let (round_id, bet_id) = (bet.round_id, bet.bet_id);
            CoreError::StreamedBet { round_id, bet_id, reason: StreamFault::Bet(reason) }
        })?;
        let won = settled.payout_minor + settled.cut_minor;
        let settled = match terms[bet.terms as usize].round_win_max_minor() {
            Some(max_minor) => {
                let paid_minor = paid.entry((bet.round_id, bet.account_id)).or_default();
                let payout_minor = settled.payout_minor.min(0.max(max_minor - *paid_minor));
                *paid_minor += payout_minor;
                Settled { payout_minor, cut_minor: won - payout_minor, ..settled }
            }
            None => settled,
        };
        let group = Group { round_id: bet.round_id, operator_id: bet.operator_id, terms: bet.terms as u8 };
        let (sums, parts) = totals.entry(group).or_default();
        *parts += expected_parts(bet.picks.count() as usize, bet.stake_minor, &terms[bet.terms as usize]);
        for (sum, value) in sums.iter_mut().zip([1, bet.stake_minor, settled.payout_minor, settled.cut_minor]) {
            *sum += value;
        }
        if won > 0 {
            winners_count += 1;
            let ids = [bet.bet_id, bet.round_id, bet.account_id].map(|id| id.to_be_bytes().to_vec());
            let hits = u16::from(settled.hits).to_be_bytes().to_vec();
            let sums = [settled.payout_minor, settled.cut_minor].map(|sum| sum.to_be_bytes().to_vec());
            out.extend(tuple(&[&ids[..], &[hits], &sums].concat()));
        }
    }
    out.extend(TRAILER);
    let total = |(group, ([bets_count, staked_minor, paid_minor, cut_minor], expected_parts)): (Group, Sums)| Total {
        group,
        bets_count,
        staked_minor,
        paid_minor,
        cut_minor,
        expected_parts,
    };
    Ok((out, totals.into_iter().map(total).collect(), winners_count))
}

fn bad(bet_id: i64, reason: StreamFault) -> CoreError {
    CoreError::StreamedBet { round_id: 3, bet_id, reason }
}

fn assert_refused(bytes: &[u8], error: &CoreError) {
    for length in [1, 7, BET_BYTES, bytes.len().max(1)] {
        assert_eq!(run(bytes, &[length]).as_ref(), Err(error));
    }
}

#[test]
fn bytes_that_are_not_a_stream_of_bets_are_refused_by_what_is_wrong_with_them() {
    let one = encode(&[good()]);
    let faulty = |bytes: &[u8], bets_read: u64, fault: CopyFault| {
        assert_refused(bytes, &CoreError::Copy { bets_read, fault });
    };
    for end in 0..one.len() {
        faulty(&one[..end], u64::from(end >= HEADER.len() + BET_BYTES), CopyFault::Truncated);
    }
    faulty(&[&one[..], b"\0"].concat(), 1, CopyFault::AfterTrailer);
    faulty(&[&one[..], &one].concat(), 1, CopyFault::AfterTrailer);
    for at in 0..11 {
        let mut spoilt = one.clone();
        spoilt[at] ^= 0x20;
        faulty(&spoilt, 0, CopyFault::Signature);
    }
    let header = |flags: u32, extension: i32| {
        [&HEADER[..11], &flags.to_be_bytes(), &extension.to_be_bytes(), &one[HEADER.len()..]].concat()
    };
    faulty(&header(1 << 16, 0), 0, CopyFault::Flags { flags: 1 << 16 });
    faulty(&header(0, -1), 0, CopyFault::Extension);
    faulty(&header(0, i32::MAX), 0, CopyFault::Truncated);
    let names = ["round_id", "bet_id", "operator_id", "account_id", "picks", "stake_minor", "terms"];
    for (field, name) in names.into_iter().enumerate() {
        let expected = fields(&good())[field].len();
        for length in [expected - 1, expected + 1, 0] {
            let mut wrong = fields(&good());
            wrong[field].resize(length, 0);
            let bytes = [&one[..one.len() - 2], &tuple(&wrong), &TRAILER].concat();
            faulty(&bytes, 1, CopyFault::FieldLength { field: name, expected, actual: length as i32 });
        }
        let at = HEADER.len() + 2 + fields(&good())[..field].iter().map(|field| 4 + field.len()).sum::<usize>();
        let null = [&one[..at], &[0xff; 4], &one[at + 4 + expected..]].concat();
        faulty(&null, 0, CopyFault::FieldLength { field: name, expected, actual: -1 });
    }
    for count in [0, 6, 8, i16::MAX, i16::MIN, -2] {
        let mut spoilt = one.clone();
        spoilt[HEADER.len()..][..2].copy_from_slice(&count.to_be_bytes());
        faulty(&spoilt, 0, CopyFault::FieldCount { actual: count });
    }
}

#[test]
fn flags_that_a_reader_may_ignore_and_an_extension_change_nothing() {
    let bets = [good()];
    let extended = [&HEADER[..11], &[0, 0, 0xff, 0xff, 0, 0, 0, 200], &[7; 200], &encode(&bets)[19..]].concat();
    for length in [1, 20, 1000] {
        assert_eq!(run(&extended, &[length]), expected(&bets));
    }
}

#[test]
fn the_first_bet_that_cannot_be_settled_is_named_wherever_it_stands() {
    let (stake, picks) = (StreamFault::Bet(BetFault::Stake), StreamFault::Bet(BetFault::PickCount));
    let index = StreamFault::Bet(BetFault::TermsIndex);
    type Spoiler = (StreamFault, fn(&mut Bet));
    let spoilers: [Spoiler; 10] = [
        (stake, |bet| bet.stake_minor = 0),
        (stake, |bet| bet.stake_minor = i64::MIN),
        (picks, |bet| bet.picks = NumberSet::default()),
        (picks, |bet| bet.picks = NumberSet::from_numbers(1..=11).unwrap()),
        (picks, |bet| bet.picks = NumberSet::from_numbers(1..=80).unwrap()),
        (index, |bet| bet.terms = 3),
        (index, |bet| bet.terms = -1),
        (index, |bet| bet.terms = 256),
        (StreamFault::Order, |bet| bet.bet_id -= 1),
        (StreamFault::Bet(BetFault::CutOverflow), |bet| {
            (bet.picks, bet.stake_minor, bet.terms) = (NumberSet::from_numbers([1, 4]).unwrap(), i64::MAX / 2, 2);
        }),
    ];
    for at in [1, 2, 255, 256, 257, 511, 512, 598] {
        for (reason, spoil) in spoilers {
            let mut bets: Vec<Bet> = (0..600).map(|bet_id| Bet { bet_id, ..good() }).collect();
            spoil(&mut bets[at]);
            // Another one later must not be told instead.
            bets[599].stake_minor = 0;
            assert_refused(&encode(&bets), &bad(bets[at].bet_id, reason));
        }
    }
}

#[test]
fn bets_of_unknown_rounds_and_rounds_out_of_order_are_refused() {
    let of = |round_id: i64| Bet { round_id, ..good() };
    for round_id in [4, -1, i64::MIN] {
        let error = CoreError::StreamedBet { round_id, bet_id: 1, reason: StreamFault::Round };
        assert_refused(&encode(&[of(round_id)]), &error);
    }
    let back = Bet { bet_id: 2, ..good() };
    assert_refused(&encode(&[good(), of(7), back]), &bad(2, StreamFault::Order));
    let without_terms = StreamFault::Bet(BetFault::TermsIndex);
    let error = CoreError::StreamedBet { round_id: i64::MAX, bet_id: 1, reason: without_terms };
    assert_refused(&encode(&[of(i64::MAX)]), &error);
}

#[test]
fn totals_beyond_64_bits_are_refused_and_not_wrapped() {
    let misses = NumberSet::from_numbers([80]).unwrap();
    let most = |bet_id| Bet { bet_id, picks: misses, stake_minor: i64::MAX, ..good() };
    assert!(run(&encode(&[most(1)]), &[64]).is_ok());
    let max = i64::MAX as u64;
    let error = CoreError::Range { what: "a round's total of stakes", min: 0, max };
    assert_refused(&encode(&[most(1), most(2)]), &error);
    let won = |bet_id| Bet { bet_id, round_id: 7, stake_minor: i64::MAX / 40, terms: 1, ..good() };
    let hits = NumberSet::from_numbers([rounds()[1].1[0]]).unwrap();
    let error = CoreError::Range { what: "a round's total of payouts", min: 0, max };
    assert_refused(&encode(&[1, 2].map(|bet_id| Bet { picks: hits, ..won(bet_id) })), &error);
}

#[test]
fn the_wins_of_an_account_in_a_round_have_a_maximum_which_earlier_bets_have_used_up() {
    let (_, numbers, terms) = rounds().swap_remove(1);
    let hit = NumberSet::from_numbers([numbers[0]]).unwrap();
    let bet = |bet_id, account_id, terms| Bet {
        bet_id,
        account_id,
        terms,
        round_id: 7,
        stake_minor: 10_000,
        picks: hit,
        ..good()
    };
    let bets = [bet(1, 4, 0), bet(2, 4, 1), bet(3, 5, 0), bet(4, 4, 0)];
    let paid = [4_i64.to_be_bytes(), 8_700_i64.to_be_bytes()].concat();
    let round = Round::new(7, &numbers, terms).unwrap().after(&paid).unwrap();
    let mut stream = SettlementStream::new(vec![round]).unwrap();
    let out = [stream.feed(&encode(&bets)).unwrap(), stream.finish().unwrap()].concat();
    let amounts: Vec<[i64; 2]> = out[HEADER.len()..out.len() - 2]
        .chunks_exact(keno_core::copy::PAYOUT_BYTES)
        .map(|row| [48, 60].map(|at| i64::from_be_bytes(row[at..at + 8].try_into().unwrap())))
        .collect();
    assert_eq!(amounts, [[3_300, 400], [370_000, 0], [3_700, 0], [0, 3_700]]);
    assert_eq!(stream.winners_count(), 4);
}

#[test]
fn a_stream_that_has_failed_or_ended_refuses_every_further_call() {
    let over = Err(CoreError::StreamState);
    let mut failed = stream();
    assert!(failed.feed(b"not a stream of any kind").is_err());
    assert_eq!((failed.feed(&encode(&[good()])), failed.finish()), (over.clone(), over.clone()));
    assert_eq!(failed.totals(), Err(CoreError::StreamState));
    let mut ended = stream();
    ended.feed(&encode(&[good()])).unwrap();
    assert_eq!(ended.totals(), Err(CoreError::StreamState));
    ended.finish().unwrap();
    assert_eq!((ended.feed(b""), ended.finish()), (over.clone(), over));
    assert_eq!(ended.totals().unwrap().len(), 1);
}

#[test]
fn rounds_that_cannot_be_told_apart_or_have_no_draw_are_refused() {
    let round = |id| Round::new(id, &rounds()[0].1, vec![]).unwrap();
    assert_eq!(SettlementStream::new(vec![round(1), round(2), round(1)]).err(), Some(CoreError::RepeatedRound));
    assert_eq!(Round::new(1, &[1; 20], vec![]).err(), Some(CoreError::Repeated { number: 1 }));
    assert!(Round::new(1, &rounds()[0].1, vec![terms(1, 1, None); 256]).is_ok());
    assert!(matches!(Round::new(1, &rounds()[0].1, vec![terms(1, 1, None); 257]), Err(CoreError::Range { .. })));
}

fn some_bet() -> impl Strategy<Value = Bet> {
    let picks = prop::sample::subsequence((1..=80_u8).collect::<Vec<_>>(), 1..=10);
    let stake = prop_oneof![9 => 1..=1_000_000_i64, 1 => 1..=i64::MAX >> 20];
    let account = prop_oneof![0..3_i64, any::<i64>()];
    (0..3_usize, prop_oneof![0..3_u128, any::<u128>()], account, picks, stake, 0..3_i16).prop_map(
        |(round, operator_id, account_id, picks, stake_minor, terms)| Bet {
            round_id: ROUNDS[round],
            bet_id: 0,
            operator_id,
            account_id,
            picks: NumberSet::from_numbers(picks).unwrap(),
            stake_minor,
            terms: if round == 0 { terms } else { terms % 2 },
        },
    )
}

/// Bets in order; each round begins with ids of its own.
fn some_bets() -> impl Strategy<Value = Vec<Bet>> {
    (prop::collection::vec(some_bet(), 0..40), prop_oneof![3 => 1..3_usize, 1 => 20..40_usize], -9..9_i64).prop_map(
        |(bets, repeats, first)| {
            let mut bets: Vec<Bet> = std::iter::repeat_n(bets, repeats).flatten().collect();
            bets.sort_by_key(|bet| bet.round_id);
            for (step, bet) in (0..).zip(&mut bets) {
                bet.bet_id = first + 3 * step - bet.round_id;
            }
            bets
        },
    )
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![prop::collection::vec(1..300_usize, 1..9), Just(vec![1]), Just(vec![1 << 20])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_stream_settles_like_the_rule_however_it_is_cut(bets in some_bets(), lengths in lengths()) {
        prop_assert_eq!(run(&encode(&bets), &lengths), expected(&bets));
    }

    #[test]
    fn a_spoilt_stream_ends_in_the_same_outcome_however_it_is_cut(
        bets in some_bets(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 1..4),
        lengths in lengths(),
    ) {
        let mut bytes = encode(&bets);
        for (at, kind, value) in changes {
            let at = at.index(bytes.len().max(1));
            match kind {
                0 if at < bytes.len() => bytes[at] = value,
                1 if at < bytes.len() => { bytes.remove(at); }
                2 => bytes.insert(at, value),
                _ => bytes.truncate(at),
            }
        }
        prop_assert_eq!(run(&bytes, &lengths), run(&bytes, &[1 << 20]));
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(0xff)], 0..600),
        whole_header in any::<bool>(),
        lengths in lengths(),
    ) {
        let bytes = if whole_header { [&HEADER[..], &bytes].concat() } else { bytes };
        prop_assert_eq!(run(&bytes, &lengths), run(&bytes, &[1 << 20]));
    }
}
