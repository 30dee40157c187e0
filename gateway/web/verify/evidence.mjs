// The lines of one file of evidence: what each is, and whether each belongs to a round of the file (evidence.md).

import { sha256OfBytes } from "./bytes.mjs";
import { Malformed, parseJson } from "./json.mjs";
import { chainHashOf } from "./rules.mjs";
import { beaconOf, lineOf, paytableOf, rulesOf } from "./shapes.mjs";

export const FILE_BYTES_MAX = 2 ** 30;
// No longer text fits into one string of every browser; the line of a round of a million bets does.
const LINE_BYTES_MAX = 400 * 2 ** 20;
const NEWLINE = 10;

/** One file. `faults` are violations in its lines as a whole: with one, none of its rounds is verified. */
export class Evidence {
  constructor() {
    this.faults = [];
    this.rounds = [];
    this.seen = new Map(); // by room and round: the lines of operators
    this.kept = new Map(); // by what rounds call a line: { line, number, copies }
  }

  /** The line of this name, or undefined. */
  find(...name) {
    return this.kept.get(name.join(" "))?.line;
  }

  document(hash) {
    return this.find("document", hash);
  }

  epochOf(round) {
    return this.find("epoch", round.room, round.epoch_first, round.epoch_count);
  }

  /** The beacon chain that rules name, if its line is there. */
  chainOf(rules) {
    return this.find("chain", chainHashOf(rules));
  }

  /** What shows a round in the public log, if anything. */
  loggedOf(round) {
    return this.find("log", round.room, round.round);
  }

  /** What operators say who have seen the lock of a round. */
  seenOf(round) {
    return this.seen.get(`${round.room} ${round.round}`) ?? [];
  }

  /** What shows the log of a round on a chain, if anything. */
  anchorOf(round) {
    return this.find("anchor", round.room, round.round);
  }

  /** The payouts listed for a round, or null. */
  payoutsOf(round) {
    return this.find("payouts", round.room, round.round)?.payouts ?? null;
  }
}

/** Reads a file; throws Malformed if it is none. */
export async function readEvidence(bytes) {
  const evidence = new Evidence();
  const read = new Map(); // each round brings its copy of the documents: a text already read is not read again
  let number = 0;
  for (const text of linesOf(bytes)) {
    number += 1;
    try {
      const line = read.get(text) ?? (await readLine(text));
      if (line.type === "document" || line.type === "epoch") read.set(text, line);
      keep(evidence, line, number);
    } catch (error) {
      if (error instanceof Malformed) error.message = `line ${number}: ${error.message}`;
      throw error;
    }
  }
  if (evidence.rounds.length > 0) {
    findStrangers(evidence);
    findOverlappingEpochs(evidence);
  }
  return evidence;
}

/** Beacon signatures by drand round, from drand's answers, one a line; empty lines are nothing. */
export function readBeacons(bytes) {
  const beacons = new Map();
  for (const text of linesOf(bytes)) {
    if (text.trim() === "") continue;
    const { round, signature } = beaconOf(parseJson(text));
    beacons.set(round, signature);
  }
  return beacons;
}

function* linesOf(bytes) {
  if (bytes.length > FILE_BYTES_MAX) throw new Malformed(`longer than ${FILE_BYTES_MAX} bytes`);
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let start = 0;
  do {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline === -1 ? bytes.length : newline;
    if (end - start > LINE_BYTES_MAX) throw new Malformed("a line is too long for a browser; use keno-verify");
    let text;
    try {
      text = decoder.decode(bytes.subarray(start, end));
    } catch (error) {
      if (error instanceof TypeError) throw new Malformed("not UTF-8");
      throw error;
    }
    yield text;
    start = end + 1;
  } while (start < bytes.length);
}

