//! Settlement as a stream: COPY data of bets in, COPY data of payouts out, totals at the end.
//!
//! One block of bets is held at a time, whatever the size of the rounds; blocks go through the same kernel as columns do.
//! Where an account's wins in a round have a maximum, they are cut here, since here bets come in order.
//! What the bytes look like is for `copy.rs`. Nothing here credits a player, or knows the name of a currency.

use std::sync::Arc;

use crate::copy::{self, BetRow, Reader};
use crate::draw::{self, Numbers};
use crate::error::{BetFault, CoreError, StreamFault};
use crate::kernel::{self, BLOCK, BlockOutcome, Lookup, Scratch};
use crate::odds;
use crate::paytable::{PICKS_MAX, Terms};
use crate::picks::{MASK_BYTES, NumberSet};
use crate::settle::{self, Bets, Outcome, Settled};
use crate::totals::{Group, Total, Totals};
use crate::wins::RoundWins;

/// The most terms a round may have: the kernel names them by one byte.
pub const TERMS_MAX: usize = 256;

/// A drawn round whose bets a stream may contain.
#[derive(Clone, Debug)]
pub struct Round {
    id: i64,
    drawn: NumberSet,
    terms: Vec<Arc<Terms>>,
    paid: RoundWins,
}

impl Round {
    /// `numbers` is a draw, in any order; bets name `terms` by their index.
    pub fn new(id: i64, numbers: &Numbers, terms: Vec<Arc<Terms>>) -> Result<Self, CoreError> {
        if terms.len() > TERMS_MAX {
            return Err(CoreError::Range { what: "the number of a round's terms", min: 0, max: TERMS_MAX as u64 });
        }
        Ok(Self { id, drawn: draw::drawn_set(numbers)?, terms, paid: RoundWins::default() })
    }

    /// The round as it is after its earlier bets were settled by another stream: `paid` has 16 bytes for each account
    /// that they paid, its id and the sum in minor units, both big-endian.
    pub fn after(self, paid: &[u8]) -> Result<Self, CoreError> {
        Ok(Self { paid: RoundWins::read(paid)?, ..self })
    }

    fn limits_wins(&self) -> bool {
        self.terms.iter().any(|terms| terms.round_win_max_minor().is_some())
    }
}

/// Settles the bets of drawn rounds while they stream by, sorted by round and bet.
pub struct SettlementStream {
    reader: Reader,
    sheet: Sheet,
    phase: Phase,
}

enum Phase {
    Fed,
    Finished(Vec<Total>),
    Failed,
}

impl SettlementStream {
    /// A stream of bets of `rounds`, whose ids differ. A round need not have bets.
    pub fn new(mut rounds: Vec<Round>) -> Result<Self, CoreError> {
        rounds.sort_unstable_by_key(|round| round.id);
        if rounds.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(CoreError::RepeatedRound);
        }
        Ok(Self { reader: Reader::default(), sheet: Sheet::new(rounds), phase: Phase::Fed })
    }

    /// Takes the next bytes of the bets, cut anywhere, and returns the bytes of payouts that are ready.
    ///
    /// The error names the first bet that cannot be settled; after one, every call fails.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<Vec<u8>, CoreError> {
        self.step(|reader, sheet| reader.read(chunk, |row| sheet.take(row)))
    }

    /// Returns the rest of the payouts, when all bets have been fed.
    pub fn finish(&mut self) -> Result<Vec<u8>, CoreError> {
        let mut rest = self.step(|reader, sheet| {
            reader.finish()?;
            sheet.settle_block()
        })?;
        rest.extend_from_slice(&copy::TRAILER);
        self.phase = Phase::Finished(std::mem::take(&mut self.sheet.totals).finish());
        Ok(rest)
    }

    /// The totals of every round, operator and terms with bets, sorted; after `finish`.
    pub fn totals(&self) -> Result<&[Total], CoreError> {
        match &self.phase {
            Phase::Finished(totals) => Ok(totals),
            Phase::Fed | Phase::Failed => Err(CoreError::StreamState),
        }
    }

    /// How many bets that won were written so far.
    pub fn winners_count(&self) -> u64 {
        self.sheet.winners_count
    }

    /// The last bet that was read, if any was.
    pub fn last_bet_id(&self) -> Option<i64> {
        self.sheet.current.map(|_| self.sheet.last_bet_id)
    }

    fn step(
        &mut self,
        work: impl FnOnce(&mut Reader, &mut Sheet) -> Result<(), CoreError>,
    ) -> Result<Vec<u8>, CoreError> {
        if !matches!(self.phase, Phase::Fed) {
            return Err(CoreError::StreamState);
        }
        let worked = work(&mut self.reader, &mut self.sheet);
        // The bets still held come before the one that failed: what is wrong with them is told first.
        if let Err(error) = worked.or_else(|error| self.sheet.settle_block().and(Err(error))) {
            self.phase = Phase::Failed;
            return Err(error);
        }
        Ok(std::mem::take(&mut self.sheet.out))
    }
}

