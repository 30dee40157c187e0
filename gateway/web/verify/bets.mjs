// Bets and payouts: the locked set is whole, each bet is one that the rules allow, and each was paid what it is due.

import { leafHashes, treeRoot, utf8 } from "./bytes.mjs";

const LEAF_BYTES = 138;
const PICKS_MAX = 10;

/** Checks the set of bets. Returns the bets, or null if they are not public or cannot be read. `rules` may be null. */
export async function checkBets(round, rules, report) {
  const hashes = round.bet_leaves ?? (await leafHashes(round.bets));
  report.equal("bets_count", BigInt(hashes.length), round.bets_count);
  report.equal("bets_root", await treeRoot(hashes), round.bets_root);
  if (new Set(hashes).size < hashes.length) report.fail("bets", "a bet is there twice");
  if (round.bets === undefined) {
    report.skip("bets", "the bets are not public");
    return null;
  }
  if (rules === null) {
    if (round.bets.length > 0) report.missing("bets", "the rules document is missing");
    return null;
  }
  const odd = round.bets.flatMap((leaf, at) => (leaf.length === 2 * LEAF_BYTES ? [] : [`leaf ${at} has a wrong length`]));
  if (odd.length > 0) {
    report.faultless("bets", odd);
    return null;
  }
  const limits = limitsByBytes(rules);
  const bets = round.bets.map((leaf) => betOf(leaf, rules, limits));
  const faults = [];
  bets.forEach((bet, at) => {
    if (at > 0 && bets[at - 1].id >= bet.id) faults.push(`bet ${bet.id} does not follow ${bets[at - 1].id}`);
  });
  for (const bet of bets) if (bet.fault !== null) faults.push(`bet ${bet.id}: ${bet.fault}`);
  report.faultless("bets", faults);
  return bets;
}

/** The limits of each currency by its eight bytes in a leaf. */
function limitsByBytes(rules) {
  return new Map([...rules.currencies].map(([code, limits]) => [utf8(code).padEnd(16, "0"), limits]));
}

function betOf(leaf, rules, limitsOf) {
  let at = 32; // the salt comes first
  const next = (bytes) => leaf.slice(at, (at += 2 * bytes));
  const [id, , account] = [next(16), next(16), next(32)];
  const picks = picksOf(BigInt(`0x${next(10)}`));
  const stake = BigInt(`0x${next(8)}`);
  const [currency, paytable] = [next(8), next(32)];
  const bet = { id, account, picks, stake, currency, paytable, limits: limitsOf.get(currency) };
  return { ...bet, fault: faultOf(bet, rules) };
}

export function picksOf(mask) {
  const picks = [];
  for (let number = 1; number <= 80; number += 1) if ((mask >> BigInt(number - 1)) & 1n) picks.push(number);
  return picks;
}

/** Why the rules do not allow a bet, or null. */
function faultOf({ picks, stake, currency, paytable, limits }, rules) {
  if (picks.length < 1 || picks.length > PICKS_MAX) return `${picks.length} picks`;
  if (!rules.paytables.includes(paytable)) return `paytable ${paytable} is not offered`;
  if (limits === undefined) return `currency ${currency} is unknown`;
  if (stake < limits.stake_min_minor || stake > limits.stake_max_minor) return `stake ${stake} is not within the limits`;
  if (stake % limits.stake_step_minor !== 0n) return `stake ${stake} is not a multiple of the step`;
  return null;
}

export function checkNothingPaid(paid, report) {
  report.faultless("payouts", (paid ?? []).map((win) => `bet ${win.bet} of a void round was paid ${win.payout_minor}`));
}

