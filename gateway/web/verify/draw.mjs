// Commitments, locks, beacons and draws of keno1 (fairness.md), recomputed for one round.

import { bytesOf, hmacUnder, leafHash, rootOfPath, sha256, tagged, uint, utf8 } from "./bytes.mjs";

const GENESIS_MS = 1692803367000n;
const PERIOD_MS = 3000n;
const EPOCH_BEACON_DELAY_MS = 30000n;
const SIGNATURE_BYTES = 48;
const NOTHING = "00".repeat(32);

const u64 = (value) => uint(value, 8);
const contextOf = (round) => round.room + u64(round.round);

/** The seed was fixed with all others of its epoch. */
export async function checkCommitment(round, report) {
  const context = contextOf(round);
  if (round.epoch_key === undefined) {
    report.skip("key_commit", "the epoch key is not revealed before the epoch is over");
    report.skip("seed", "the epoch key is not revealed before the epoch is over");
  } else {
    report.equal("key_commit", await tagged("keno1:ekey", round.epoch_key), round.key_commit);
    const underKey = await hmacUnder(round.epoch_key);
    report.equal("seed", await underKey(utf8("keno1:seed") + context), round.seed);
  }
  report.equal("commit", await tagged("keno1:commit", context, round.seed), round.commit);
  const index = round.round - round.epoch_first;
  const root = await rootOfPath(await leafHash(context + round.commit), index, round.epoch_count, round.commit_path);
  if (root === null) {
    report.fail("commits_root", `this path proves no leaf ${index} of ${round.epoch_count}`);
  } else {
    report.equal("commits_root", root, round.commits_root);
  }
}

/** The epoch was published whole and before the lock, and holds the round's commitment. `epoch` may be undefined. */
export async function checkEpoch(round, epoch, report) {
  if (epoch === undefined) {
    report.missing("epoch", `no epoch line for ${round.epoch_count} rounds from ${round.epoch_first} on`);
    return;
  }
  const span = u64(epoch.first) + uint(epoch.count, 4);
  const hash = tagged("keno1:epoch", epoch.room, span, epoch.commits_root, epoch.key_commit, u64(epoch.opened_ms));
  report.equal("epoch", await hash, epoch.epoch);
  report.equal("epoch commits_root", round.commits_root, epoch.commits_root);
  report.equal("epoch key_commit", round.key_commit, epoch.key_commit);
  const late = epoch.opened_ms < round.lock_ms ? [] : [`opened at ${epoch.opened_ms}, locked at ${round.lock_ms}`];
  report.faultless("epoch opened before the lock", late);
}

/** The first beacon at this time or later. */
function beaconRoundAt(timeMs) {
  const since = timeMs - GENESIS_MS;
  return since <= 0n ? 1n : (since + PERIOD_MS - 1n) / PERIOD_MS + 1n;
}

/** Nobody chose the beacon: the clock did. */
export function checkBeaconRound(round, epoch, report) {
  if (round.profile === "S") {
    report.equal("beacon_round", 0n, round.beacon_round);
    return;
  }
  if (round.profile === "B") {
    report.equal("beacon_round", beaconRoundAt(round.lock_ms + round.guard_ms), round.beacon_round);
    return;
  }
  if (epoch === undefined) {
    report.missing("beacon_round", "the epoch line is missing");
  } else {
    const dueMs = epoch.opened_ms + EPOCH_BEACON_DELAY_MS + round.guard_ms;
    report.equal("beacon_round", beaconRoundAt(dueMs), round.beacon_round);
  }
  const publishedMs = GENESIS_MS + (round.beacon_round - 1n) * PERIOD_MS;
  const late = publishedMs < round.lock_ms ? [] : [`beacon due at ${publishedMs}, locked at ${round.lock_ms}`];
  report.faultless("beacon before the lock", late);
}