/// One block of bets of one round, and what becomes of them.
struct Sheet {
    rounds: Vec<Round>,
    /// The place of the current round in `rounds`, once there is one.
    current: Option<usize>,
    round_id: i64,
    /// What accounts were paid in the current round, where it limits that.
    wins: Option<RoundWins>,
    last_bet_id: i64,
    count: usize,
    bet_ids: [i64; BLOCK],
    account_ids: [i64; BLOCK],
    /// Where each bet's total stands.
    places: [usize; BLOCK],
    picks: [u8; BLOCK * MASK_BYTES],
    stakes: [u8; BLOCK * 8],
    terms_index: [u8; BLOCK],
    lookup: Option<SharedLookup>,
    scratch: Scratch,
    totals: Totals,
    winners_count: u64,
    out: Vec<u8>,
}

/// The tables of the quick pass, for all rounds with the same terms.
struct SharedLookup {
    terms: Vec<Arc<Terms>>,
    tables: Lookup,
}

impl Sheet {
    fn new(rounds: Vec<Round>) -> Self {
        let mut out = Vec::new();
        copy::write_header(&mut out);
        Self {
            rounds,
            current: None,
            round_id: 0,
            wins: None,
            last_bet_id: 0,
            count: 0,
            bet_ids: [0; BLOCK],
            account_ids: [0; BLOCK],
            places: [0; BLOCK],
            picks: [0; BLOCK * MASK_BYTES],
            stakes: [0; BLOCK * 8],
            terms_index: [0; BLOCK],
            lookup: None,
            scratch: Scratch::new(),
            totals: Totals::default(),
            winners_count: 0,
            out,
        }
    }

    /// Adds a bet to the block, and settles the block when it is full.
    #[inline(always)]
    fn take(&mut self, row: BetRow) -> Result<(), CoreError> {
        let (round_id, bet_id, stake_minor) = (row.round_id(), row.bet_id(), row.stake_minor());
        let current = match self.current {
            Some(current) if round_id == self.round_id => {
                if bet_id <= self.last_bet_id {
                    return Err(fault(row, StreamFault::Order));
                }
                current
            }
            _ => self.enter(row)?,
        };
        self.last_bet_id = bet_id;
        let terms = match u8::try_from(row.terms()) {
            Ok(terms) if usize::from(terms) < self.rounds[current].terms.len() => terms,
            _ => return Err(fault(row, StreamFault::Bet(BetFault::TermsIndex))),
        };
        if stake_minor <= 0 {
            return Err(fault(row, StreamFault::Bet(BetFault::Stake)));
        }
        let picks = row.picks();
        let expected_parts = match NumberSet::from_mask(&picks).count() as usize {
            count @ 1..=PICKS_MAX => {
                odds::expected_parts(count, stake_minor, &self.rounds[current].terms[usize::from(terms)])
            }
            _ => 0, // The block will find that the bet cannot be settled.
        };
        let group = Group { round_id, operator_id: row.operator_id(), terms };
        let place = self.totals.stake(group, stake_minor, expected_parts)?;

        let at = self.count % BLOCK;
        self.bet_ids[at] = bet_id;
        self.account_ids[at] = row.account_id();
        self.places[at] = place;
        self.picks[MASK_BYTES * at..][..MASK_BYTES].copy_from_slice(&picks);
        self.stakes[8 * at..][..8].copy_from_slice(&stake_minor.to_le_bytes());
        self.terms_index[at] = terms;
        self.count = at + 1;
        if self.count == BLOCK { self.settle_block() } else { Ok(()) }
    }

    /// Goes on to the round of this bet.
    #[cold]
    fn enter(&mut self, row: BetRow) -> Result<usize, CoreError> {
        self.settle_block()?;
        let round_id = row.round_id();
        if self.current.is_some() && round_id < self.round_id {
            return Err(fault(row, StreamFault::Order));
        }
        let found = self.rounds.binary_search_by_key(&round_id, |round| round.id);
        let current = found.map_err(|_| fault(row, StreamFault::Round))?;
        let round = &mut self.rounds[current];
        self.wins = round.limits_wins().then(|| std::mem::take(&mut round.paid));
        self.current = Some(current);
        self.round_id = round_id;
        Ok(current)
    }

