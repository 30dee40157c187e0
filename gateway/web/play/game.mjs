// What the player sees of the game, made of what the server tells. It knows no rule by which anything is drawn or won:
// numbers, hits and payouts are shown as they were told.

import { minor } from "./money.mjs";

export const PICKS_MAX = 10;
const BETS_SHOWN_MAX = 20;
const PHASES = { "round.opened": "open", "round.locked": "locked", "round.drawn": "drawn", "round.settled": "settled",
  "round.voided": "void" };
const ENDED = new Set(["settled", "void"]);

/** A game of which nothing was told yet. */
export function newGame() {
  return { after: {}, balance: null, rules: null, rounds: [], bets: [], clockAheadMs: null };
}

/** The game after a frame; the same object where the frame changes nothing. `nowMs` is the time here. */
export function told(game, frame, nowMs) {
  const next = frame.channel === undefined ? game : { ...game, after: { ...game.after, [frame.channel]: frame.seq } };
  if (frame.type === "snapshot") return frame.channel === "player" ? playerSnapshot(next, frame) : roomSnapshot(next, frame);
  if (frame.type in PHASES) return roundTold(clockHeard(next, frame.opened_ms, nowMs), frame);
  if (frame.type === "balance") return { ...next, balance: minor(frame.balance_minor) };
  if (frame.type === "bet.accepted") return betStands(next, frame.bet);
  if (frame.type === "bet.answer") return betStands(clockHeard(next, frame.bet.accepted_ms, nowMs), frame.bet);
  if (frame.type === "bet.settled") return betSettled(next, frame);
  return next;
}

/** The game with bets that were looked up, of those that have ended: the open ones are told of. */
export function recalled(game, bets) {
  const told = new Set(game.bets.filter((bet) => bet.stake !== null).map((bet) => bet.id));
  const ended = bets.filter((bet) => !told.has(bet.bet_id) && ENDED.has(bet.round.phase)).map(endedBet);
  const ids = new Set(ended.map((bet) => bet.id));
  return { ...game, bets: shownBets([...ended, ...game.bets.filter((bet) => !ids.has(bet.id))]) };
}

/** The round on sale, or undefined. */
export function onSale(game) {
  return game.rounds.find((round) => round.phase === "open");
}

/**
 * The bet to ask for on the round on sale, or null where there is none. It names the round and not the room: asked for
 * again after a lost connection, it must not come to stand in a round that nobody chose.
 */
export function askedBet(game, id, picks, stake) {
  const round = onSale(game);
  if (round === undefined) return null;
  return { transaction_id: id, round: round.id, picks: [...picks].sort((a, b) => a - b), stake_minor: Number(stake) };
}

/** What a problem says, a line for each thing: a problem without a detail of its own repeats its title there. */
export function reasons({ title, detail, remedy }) {
  return [...new Set([title, detail, remedy])].filter((each) => each).join("\n");
}

/** The newest round whose numbers are known, or undefined. */
export function lastDrawn(game) {
  return game.rounds.find((round) => round.numbers !== null);
}

/** How long a round still takes bets, in ms; 0 once it takes none. */
export function leftMs(game, round, nowMs) {
  return Math.max(0, round.lockDueMs - nowMs - (game.clockAheadMs ?? 0));
}

// What the server says has happened was not later than we heard of it: of all such differences the largest is the truest.
function clockHeard(game, serverMs, nowMs) {
  if (serverMs === undefined) return game;
  return { ...game, clockAheadMs: Math.max(game.clockAheadMs ?? -Infinity, serverMs - nowMs) };
}

function roomSnapshot(game, frame) {
  const rounds = frame.rounds.map((round) => ({
    id: round.round.id,
    number: round.round.number,
    phase: round.round.phase,
    lockDueMs: round.lock_due_ms,
    numbers: round.numbers,
  }));
  const [newest] = frame.rounds;
  return { ...game, rounds, rules: newest === undefined ? game.rules : newest.rules };
}

function roundTold(game, frame) {
  const known = game.rounds.find((round) => round.id === frame.round.id);
  const round = { id: frame.round.id, number: frame.round.number, lockDueMs: 0, numbers: null, ...known,
    phase: PHASES[frame.type] };
  if (frame.lock_due_ms !== undefined) round.lockDueMs = frame.lock_due_ms;
  if (frame.numbers !== undefined) round.numbers = frame.numbers;
  const others = game.rounds.filter((each) => each.id !== round.id);
  const rounds = [round, ...others].sort((a, b) => b.number - a.number).slice(0, 5);
  return { ...game, rounds };
}

function playerSnapshot(game, frame) {
  const open = frame.open_bets.map((bet) => shownBet(bet));
  const ids = new Set(open.map((bet) => bet.id));
  const ended = game.bets.filter((bet) => bet.state !== "accepted" && !ids.has(bet.id));
  return { ...game, balance: minor(frame.balance_minor), bets: shownBets([...open, ...ended]) };
}

function betStands(game, bet) {
  // It may have been told of in another way, and may have ended since.
  if (game.bets.some((each) => each.id === bet.bet_id)) return game;
  return { ...game, bets: shownBets([shownBet(bet), ...game.bets]) };
}

function betSettled(game, frame) {
  const known = game.bets.find((bet) => bet.id === frame.bet_id) ?? { id: frame.bet_id, picks: [], stake: null };
  const bet = { ...known, round: frame.round, state: frame.hits === null ? "returned" : "settled", hits: frame.hits,
    payout: minor(frame.payout_minor) };
  return { ...game, bets: shownBets([bet, ...game.bets.filter((each) => each.id !== bet.id)]) };
}

function shownBet(bet) {
  return { id: bet.bet_id, round: bet.round, picks: bet.picks, stake: minor(bet.stake_minor), state: "accepted", hits: null,
    payout: null };
}

function endedBet(bet) {
  const shown = shownBet(bet);
  // Of a void round the stake goes back.
  if (bet.result === null) return { ...shown, state: "returned", payout: shown.stake };
  return { ...shown, state: "settled", payout: minor(bet.result.payout_minor) };
}

function shownBets(bets) {
  return bets.sort((a, b) => (BigInt(a.id) < BigInt(b.id) ? 1 : -1)).slice(0, BETS_SHOWN_MAX);
}
