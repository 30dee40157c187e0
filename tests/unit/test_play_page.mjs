// What the modules of the page /play do, on node's own test runner.

import assert from "node:assert/strict";
import { test } from "node:test";

import { askedBet, lastDrawn, leftMs, newGame, onSale, reasons, recalled, told } from "../../gateway/web/play/game.mjs";
import { lastBets } from "../../gateway/web/play/past.mjs";
import { allowedStake, minor, moneyText } from "../../gateway/web/play/money.mjs";
import { Session, SessionError, ticketOf } from "../../gateway/web/play/session.mjs";
import { Stream, askedPauseMs, pauseMs } from "../../gateway/web/play/stream.mjs";
import { Terms, allowedBy } from "../../gateway/web/play/terms.mjs";
import { learn, speak, t } from "../../gateway/web/texts.mjs";

const ROOM = "room:6f1c";

test("amounts are shown with all decimals of their currency", () => {
  assert.equal(moneyText(1234n, 2, "EUR"), "12.34 EUR");
  assert.equal(moneyText(5n, 2, "EUR"), "0.05 EUR");
  assert.equal(moneyText(-5n, 2, "EUR"), "-0.05 EUR");
  assert.equal(moneyText(0n, 0, "JPY"), "0 JPY");
  assert.equal(moneyText(150n, 0, "JPY"), "150 JPY");
  assert.equal(moneyText(1n, 8, "BTC"), "0.00000001 BTC");
  assert.equal(moneyText(minor(Number.MAX_SAFE_INTEGER), 2, "EUR"), "90071992547409.91 EUR");
});

test("what is no integer of minor units is no amount", () => {
  for (const wrong of [0.5, "1", null, undefined, 2 ** 53, Number.NaN]) assert.throws(() => minor(wrong), RangeError);
});

test("a stake stays within the limits and on their steps", () => {
  const limits = { least: 100n, greatest: 1000n, step: 250n };
  assert.equal(allowedStake(1n, limits), 100n);
  assert.equal(allowedStake(400n, limits), 350n);
  assert.equal(allowedStake(9999n, limits), 850n);
});

test("texts are said in the language of the locale, and in English where it is not there", () => {
  learn({ en: {}, de: { "Round {number}": "Runde {number}" } }, "en");
  assert.equal(t("Round {number}", { number: 7 }), "Round 7");
  assert.equal(speak("de-AT"), "de");
  assert.equal(t("Round {number}", { number: 7 }), "Runde 7");
  assert.equal(t("Unknown {x}"), "Unknown {x}");
  assert.equal(t("{a}", { a: "{b}", b: "c" }), "{b}");
  assert.equal(speak("zh-Hant"), "en");
});

function opened(number, seq) {
  return { type: "round.opened", channel: ROOM, seq, round: { id: String(100 + number), number }, commit: "", opened_ms: 1000,
    lock_due_ms: 5000, draw_due_ms: 6000 };
}

test("a round is on sale, locked, drawn and settled as it is told", () => {
  let game = told(newGame(), opened(1, 1), 1000);
  assert.deepEqual(onSale(game), { id: "101", number: 1, lockDueMs: 5000, numbers: null, phase: "open" });
  game = told(game, { type: "round.locked", channel: ROOM, seq: 2, round: { id: "101", number: 1 } }, 5000);
  assert.equal(onSale(game), undefined);
  game = told(game, { type: "round.drawn", channel: ROOM, seq: 3, round: { id: "101", number: 1 }, numbers: [3, 1] }, 6000);
  game = told(game, opened(2, 4), 6000);
  assert.deepEqual(lastDrawn(game).numbers, [3, 1]);
  assert.equal(onSale(game).number, 2);
  assert.deepEqual(game.after, { [ROOM]: 4 });
});

test("a bet names the round on sale, and without one there is no bet", () => {
  const game = told(newGame(), opened(1, 1), 1000);
  assert.deepEqual(askedBet(game, "x", new Set([30, 4]), 100n),
    { transaction_id: "x", round: "101", picks: [4, 30], stake_minor: 100 });
  const locked = told(game, { type: "round.locked", channel: ROOM, seq: 2, round: { id: "101", number: 1 } }, 5000);
  assert.equal(askedBet(locked, "x", new Set([30, 4]), 100n), null);
});

