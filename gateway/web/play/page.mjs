// The page: shows the game, and asks for bets in the player's name. All that the server says is shown as text.

import { allowedStake, moneyText } from "./money.mjs";
import { learn, speak, spoken, t } from "../texts.mjs";
import { PICKS_MAX, askedBet, lastDrawn, leftMs, newGame, onSale, reasons, recalled, told } from "./game.mjs";
import { lastBets } from "./past.mjs";
import { Session, SessionError, ticketOf } from "./session.mjs";
import { Stream } from "./stream.mjs";
import { Terms } from "./terms.mjs";

const NUMBERS = 80;
const SHOWN_EVERY_MS = 100;
const NUMBER_EVERY_MS = 120;
const PING_EVERY_MS = 30_000;
const AGAIN_MS = 3_000;
const OVER_CODES = new Set(["session_ended", "refresh_token_invalid", "refresh_token_reused"]);
const OTHER_RULES_CODES = new Set(["invalid_stake", "currency_not_offered"]);

const [at, data] = [(id) => document.getElementById(id), document.body.dataset];
const session = new Session(sessionStorage, post);
const picks = new Set();
let game = newGame();
let terms = null;
let rules = null;
let currency = "";
let stake = null;
let stream = null;
let shownRound = null;
let bar = { round: null, longest: 0 };

async function post(path, body) {
  const headers = { "Content-Type": "application/json", "Accept-Language": spoken() };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: answer.status, body: await answer.json() };
}

async function fetched(path) {
  const headers = { Authorization: `Bearer ${session.tokens.access_token}`, "Accept-Language": spoken() };
  const answer = await fetch(path, { headers });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.json();
}

function say(text) {
  at("message").textContent = text;
}

function translate(locale) {
  document.documentElement.lang = speak(locale);
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", t(element.dataset.label));
}

const amountText = (amount) => moneyText(amount, terms.exponent, currency);

// ---- the numbers, the stake, the bet ----

function makeNumbers() {
  for (let number = 1; number <= NUMBERS; number += 1) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = String(number);
    button.addEventListener("click", () => {
      if (!picks.delete(number) && picks.size < PICKS_MAX) picks.add(number);
      showPicks();
    });
    at("numbers").append(button);
  }
}

function showPicks() {
  const drawn = new Set(lastDrawn(game)?.numbers ?? []);
  [...at("numbers").children].forEach((button, place) => {
    button.setAttribute("aria-pressed", String(picks.has(place + 1)));
    button.classList.toggle("drawn", drawn.has(place + 1));
  });
  at("picked").textContent = t("{count} of 10 numbers picked", { count: picks.size });
  showBet();
}

function showBet() {
  at("bet").disabled = picks.size === 0 || stake === null || !stream?.up || onSale(game) === undefined;
  at("stake").textContent = stake === null ? "…" : amountText(stake);
}

function choose() {
  const bytes = new Uint8Array(1);
  picks.clear();
  while (picks.size < PICKS_MAX) {
    const [byte] = crypto.getRandomValues(bytes);
    if (byte < 3 * NUMBERS) picks.add((byte % NUMBERS) + 1);
  }
  showPicks();
}

function changeStake(steps) {
  if (terms === null) return;
  stake = allowedStake((stake ?? terms.least) + steps * terms.step, terms);
  showBet();
}

function freshId() {
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0"));
  return hex.join("");
}

function placeBet() {
  say("");
  const bet = askedBet(game, freshId(), picks, stake);
  if (bet === null) showBet();
  else stream.bet(bet);
}

// ---- what the server tells ----

function takeTerms(found) {
  terms = found;
  if (terms === null) {
    stake = null;
    say(t("This room does not offer your currency."));
  }
  changeStake(0n);
  showAll();
}

/**
 * Asks which rules the room goes by now, because the frames of a round do not say that it has others than the one before.
 * Where there is no answer the next refusal asks again, and the next renewal of the tokens.
 */
async function learnRules(room) {
  const { rooms } = await fetched("/v1/player/rooms");
  const found = rooms.find((each) => each.room === room);
  if (found !== undefined) rules.learn(found.rules);
}

function heard(frame) {
  game = told(game, frame, Date.now());
  if (frame.type === "snapshot") {
    if (frame.channel === "player") recall();
    if (game.rules !== null) rules.learn(game.rules);
  }
  showAll();
}

/** After each snapshot, because one has the open bets alone. Where nobody answers the next one asks again. */
async function recall() {
  try {
    game = recalled(game, await lastBets(fetched));
    showAll();
  } catch {
    // The bets of before are missing, and nothing else.
  }
}

function showAll() {
  at("balance").textContent = game.balance === null || terms === null ? "…" : amountText(game.balance);
  showDrawn();
  showPicks();
  if (terms !== null) at("bets").replaceChildren(...betLines());
}

function betLines() {
  if (game.bets.length === 0) return [line(t("No bets yet."))];
  return game.bets.map((bet) => {
    const text = [t("Round {number}", { number: bet.round.number }), bet.picks.join(" "),
      bet.stake === null ? "" : amountText(bet.stake), stateText(bet)];
    const item = line(text.filter((part) => part !== "").join(" · "), bet.payout > 0n ? "won" : "");
    if (bet.state !== "accepted") item.append(" ", verifyLink(bet.round.id));
    return item;
  });
}

function stateText(bet) {
  if (bet.state === "accepted") return t("accepted");
  if (bet.state === "returned") return t("returned {amount}", { amount: amountText(bet.payout) });
  if (bet.payout === 0n) return t("no win");
  return t("won {amount}", { amount: amountText(bet.payout) });
}

