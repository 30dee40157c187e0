// What the lines of a bundle and the published documents must look like (evidence.md). Lines become plain objects whose
// bytes are hex text and whose integers are BigInt; anything else about them throws Malformed.

import { Malformed } from "./json.mjs";
import { checkpointOf } from "./log.mjs";

const U8 = integer(8);
const U32 = integer(32);
const U64 = integer(64);
const HASH = hex(32);
const ROOM = hex(16);
const PICKS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];

const CURRENCY = {
  exponent: U8,
  stake_min_minor: U64,
  stake_max_minor: U64,
  stake_step_minor: integer(64, 1n),
  win_max_minor: U64,
};
const RULES = {
  protocol: string,
  numbers: U8,
  drawn: U8,
  profile: string,
  guard_ms: U64,
  beacon_chain: (value) => (value === null ? null : string(value)),
  rtp_bounds: list(fraction, 2),
  paytables: list(HASH),
  currencies: currencies,
};
const PAYTABLE = {
  name: string,
  version: U64,
  scale: integer(64, 1n),
  multipliers: object(Object.fromEntries(PICKS.map((picks) => [picks, list(U64, Number(picks) + 1)]))),
  rtp: object(Object.fromEntries(PICKS.map((picks) => [picks, fraction]))),
};
const DOCUMENT = { type: string, kind: oneOf("rules", "paytable"), hash: HASH, text: string };
const EPOCH = {
  type: string,
  room: ROOM,
  first: U64,
  count: U32,
  commits_root: HASH,
  key_commit: HASH,
  opened_ms: U64,
  epoch: HASH,
};
const WIN = { bet: hex(16), hits: U64, payout_minor: U64, cut_minor: U64 };
const PAYOUTS = { type: string, room: ROOM, round: U64, payouts: list(object(WIN)) };
const CHAIN = {
  type: string,
  hash: HASH,
  public_key: hex(96),
  period: U32,
  genesis_time: U64,
  group_hash: HASH,
  beacon_id: string,
};
const LOG_ENTRY = { index: U64, entry: hex(null), path: list(HASH) };
const LOG = {
  type: string,
  room: ROOM,
  round: U64,
  checkpoint: (value) => checkpointOf(string(value)),
  entries: list(object(LOG_ENTRY), 3),
};
const SEEN = { type: string, room: ROOM, round: U64, public_key: HASH, seen_ms: U64, signature: hex(64) };
const ANCHOR = {
  type: string,
  room: ROOM,
  round: U64,
  chain_id: integer(64, 1n),
  contract: hex(20),
  transaction: HASH,
  block: U64,
  size: integer(64, 1n),
  root: HASH,
  paths: list(list(HASH), 3),
};
const ROUND = {
  type: string,
  profile: oneOf("S", "E", "B"),
  room: ROOM,
  round: U64,
  epoch_first: U64,
  epoch_count: U32,
  key_commit: HASH,
  commits_root: HASH,
  commit: HASH,
  commit_path: list(HASH),
  rules: HASH,
  bets_root: HASH,
  bets_count: U64,
  lock_ms: U64,
  guard_ms: U64,
  beacon_round: U64,
  beacon_sig: hex(null),
  prev_lock: HASH,
  lock: HASH,
  seed: HASH,
};
const DRAWN = { x: HASH, beacon: HASH, block0: HASH, numbers: list(U64), result: HASH };
const VOID = { void: HASH, void_reason: U8 };

/** A line of a bundle from its JSON value. */
export function lineOf(value) {
  const type = value instanceof Map ? value.get("type") : undefined;
  if (type === "document") return object(DOCUMENT)(value);
  if (type === "epoch") return object(EPOCH)(value);
  if (type === "payouts") return object(PAYOUTS)(value);
  if (type === "chain") return object(CHAIN)(value);
  if (type === "log") return object(LOG)(value);
  if (type === "seen") return object(SEEN)(value);
  if (type === "anchor") return object(ANCHOR)(value);
  if (type === "round") return roundOf(value);
  throw new Malformed("not an object of a known type");
}