test("a snapshot replaces what was known of the room", () => {
  const round = { round: { id: "7", number: 7, phase: "drawn" }, lock_due_ms: 1, numbers: [1, 2], rules: "ab" };
  const game = told(told(newGame(), opened(1, 1), 0), { type: "snapshot", channel: ROOM, seq: 9, rounds: [round] }, 0);
  assert.deepEqual(game.rounds.map(({ id }) => id), ["7"]);
  assert.equal(game.rules, "ab");
});

test("the time that is left goes by the server's clock", () => {
  const early = told(newGame(), opened(1, 1), 400);
  assert.equal(leftMs(early, onSale(early), 400), 4000);
  const better = told(early, { ...opened(2, 2), opened_ms: 1000, lock_due_ms: 5000 }, 300);
  assert.equal(leftMs(better, onSale(better), 300), 4000);
  assert.equal(leftMs(better, onSale(better), 99_999), 0);
});

const bet = { bet_id: "12", round: { id: "101", number: 1 }, picks: [1, 2], stake_minor: 100, accepted_ms: 1 };

test("a bet stands once however often it is told of, and ends as it is told", () => {
  let game = told(newGame(), { type: "bet.answer", id: "b1", bet }, 0);
  game = told(game, { type: "bet.accepted", channel: "player", seq: 1, bet }, 0);
  assert.equal(game.bets.length, 1);
  game = told(game, { type: "bet.settled", channel: "player", seq: 2, bet_id: "12", round: bet.round, hits: 2,
    payout_minor: 500 }, 0);
  game = told(game, { type: "bet.accepted", channel: "player", seq: 3, bet }, 0);
  assert.deepEqual(game.bets.map(({ state, payout, picks }) => ({ state, payout, picks })),
    [{ state: "settled", payout: 500n, picks: [1, 2] }]);
});

test("stakes of a void round are shown as returned, of bets of another device too", () => {
  const game = told(newGame(), { type: "bet.settled", channel: "player", seq: 1, bet_id: "9", round: bet.round, hits: null,
    payout_minor: 100 }, 0);
  assert.deepEqual(game.bets.map(({ state, payout }) => [state, payout]), [["returned", 100n]]);
});

test("a player's snapshot has the balance and the open bets, and leaves those that ended", () => {
  const ended = told(newGame(), { type: "bet.settled", channel: "player", seq: 1, bet_id: "9", round: bet.round, hits: 0,
    payout_minor: 0 }, 0);
  const game = told(ended, { type: "snapshot", channel: "player", seq: 5, balance_minor: 42, currency: "EUR",
    open_bets: [bet] }, 0);
  assert.equal(game.balance, 42n);
  assert.deepEqual(game.bets.map(({ id, state }) => [id, state]), [["12", "accepted"], ["9", "settled"]]);
});

function lookedUp(id, phase, result = null) {
  return { ...bet, bet_id: id, round: { ...bet.round, phase }, result };
}

test("bets that had ended before the page was there are shown as they ended, below those that are open", () => {
  const open = told(newGame(), { type: "snapshot", channel: "player", seq: 5, balance_minor: 42, currency: "EUR",
    open_bets: [bet] }, 0);
  const found = [lookedUp("12", "settled", { payout_minor: 9 }), lookedUp("11", "settled", { payout_minor: 500 }),
    lookedUp("10", "settled", { payout_minor: 0 }), lookedUp("9", "void"), lookedUp("8", "drawn")];
  const game = recalled(open, found);
  assert.deepEqual(game.bets.map(({ id, state, payout, picks }) => [id, state, payout, picks]), [
    ["12", "accepted", null, [1, 2]], ["11", "settled", 500n, [1, 2]], ["10", "settled", 0n, [1, 2]],
    ["9", "returned", 100n, [1, 2]]]);
  assert.deepEqual(recalled(game, found), game);
});

test("a bet that ended on another device gets its numbers and its stake", () => {
  const ended = told(newGame(), { type: "bet.settled", channel: "player", seq: 1, bet_id: "9", round: bet.round, hits: 0,
    payout_minor: 0 }, 0);
  const [shown] = recalled(ended, [lookedUp("9", "settled", { payout_minor: 0 })]).bets;
  assert.deepEqual([shown.picks, shown.stake, shown.payout], [[1, 2], 100n, 0n]);
});