function line(text, className = "") {
  const item = document.createElement("li");
  item.textContent = text;
  item.className = className;
  return item;
}

function verifyLink(round) {
  const link = document.createElement("a");
  Object.assign(link, { href: `/verify#round=${round}`, target: "_blank", rel: "noopener", textContent: t("Verify") });
  return link;
}

function showDrawn() {
  const round = lastDrawn(game);
  if (round === undefined || round.id === shownRound) return;
  const first = shownRound === null || matchMedia("(prefers-reduced-motion: reduce)").matches;
  shownRound = round.id;
  at("drawn").replaceChildren();
  round.numbers.forEach((number, place) => {
    const show = () => {
      if (round.id === shownRound) at("drawn").append(line(String(number), picks.has(number) ? "hit" : ""));
    };
    if (first) show();
    else setTimeout(show, place * NUMBER_EVERY_MS);
  });
  at("verify").hidden = false;
  at("verify").href = `/verify#round=${round.id}`;
}

function showTime() {
  const round = onSale(game);
  if (round === undefined) {
    at("round-name").textContent = "…";
    at("countdown").textContent = t("Waiting for the next round");
    at("left").value = 0;
    return;
  }
  const left = leftMs(game, round, Date.now());
  bar = { round: round.id, longest: round.id === bar.round ? Math.max(bar.longest, left) : left };
  at("round-name").textContent = t("Round {number}", { number: round.number });
  const seconds = Math.ceil(left / 1000);
  at("countdown").textContent = left > 0 ? t("Bets close in {seconds} s", { seconds }) : t("Bets are closed");
  at("left").value = bar.longest > 0 ? left / bar.longest : 0;
}

// ---- the session, and the way to the game ----

function connect() {
  const here = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/v1/live`;
  return new WebSocket(data.live || here);
}

function follow(room) {
  game = newGame();
  shownRound = null;
  rules = new Terms({ fetched, pause, currency, on: takeTerms });
  stream = new Stream({
    connect,
    token: () => session.tokens.access_token,
    channels: [`room:${room}`, "player"],
    after: () => game.after,
    on: {
      frame: heard,
      betRefused(problem) {
        say(reasons(problem));
        if (OTHER_RULES_CODES.has(problem.code)) learnRules(room).catch(() => {});
      },
      unwelcome(problem) {
        at("connection").textContent = reasons(problem);
      },
      state(up) {
        at("connection").textContent = up ? "" : t("Connection lost. Trying again …");
        showBet();
      },
      refused: () => renewed().then((stays) => stays && setTimeout(() => stream.open(), AGAIN_MS)),
    },
  });
  stream.open();
}

function pause() {
  return new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
}

/** Gets the next tokens, however often it takes; false where the session is over. */
async function renewed() {
  for (;;) {
    try {
      await session.refresh();
      return true;
    } catch (error) {
      if (error instanceof SessionError) {
        over(error.problem);
        return false;
      }
      await pause();
    }
  }
}

function keepIn(room) {
  setTimeout(async () => {
    if (!(await renewed())) return;
    keepIn(room);
    await learnRules(room).catch(() => {});
  }, session.refreshAfterMs);
}

function over(problem) {
  at("game").hidden = true;
  at("connection").textContent = "";
  if (problem.code === "ticket_invalid") {
    say(t("This link was used before, or is too old. Start the game again from your casino."));
  } else if (OVER_CODES.has(problem.code)) {
    say(t("Your session is over. Start the game again from your casino."));
  } else {
    say(reasons(problem));
  }
}

async function chooseRoom(given) {
  if (given !== null) return given;
  const { rooms } = await fetched("/v1/player/rooms");
  if (rooms.length === 0) {
    say(t("There is no open room."));
    return null;
  }
  at("rooms").hidden = rooms.length === 1;
  at("room").replaceChildren(...rooms.map((each) => new Option(each.name, each.room)));
  const kept = sessionStorage.getItem("keno-room");
  const found = rooms.find((each) => each.room === kept) ?? rooms[0];
  at("room").value = found.room;
  at("room").addEventListener("change", () => {
    sessionStorage.setItem("keno-room", at("room").value);
    location.reload();
  });
  return found.room;
}

async function begin() {
  const ticket = ticketOf(location.hash);
  // Before anything else: the ticket must stay in no history, and in no address that somebody copies.
  if (ticket !== null) history.replaceState(null, "", location.pathname + location.search);
  at("connection").textContent = t("Connecting …");
  try {
    const found = await session.begin(ticket);
    if (found === null) {
      at("connection").textContent = "";
      say(t("This page is opened by your casino. Start the game there."));
      return;
    }
    translate(found.locale);
    currency = found.currency;
    const chosen = await chooseRoom(found.room);
    at("connection").textContent = "";
    if (chosen === null) return;
    at("game").hidden = false;
    keepIn(chosen);
    follow(chosen);
  } catch (error) {
    at("connection").textContent = "";
    if (error instanceof SessionError) over(error.problem);
    else say(t("The server does not answer. Load the page again in a moment."));
  }
}

learn(JSON.parse(data.texts), document.documentElement.lang);
makeNumbers();
showPicks();
at("choose").addEventListener("click", choose);
at("clear").addEventListener("click", () => {
  picks.clear();
  showPicks();
});
at("less").addEventListener("click", () => changeStake(-1n));
at("more").addEventListener("click", () => changeStake(1n));
at("bet").addEventListener("click", placeBet);
setInterval(showTime, SHOWN_EVERY_MS);
setInterval(() => stream?.ping(), PING_EVERY_MS);
begin();