export const rulesOf = object(RULES);
export const paytableOf = object(PAYTABLE);

/** The round and the signature of one of drand's answers, which may say more. */
export function beaconOf(value) {
  if (!(value instanceof Map) || !value.has("round") || !value.has("signature")) {
    throw new Malformed("not a drand answer");
  }
  return { round: U64(value.get("round")), signature: hex(null)(value.get("signature")) };
}

/** Which of the alternatives of a round line this one shows, its keys say. */
function roundOf(value) {
  const bets = value.has("bet_leaves") ? { bet_leaves: list(HASH) } : { bets: list(hex(null)) };
  const outcome = value.has("void") ? VOID : DRAWN;
  const key = value.has("epoch_key") ? { epoch_key: HASH } : {};
  return object({ ...ROUND, ...bets, ...outcome, ...key })(value);
}

export function object(fields) {
  return (value) => {
    if (!(value instanceof Map)) throw new Malformed("not an object");
    for (const key of value.keys()) {
      if (!Object.hasOwn(fields, key)) throw new Malformed(`unknown key ${JSON.stringify(key.slice(0, 40))}`);
    }
    const members = {};
    for (const [key, read] of Object.entries(fields)) {
      if (!value.has(key)) throw new Malformed(`no key ${key}`);
      members[key] = within(key, () => read(value.get(key)));
    }
    return members;
  };
}

function within(key, read) {
  try {
    return read();
  } catch (error) {
    if (error instanceof Malformed) error.message = `${key}: ${error.message}`;
    throw error;
  }
}

export function list(item, length = null) {
  return (value) => {
    if (!Array.isArray(value)) throw new Malformed("not a list");
    if (length !== null && value.length !== length) throw new Malformed(`not a list of ${length}`);
    return value.map((member) => item(member));
  };
}

export function string(value) {
  if (typeof value !== "string") throw new Malformed("not a string");
  return value;
}

function oneOf(...words) {
  return (value) => {
    if (!words.includes(value)) throw new Malformed(`none of ${words.join(", ")}`);
    return value;
  };
}

/** Hex of `size` bytes, or of any number if `size` is null. */
export function hex(size) {
  return (value) => {
    if (typeof value !== "string" || value.length % 2 === 1 || /[^0-9a-f]/.test(value)) {
      throw new Malformed("not lower-case hex");
    }
    if (size !== null && value.length !== 2 * size) throw new Malformed(`not ${size} bytes`);
    return value;
  };
}

export function integer(bits, least = 0n) {
  return (value) => {
    if (typeof value !== "bigint" || value < least || value >> BigInt(bits) !== 0n) {
      throw new Malformed(`not an integer of ${bits} bits, ${least} or more`);
    }
    return value;
  };
}

/** "47/50" as { over, under }, in lowest terms. */
function fraction(value) {
  const match = /^([0-9]{1,60})\/([0-9]{1,60})$/.exec(string(value));
  if (match === null) throw new Malformed("not a fraction");
  const [over, under] = [BigInt(match[1]), BigInt(match[2])];
  if (under === 0n || divisor(over, under) !== 1n || `${over}/${under}` !== value) {
    throw new Malformed("not a fraction in lowest terms");
  }
  return { over, under };
}

function divisor(a, b) {
  return b === 0n ? a : divisor(b, a % b);
}

/** A Map from a currency's code to its limits. */
function currencies(value) {
  if (!(value instanceof Map)) throw new Malformed("not an object");
  const found = new Map();
  for (const [code, limits] of value) {
    if (!/^[0-9A-Za-z]{1,8}$/.test(code)) throw new Malformed("not the code of a currency");
    const roundMaximum = limits instanceof Map && limits.has("round_win_max_minor");
    const fields = roundMaximum ? { ...CURRENCY, round_win_max_minor: U64 } : CURRENCY;
    found.set(code, within(code, () => object(fields)(limits)));
  }
  return found;
}