/** `bets` as from checkBets, `paid` the listed payouts or null, `numbers` as they should have been drawn. */
export function checkPayouts(round, rules, paytables, bets, numbers, paid, report) {
  const limited = [...(rules?.currencies.values() ?? [])].some((limits) => limits.round_win_max_minor !== undefined);
  if (round.bets === undefined) {
    if (paid === null) report.skip("payouts", "the bets are not public");
    else report.missing("payouts", "payouts are listed, but the bets are not public");
    if (limited) report.skip("maximum wins a round", "who made the bets is not public");
    return;
  }
  if (bets === null) {
    if (round.bets.length > 0 || paid?.length > 0) report.missing("payouts", "the bets could not be read");
    return;
  }
  const unknown = unsettleable(bets, paytables);
  const due = settle(bets, unknown, paytables, new Set(numbers));
  const faults = differences(due, paid ?? [], unknown);
  if (paid === null && bets.length > 0) {
    report.missing("payouts", "no payouts line");
  } else if (faults.length === 0 && bets.some((bet) => bet.fault === null && !paytables.has(bet.paytable))) {
    report.missing("payouts", "a paytable document is missing");
  } else {
    report.faultless("payouts", faults, `winners: ${due.size} of ${bets.length}`);
  }
  if (limited && paid !== null) report.faultless("maximum wins a round", overpaid(bets, paid));
}

/**
 * The ids of the bets whose payout nobody can tell: not allowed, without their paytable, or sharing the maximum of a
 * round with such a bet, whose win would leave less for them.
 */
function unsettleable(bets, paytables) {
  const own = bets.filter((bet) => bet.fault !== null || !paytables.has(bet.paytable));
  const unsure = new Set(own.map(purse));
  const shared = bets.filter((bet) => bet.limits?.round_win_max_minor !== undefined && unsure.has(purse(bet)));
  return new Set([...own, ...shared].map((bet) => bet.id));
}

/** Whose wins of a round have one maximum: those of an account in a currency. */
function purse(bet) {
  return bet.account + bet.currency;
}

/** What each winning bet is due, by its id, in ascending order. */
function settle(bets, unknown, paytables, drawn) {
  const due = new Map();
  const sums = new Map();
  const ordered = bets.filter((bet) => !unknown.has(bet.id)).sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  for (const bet of ordered) {
    const hits = bet.picks.filter((number) => drawn.has(number)).length;
    const paytable = paytables.get(bet.paytable);
    const won = (bet.stake * paytable.multipliers[bet.picks.length][hits]) / paytable.scale;
    let payout = least(won, bet.limits.win_max_minor);
    if (bet.limits.round_win_max_minor !== undefined) {
      const before = sums.get(purse(bet)) ?? 0n;
      payout = least(payout, bet.limits.round_win_max_minor - before);
      sums.set(purse(bet), before + payout);
    }
    if (won > 0n) due.set(bet.id, winText(BigInt(hits), payout, won - payout));
  }
  return due;
}

function least(a, b) {
  return a < b ? a : b;
}

function winText(hits, payout, cut) {
  return `${payout} for ${hits} hits, ${cut} cut`;
}

function differences(due, paid, unknown) {
  const faults = [];
  const seen = new Set();
  let before = "";
  for (const win of paid) {
    if (win.bet <= before) faults.push(`bet ${win.bet} does not follow ${before}`);
    before = win.bet;
    seen.add(win.bet);
    const found = winText(win.hits, win.payout_minor, win.cut_minor);
    const expected = due.get(win.bet);
    if (found !== expected && !unknown.has(win.bet)) {
      faults.push(`bet ${win.bet}: expected ${expected ?? "nothing"}, found ${found}`);
    }
  }
  for (const [id, expected] of due) if (!seen.has(id)) faults.push(`bet ${id}: expected ${expected}, found nothing`);
  return faults;
}

/** The accounts that were paid more in the round than the rules allow, whatever was due. */
function overpaid(bets, paid) {
  const betOfId = new Map(bets.map((bet) => [bet.id, bet]));
  const sums = new Map();
  for (const win of paid) {
    const bet = betOfId.get(win.bet);
    if (bet === undefined) continue;
    const sum = sums.get(purse(bet)) ?? { bet, minor: 0n };
    sums.set(purse(bet), { bet, minor: sum.minor + win.payout_minor });
  }
  return [...sums.values()]
    .filter(({ bet, minor }) => bet.limits?.round_win_max_minor !== undefined && minor > bet.limits.round_win_max_minor)
    .map(({ bet, minor }) => `account ${bet.account} was paid ${minor}, more than the maximum`);
}