/** The beacon is that of the signature, and the signature that of the auditor's copy; `drand` is null without one. */
export async function checkBeacon(round, drand, report) {
  const drawn = round.numbers !== undefined;
  if (round.profile === "S") {
    report.equal("beacon signature", "", round.beacon_sig);
    if (drawn) report.equal("beacon", NOTHING, round.beacon);
    return;
  }
  if (drawn) report.equal("beacon", await sha256(round.beacon_sig), round.beacon);
  if (!drawn && round.beacon_sig === "") {
    report.skip("beacon signature", "the round is void and shows none");
  } else if (round.beacon_sig.length !== 2 * SIGNATURE_BYTES) {
    report.fail("beacon signature", `${round.beacon_sig.length / 2} bytes, quicknet's have ${SIGNATURE_BYTES}`);
  } else if (drand === null) {
    const reason = `no BLS signatures here; give your own copy of drand round ${round.beacon_round}`;
    if (drawn) report.missing("beacon signature", reason);
    else report.skip("beacon signature", reason);
  } else if (!drand.has(round.beacon_round)) {
    report.missing("beacon signature", `your beacons have no round ${round.beacon_round}`);
  } else {
    report.equal("beacon signature", drand.get(round.beacon_round), round.beacon_sig);
  }
}

/** The lock fixes all that enters the round, before its seed is known. */
export async function checkLock(round, report) {
  const bets = round.bets_root + u64(round.bets_count);
  const times = u64(round.lock_ms) + u64(round.beacon_round);
  const fields = [contextOf(round), round.commit, round.rules, bets, times, round.prev_lock];
  report.equal("lock", await tagged("keno1:lock", ...fields), round.lock);
}

/** Seed, X and beacon make the numbers, and nothing else does. Returns the numbers as they should be. */
export async function checkDraw(round, report) {
  const pre = await tagged("keno1:pre", contextOf(round), round.commit, u64(round.beacon_round));
  report.equal("x", round.profile === "B" ? round.lock : pre, round.x);
  const underSeed = await hmacUnder(round.seed);
  const blockOf = (index) => underSeed(utf8("keno1:draw") + round.x + round.beacon + uint(index, 4));
  report.equal("block0", await blockOf(0), round.block0);
  const numbers = await drawn(blockOf);
  report.equal("numbers", numbers.join(" "), round.numbers.join(" "));
  const shown = numbers.map((number) => uint(number, 1)).join("");
  report.equal("result", await tagged("keno1:result", round.lock, round.seed, round.beacon, shown), round.result);
  return numbers;
}

async function drawn(blockOf) {
  const numbers = new Set();
  for (let index = 0; ; index += 1) {
    for (const byte of bytesOf(await blockOf(index))) {
      if (byte < 240) numbers.add((byte % 80) + 1);
      if (numbers.size === 20) return [...numbers];
    }
  }
}

export async function checkVoid(round, report) {
  const hash = tagged("keno1:void", round.lock, round.seed, uint(round.void_reason, 1));
  report.equal("void", await hash, round.void);
}

/** The locks of all rounds that were given, by room. */
export class Chain {
  constructor(files) {
    this.rooms = new Map();
    for (const evidence of files) for (const round of evidence.rounds) this.#add(round, evidence);
    for (const room of this.rooms.values()) room.numbers = [...room.locks.keys()].sort((a, b) => (a < b ? -1 : 1));
  }

  #add(round, evidence) {
    if (!this.rooms.has(round.room)) this.rooms.set(round.room, { locks: new Map(), known: new Set([NOTHING]) });
    const { locks, known } = this.rooms.get(round.room);
    if (!locks.has(round.round)) {
      locks.set(round.round, round.lock);
      known.add(round.lock);
    } else if (locks.get(round.round) !== round.lock) {
      evidence.faults.push(`round ${round.round} of room ${round.room} has another lock in another file`);
    }
  }

  /** `prev_lock` is the lock of the room's previous locked round; a room may skip rounds, which have none. */
  check(round, report) {
    const { locks, known, numbers } = this.rooms.get(round.room);
    const previous = lastBelow(numbers, round.round);
    if (round.round === 1n) {
      report.equal("prev_lock", NOTHING, round.prev_lock);
    } else if (previous === undefined) {
      report.skip("prev_lock", "no earlier round of this room is given");
    } else if (previous === round.round - 1n || known.has(round.prev_lock)) {
      report.equal("prev_lock", locks.get(previous), round.prev_lock);
    } else {
      report.skip("prev_lock", `the rounds after ${previous} and before this one are not given`);
    }
  }
}

/** The greatest of ascending values that is below `limit`, or undefined. */
function lastBelow(values, limit) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < limit) low = middle + 1;
    else high = middle;
  }
  return values[low - 1];
}