test("the last ten bets of the history are looked up, and a history without any asks for nothing more", async () => {
  const asked = [];
  let entries = [{ kind: "win", bet_id: "30" }, { kind: "deposit", bet_id: null }];
  for (let id = 30; id > 10; id -= 1) entries.push({ kind: "bet", bet_id: String(id) });
  const fetched = async (path) => {
    asked.push(path);
    return path.startsWith("/v1/player/history") ? { entries } : { bet_id: path.slice("/v1/player/bets/".length) };
  };
  assert.deepEqual((await lastBets(fetched)).map((each) => each.bet_id),
    ["30", "29", "28", "27", "26", "25", "24", "23", "22", "21"]);
  entries = [{ kind: "deposit", bet_id: null }];
  asked.length = 0;
  assert.deepEqual([await lastBets(fetched), asked.length], [[], 1]);
});

test("a problem says each thing once, and always what would be right", () => {
  const problem = { title: "Round not open", detail: "Round not open", remedy: "Bet on a round before its lock." };
  assert.equal(reasons(problem), "Round not open\nBet on a round before its lock.");
  assert.equal(reasons({ ...problem, detail: "round 7 is locked" }),
    "Round not open\nround 7 is locked\nBet on a round before its lock.");
});

const euro = { exponent: 2, stake_min_minor: 10, stake_max_minor: 500, stake_step_minor: 5 };

test("stakes are allowed by the room's rules, and none in a currency that they leave out", () => {
  assert.deepEqual(allowedBy({ currencies: { EUR: euro } }, "EUR"), { exponent: 2, least: 10n, greatest: 500n, step: 5n });
  assert.equal(allowedBy({ currencies: { EUR: euro } }, "JPY"), null);
});

test("rules are asked for until they are there, and again when the room has others", async () => {
  const asked = [];
  const held = [];
  let failures = 3;
  const fetched = async (path) => {
    asked.push(path);
    failures -= 1;
    if (failures >= 0) throw new Error("the server answered 503");
    return { currencies: { EUR: { ...euro, stake_min_minor: path === "/v1/rules/aa" ? 10 : 20 } } };
  };
  const terms = new Terms({ fetched, pause: async () => {}, currency: "EUR", on: ({ least }) => held.push(least) });
  await terms.learn("aa");
  await terms.learn("aa");
  assert.deepEqual([asked.length, held], [4, [10n]]);
  await terms.learn("bb");
  assert.deepEqual([asked.length, held], [5, [10n, 20n]]);
});

class FakeStorage {
  constructor() {
    this.kept = new Map();
  }
  getItem(name) {
    return this.kept.get(name) ?? null;
  }
  setItem(name, value) {
    this.kept.set(name, value);
  }
  removeItem(name) {
    this.kept.delete(name);
  }
}

const tokens = (n) => ({ access_token: `a${n}`, refresh_token: `r${n}`, expires_in_s: 900, session: { locale: "de" } });

test("the ticket stands in the fragment", () => {
  assert.equal(ticketOf("#ticket=abc-_"), "abc-_");
  assert.equal(ticketOf(""), null);
  assert.equal(ticketOf("#other"), null);
});

test("a session begins with its ticket and goes on in the same tab", async () => {
  const storage = new FakeStorage();
  const asked = [];
  const post = async (path, body) => {
    asked.push([path, body]);
    return { status: 200, body: tokens(asked.length) };
  };
  assert.deepEqual(await new Session(storage, post).begin("t"), { locale: "de" });
  const again = new Session(storage, post);
  await again.begin(null);
  assert.deepEqual(asked, [["/v1/auth/exchange", { ticket: "t" }], ["/v1/auth/refresh", { refresh_token: "r1" }]]);
  await Promise.all([again.refresh(), again.refresh()]);
  assert.equal(asked.length, 3);
  assert.equal(again.tokens.access_token, "a3");
  assert.equal(await new Session(new FakeStorage(), post).begin(null), null);
});

test("a ticket that was used ends with the server's own words and keeps nothing", async () => {
  const storage = new FakeStorage();
  storage.setItem("keno-session", "old");
  const problem = { code: "ticket_invalid", title: "Ticket nicht gültig", remedy: "Neu starten." };
  const session = new Session(storage, async () => ({ status: 401, body: problem }));
  await assert.rejects(session.begin("t"), (error) => error instanceof SessionError && error.problem.title === problem.title);
  assert.equal(storage.getItem("keno-session"), null);
});

test("a server that does not answer ends no session", async () => {
  const storage = new FakeStorage();
  storage.setItem("keno-session", "r1");
  const session = new Session(storage, async () => ({ status: 503, body: {} }));
  await assert.rejects(session.begin(null), (error) => !(error instanceof SessionError));
  assert.equal(storage.getItem("keno-session"), "r1");
});