    /// Settles the bets of the block and writes their payouts; the block is then empty, or the error's to tell.
    fn settle_block(&mut self) -> Result<(), CoreError> {
        let (count, Some(current)) = (self.count, self.current) else {
            return Ok(());
        };
        let (mut hits, mut payouts, mut cuts) = ([0; BLOCK], [0; BLOCK * 8], [0; BLOCK * 8]);
        if count < BLOCK || !self.quick_pass(current, &mut hits, &mut payouts, &mut cuts) {
            let round = &self.rounds[current];
            let bets =
                Bets::new(&self.picks[..MASK_BYTES * count], &self.stakes[..8 * count], &self.terms_index[..count])?;
            let mut out = Outcome { hits: &mut hits, payouts: &mut payouts, cuts: &mut cuts };
            settle::careful_pass(&bets, &round.terms, round.drawn, &mut out).map_err(|(index, reason)| {
                let (round_id, bet_id) = (round.id, self.bet_ids[index]);
                CoreError::StreamedBet { round_id, bet_id, reason: StreamFault::Bet(reason) }
            })?;
        }
        self.count = 0;
        self.write_payouts(count, &hits, &payouts, &cuts)
    }

    /// Settles a full block, or says that it needs the careful pass.
    fn quick_pass(
        &mut self,
        current: usize,
        hits: &mut [u8; BLOCK],
        payouts: &mut [u8; BLOCK * 8],
        cuts: &mut [u8; BLOCK * 8],
    ) -> bool {
        let round = &self.rounds[current];
        let same = |shared: &SharedLookup| {
            shared.terms.len() == round.terms.len()
                && shared.terms.iter().zip(&round.terms).all(|(one, other)| Arc::ptr_eq(one, other))
        };
        let shared = match self.lookup.take_if(|shared| same(shared)) {
            Some(shared) => shared,
            None => SharedLookup { terms: round.terms.clone(), tables: Lookup::new(&round.terms) },
        };
        let block = kernel::Block { picks: &self.picks, stakes: &self.stakes, terms_index: &self.terms_index };
        let mut out = BlockOutcome { hits, payouts, cuts };
        let settled = kernel::quick_pass(block, &shared.tables, round.drawn, &mut self.scratch, &mut out);
        self.lookup = Some(shared);
        settled
    }

    fn write_payouts(
        &mut self,
        count: usize,
        hits: &[u8; BLOCK],
        payouts: &[u8; BLOCK * 8],
        cuts: &[u8; BLOCK * 8],
    ) -> Result<(), CoreError> {
        let (mut winners, mut won) = ([0_u16; BLOCK], 0);
        for (index, payout) in (0..).zip(payouts.chunks_exact(8)).take(count) {
            // Written for every bet and kept for winners: who wins cannot be predicted, by the processor either.
            winners[won % BLOCK] = index;
            won += usize::from(payout != [0; 8]);
        }
        self.winners_count += won as u64;
        self.out.reserve(won * copy::PAYOUT_BYTES);
        let minor = |column: &[u8; BLOCK * 8], at: usize| {
            i64::from_le_bytes(column[8 * at..][..8].try_into().expect("8 bytes"))
        };
        for at in winners[..won].iter().map(|&index| usize::from(index) % BLOCK) {
            let won = Settled { hits: hits[at], payout_minor: minor(payouts, at), cut_minor: minor(cuts, at) };
            let settled = if self.wins.is_some() { self.cut_win(at, won)? } else { won };
            self.totals.win(self.places[at], settled.payout_minor, settled.cut_minor)?;
            copy::write_payout(&mut self.out, self.bet_ids[at], self.round_id, self.account_ids[at], settled);
        }
        Ok(())
    }

    /// Cuts the win of a bet of the block to what its account may still win in the round.
    #[inline(never)]
    fn cut_win(&mut self, at: usize, won: Settled) -> Result<Settled, CoreError> {
        let terms = self.current.map(|current| &self.rounds[current].terms[usize::from(self.terms_index[at])]);
        let max_minor = terms.and_then(|terms| terms.round_win_max_minor());
        let (Some(wins), Some(max_minor)) = (&mut self.wins, max_minor) else {
            return Ok(won);
        };
        wins.cut(self.account_ids[at], won, max_minor).map_err(|reason| {
            let (round_id, bet_id) = (self.round_id, self.bet_ids[at]);
            CoreError::StreamedBet { round_id, bet_id, reason: StreamFault::Bet(reason) }
        })
    }
}

#[cold]
fn fault(row: BetRow, reason: StreamFault) -> CoreError {
    CoreError::StreamedBet { round_id: row.round_id(), bet_id: row.bet_id(), reason }
}