async function readLine(text) {
  const line = lineOf(parseJson(text));
  if (line.type !== "document") return line;
  line.digest = await sha256OfBytes(new TextEncoder().encode(line.text));
  // A text that has not the stated hash is nobody's word, and says nothing.
  line.content = null;
  if (line.digest === line.hash) {
    const value = parseJson(line.text);
    line.content = line.kind === "rules" ? rulesOf(value) : paytableOf(value);
  }
  return line;
}

function nameOf(line) {
  if (line.type === "document") return `document ${line.hash}`;
  if (line.type === "epoch") return `epoch ${line.room} ${line.first} ${line.count}`;
  if (line.type === "chain") return `chain ${line.hash}`;
  if (line.type === "seen") return `seen ${line.room} ${line.round} ${line.public_key}`;
  return `${line.type} ${line.room} ${line.round}`;
}

function keep(evidence, line, number) {
  const name = nameOf(line);
  const before = evidence.kept.get(name);
  if (before === undefined) {
    evidence.kept.set(name, { line, number, copies: 1 });
    if (line.type === "round") evidence.rounds.push(line);
    if (line.type === "seen") {
      const of = `${line.room} ${line.round}`;
      evidence.seen.set(of, [...(evidence.seen.get(of) ?? []), line]);
    }
    return;
  }
  before.copies += 1;
  if (canonical(before.line) !== canonical(line)) evidence.faults.push(`line ${number} contradicts line ${before.number}`);
}

/** Two lines say the same if this is the same: shapes give members an order, however they were written. */
function canonical(line) {
  const { content, ...said } = line;
  return JSON.stringify(said, (_, value) => (typeof value === "bigint" ? `${value}` : value));
}

/** Each line must belong to a round, and be there once for each round that it belongs to. */
function findStrangers(evidence) {
  const uses = new Map();
  const use = (name) => uses.set(name, (uses.get(name) ?? 0) + 1);
  let allRulesKnown = true;
  for (const round of evidence.rounds) {
    use(nameOf(round));
    use(`payouts ${round.room} ${round.round}`);
    use(`log ${round.room} ${round.round}`);
    use(`anchor ${round.room} ${round.round}`);
    use(`epoch ${round.room} ${round.epoch_first} ${round.epoch_count}`);
    use(`document ${round.rules}`);
    const rules = evidence.document(round.rules);
    if (rules?.kind === "rules" && rules.content !== null) {
      for (const paytable of new Set(rules.content.paytables)) use(`document ${paytable}`);
      use(`chain ${chainHashOf(rules.content)}`);
    } else {
      allRulesKnown = false;
    }
  }
  for (const [name, { line, number, copies }] of evidence.kept) {
    // Which of them belong here, missing rules would say.
    if (!allRulesKnown && (line.type === "chain" || line.kind === "paytable")) continue;
    // Any number of operators may have seen the lock of a round, each once.
    const owner = line.type === "seen" ? `round ${line.room} ${line.round}` : name;
    const used = uses.get(owner) ?? 0;
    if (used === 0) {
      evidence.faults.push(`line ${number}: this ${line.type} line belongs to no round of the file`);
    } else if (copies > used) {
      evidence.faults.push(`line ${number}: this ${line.type} line is there ${copies} times`);
    }
  }
}

/** A round in two epochs would have two seeds to choose from. */
function findOverlappingEpochs(evidence) {
  const byRoom = new Map();
  for (const { line } of evidence.kept.values()) {
    if (line.type !== "epoch") continue;
    if (!byRoom.has(line.room)) byRoom.set(line.room, []);
    byRoom.get(line.room).push(line);
  }
  for (const [room, epochs] of byRoom) {
    epochs.sort((a, b) => compare(a.first, b.first) || compare(a.count, b.count));
    for (let at = 1; at < epochs.length; at += 1) {
      const [before, after] = [epochs[at - 1], epochs[at]];
      if (after.first < before.first + before.count) {
        evidence.faults.push(`epochs of room ${room} overlap: from ${before.first} on, and from ${after.first} on`);
      }
    }
  }
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