function fakeStream() {
  const sockets = [];
  const heard = [];
  const pauses = [];
  const on = { frame: (frame) => heard.push(frame), state: (up) => heard.push(up), refused: (code) => heard.push(code),
    betRefused: ({ code }) => heard.push(["bet", code]), unwelcome: ({ code }) => heard.push(["connection", code]) };
  const connect = () => {
    const socket = { readyState: 1, sent: [], send: (data) => socket.sent.push(JSON.parse(data)), close: () => {} };
    sockets.push(socket);
    return socket;
  };
  const later = (work, ms) => pauses.push([work, ms]);
  const stream = new Stream({ connect, token: () => "a", channels: ["player"], after: () => ({ player: 4 }), on, later,
    random: () => 1 });
  const say = (frame) => sockets.at(-1).onmessage({ data: JSON.stringify(frame) });
  const enter = () => {
    sockets.at(-1).onopen();
    say({ type: "welcome" });
    say({ type: "subscribed", id: "s", channels: ["player"] });
  };
  return { stream, sockets, heard, pauses, say, enter };
}

test("the stream says who is there, and follows from where it was", () => {
  const { stream, sockets, enter } = fakeStream();
  stream.open();
  enter();
  assert.deepEqual(sockets[0].sent, [{ type: "authenticate", token: "a" },
    { type: "subscribe", id: "s", channels: ["player"], after: { player: 4 } }]);
});

test("a bet that was not answered is sent again after a reconnection, as the same bet", () => {
  const { stream, sockets, heard, pauses, say, enter } = fakeStream();
  stream.open();
  enter();
  stream.bet({ transaction_id: "x" });
  sockets[0].onclose({ code: 1006, reason: "" });
  assert.equal(pauses.at(-1)[1], 500);
  pauses.at(-1)[0]();
  enter();
  assert.deepEqual(sockets[1].sent.at(-1), { type: "bet", id: "b1", bet: { transaction_id: "x" } });
  say({ type: "bet.answer", id: "b1", status: 201, bet: {} });
  assert.equal(heard.at(-1).type, "bet.answer");
  sockets[1].onclose({ code: 1006, reason: "" });
  pauses.at(-1)[0]();
  enter();
  assert.equal(sockets[2].sent.at(-1).type, "subscribe");
});

test("a refused bet is told apart from a refused connection, which needs no player", () => {
  const { stream, sockets, heard, say, enter } = fakeStream();
  stream.open();
  sockets[0].onopen();
  say({ type: "problem", status: 401, problem: { code: "token_expired" } });
  assert.deepEqual(heard.at(-1), ["connection", "token_expired"]);
  enter();
  stream.bet({ transaction_id: "x" });
  say({ type: "problem", id: "b1", status: 409, problem: { code: "round_not_open" } });
  assert.deepEqual(heard.at(-1), ["bet", "round_not_open"]);
  sockets[0].onclose({ code: 1006, reason: "" });
  stream.open();
  enter();
  assert.equal(sockets[1].sent.at(-1).type, "subscribe");
});

test("a session that is over is not tried again by the stream itself", () => {
  const { stream, sockets, heard, pauses, enter } = fakeStream();
  stream.open();
  enter();
  sockets[0].onclose({ code: 4403, reason: "the session is over" });
  assert.deepEqual(heard.slice(-2), [false, 4403]);
  assert.equal(pauses.length, 0);
});

test("a restart says when to come back, and failures make pauses longer up to a limit", () => {
  assert.equal(askedPauseMs(1012, "restart: connect again in 1250 ms and subscribe with after"), 1250);
  assert.equal(askedPauseMs(1012, "再起動: 1250 ms後に再接続しafter付きで購読"), 1250);
  assert.equal(askedPauseMs(1006, ""), null);
  assert.deepEqual([0, 1, 2, 10].map((failures) => pauseMs(failures, 1)), [500, 1000, 2000, 10_000]);
  assert.equal(pauseMs(0, 0), 250);
});

test("a connection that gives no sign of life is given up", () => {
  const { stream, sockets, pauses, say, enter } = fakeStream();
  stream.open();
  enter();
  let closed = 0;
  sockets[0].close = () => {
    closed += 1;
  };
  stream.ping();
  say({ type: "pong" });
  pauses.at(-1)[0]();
  assert.equal(closed, 0);
  stream.ping();
  pauses.at(-1)[0]();
  assert.equal(closed, 1);
});
