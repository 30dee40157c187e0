// Receipts (fairness.md): what the platform signed when it accepted a bet, held against the bets of the lock.

import { picksOf } from "./bets.mjs";
import { bytesOf, ed25519Verifies, hexOf, leafHash, leafHashes, rootOfPath, sha256, tagged, treeRoot, uint, utf8 } from "./bytes.mjs";
import { checkLock } from "./draw.mjs";
import { readEvidence } from "./evidence.mjs";
import { Malformed, parseJson } from "./json.mjs";
import { fromBase64 } from "./log.mjs";
import { FileReport, INCOMPLETE, Report, VIOLATION } from "./report.mjs";
import { hex, integer, list, object, string } from "./shapes.mjs";

const LEAF_DIGITS = 2 * 138;
const HASH_DIGITS = 64;
const MAYBE = (read) => (value) => (value === null ? null : read(value));
const LONG = integer(64);
const DIGEST = hex(32);
const PLACE_IN_BATCH = { count: integer(32), index: integer(32), path: joinedHashes };
const SIGNED = { leaf: hex(null), leaf_hash: DIGEST, key_id: string, signature: hex(64), batch: MAYBE(object(PLACE_IN_BATCH)) };
const INCLUSION = { lock: DIGEST, bets_root: DIGEST, bets_count: LONG, index: LONG, path: list(DIGEST) };
const BET_RESULT = { payout_minor: LONG, cut_minor: LONG, credited_ms: MAYBE(LONG) };
const PLACED = {
  bet_id: decimal,
  transaction_id: MAYBE(string),
  round: roundNumber,
  room: uuid,
  player: string,
  picks: list(integer(8)),
  stake_minor: LONG,
  currency: string,
  paytable: DIGEST,
  accepted_ms: LONG,
  receipt: object(SIGNED),
};

function joinedHashes(value) {
  const digits = hex(null)(value);
  if (digits.length % HASH_DIGITS !== 0) throw new Malformed("not hashes of 32 bytes");
  return digits.match(/.{64}/g) ?? [];
}

function decimal(value) {
  if (!/^(?:0|[1-9][0-9]{0,18})$/.test(string(value))) throw new Malformed("not an id in digits");
  return BigInt(value);
}

function uuid(value) {
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(string(value))) throw new Malformed("not a UUID");
  return value.replaceAll("-", "");
}

function roundNumber(value) {
  const phase = value instanceof Map && value.has("phase") ? { phase: string } : {};
  return object({ id: decimal, number: LONG, ...phase })(value).number;
}

function receiptOf(value) {
  const later = { result: MAYBE(object(BET_RESULT)), inclusion: MAYBE(object(INCLUSION)) };
  const there = value instanceof Map ? Object.entries(later).filter(([key]) => value.has(key)) : [];
  return object({ ...PLACED, ...Object.fromEntries(there) })(value);
}

/** The receipts of an answer: of a bet, of a batch of bets, of a frame that has one. */
function receiptsIn(value) {
  if (value instanceof Map && Array.isArray(value.get("results"))) {
    return value.get("results").filter((each) => each instanceof Map && each.has("bet")).map((each) => receiptOf(each.get("bet")));
  }
  return [receiptOf(value instanceof Map && value.has("bet") ? value.get("bet") : value)];
}

function textOf(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) throw new Malformed("not UTF-8");
    throw error;
  }
}

/** The receipts of a file: one answer of the API, or one a line. */
export function readReceipts(bytes) {
  const text = textOf(bytes);
  const lines = text.split("\n").filter((line) => /[^ \t\r]/.test(line));
  let values;
  try {
    values = [parseJson(text)];
  } catch (error) {
    if (!(error instanceof Malformed) || lines.length < 2) throw error;
    values = lines.map(parseJson);
  }
  const receipts = values.flatMap(receiptsIn);
  if (receipts.length === 0) throw new Malformed("no receipt in it");
  return receipts;
}

/** The Ed25519 keys, in hex, of a JSON Web Key Set by their thumbprints (RFC 7638). */
export async function readKeySet(bytes) {
  const value = parseJson(textOf(bytes));
  const keys = value instanceof Map ? value.get("keys") : undefined;
  if (!Array.isArray(keys) || !keys.every((key) => key instanceof Map && key.has("kty"))) throw new Malformed("not a JSON Web Key Set");
  const found = new Map();
  for (const key of keys) {
    if (key.get("kty") !== "OKP" || key.get("crv") !== "Ed25519") continue;
    const x = string(key.get("x"));
    const raw = fromBase64(x.replaceAll("-", "+").replaceAll("_", "/") + "=".repeat((4 - (x.length % 4)) % 4));
    if (raw.length === 32) found.set(await keyIdOf(raw), hexOf(raw));
  }
  return found;
}

async function keyIdOf(key) {
  const thumbprint = await sha256(utf8(`{"crv":"Ed25519","kty":"OKP","x":"${toBase64Url(key)}"}`));
  return toBase64Url(bytesOf(thumbprint));
}

function toBase64Url(bytes) {
  return globalThis.btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** What was found out about one receipt. `omitted`: it proves that the lock leaves its bet out. */
export class ReceiptReport extends Report {
  constructor(receipt) {
    super(null);
    this.receipt = receipt;
    this.genuine = false;
    this.included = false;
    this.omitted = false;
  }

  get profileProved() {
    return null;
  }

  get name() {
    return `receipt of bet ${this.receipt.bet_id} in round ${this.receipt.round} of room ${this.receipt.room}`;
  }

  get verdict() {
    if (this.omitted) return "VIOLATION, the platform accepted this bet and left it out: the receipt proves the omission";
    if (this.status === VIOLATION) return `VIOLATION, checks failed: ${this.count("FAIL")}`;
    if (this.status === INCOMPLETE) return `incomplete, checks without their evidence: ${this.count("missing")}`;
    return `verified, ${this.included ? "signed, and in the lock" : "signed; no evidence was given"}`;
  }
}

/**
 * Verifies the receipts of files as in verifyFiles. `keySet` and `evidence` are the bytes of a file each, or null; throws
 * Malformed where they are none. Returns a FileReport for each.
 */
export async function verifyReceipts(files, keySet, evidence) {
  const keys = keySet === null ? new Map() : await about("the keys", () => readKeySet(keySet));
  const bundle = evidence === null ? null : await about("the evidence", () => readEvidence(evidence));
  const reports = [];
  for (const { name, bytes, unreadable } of files) {
    try {
      if (unreadable !== undefined) throw new Malformed(`cannot be read: ${unreadable}`);
      const found = [];
      for (const receipt of readReceipts(bytes)) found.push(await verifyReceipt(receipt, keys, bundle));
      reports.push(new FileReport(name, null, [], found));
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      reports.push(new FileReport(name, error.message, [], []));
    }
  }
  return reports;
}

async function about(what, read) {
  try {
    return await read();
  } catch (error) {
    if (error instanceof Malformed) error.message = `${what}: malformed: ${error.message}`;
    throw error;
  }
}

async function verifyReceipt(receipt, keys, evidence) {
  const report = new ReceiptReport(receipt);
  await checkLeafOf(receipt, report);
  await checkReceiptSignature(receipt, keys, report);
  await checkInclusionPath(receipt, report);
  if (evidence === null) {
    report.skip("included in the lock", "no evidence of the round is given");
    return report;
  }
  if (evidence.faults.length > 0) report.fail("evidence", `faults in the lines of the evidence: ${evidence.faults.length}`);
  const round = evidence.find("round", receipt.room, receipt.round);
  if (round === undefined) report.missing("included in the lock", "the evidence does not have this round");
  else await checkIncluded(receipt, round, report);
  return report;
}

/** The leaf that the receipt is about is this bet. */
async function checkLeafOf(receipt, report) {
  const { leaf, leaf_hash: stated } = receipt.receipt;
  report.equal("leaf hash", await leafHash(leaf), stated);
  if (leaf.length !== LEAF_DIGITS) {
    report.fail("leaf", `${leaf.length / 2} bytes, a bet's leaf has ${LEAF_DIGITS / 2}`);
    return;
  }
  let at = 32; // the salt comes first
  const next = (bytes) => leaf.slice(at, (at += 2 * bytes));
  const [id, operator, account, mask, stake, currency, paytable] = [16, 16, 32, 10, 8, 8, 32].map(next);
  const numbers = (picks) => [...picks].map(Number).sort((a, b) => a - b).join(" ");
  const pairs = [
    ["bet", BigInt(`0x${id}`), receipt.bet_id],
    ["player", account, await tagged("keno1:account", operator, utf8(receipt.player))],
    ["picks", numbers(picksOf(BigInt(`0x${mask}`))), numbers(receipt.picks)],
    ["stake", BigInt(`0x${stake}`), receipt.stake_minor],
    ["currency", currency, utf8(receipt.currency).padEnd(16, "0")],
    ["paytable", paytable, receipt.paytable],
  ];
  const wrong = pairs.filter(([, of, said]) => of !== said).map(([name, of, said]) => `the leaf has ${of}, the answer ${said} as ${name}`);
  report.faultless("leaf", wrong);
}

/** The platform signed that it accepted the bet: by itself, or the tree of the bets accepted with it. */
async function checkReceiptSignature(receipt, keys, report) {
  const name = "receipt signature";
  const message = await messageOf(receipt);
  const key = keys.get(receipt.receipt.key_id);
  if (message === null) {
    report.fail(name, "no tree of this size has this path");
  } else if (key === undefined) {
    report.missing(name, "the platform's key of this id is not given");
  } else {
    const signed = await ed25519Verifies(key, message, receipt.receipt.signature);
    report.genuine = signed === true;
    if (signed === null) report.missing(name, "this browser has no Ed25519");
    else if (signed) report.ok(name);
    else report.fail(name, "it is not the platform's: this receipt proves nothing");
  }
}

async function messageOf(receipt) {
  const { leaf_hash: leaf, batch } = receipt.receipt;
  const statement = utf8("keno1:receipt") + receipt.room + uint(receipt.round, 8) + leaf + uint(receipt.accepted_ms, 8);
  if (batch === null) return statement;
  const root = await rootOfPath(await leafHash(statement), batch.index, batch.count, batch.path);
  return root === null ? null : utf8("keno1:batch") + uint(batch.count, 4) + root;
}

/** The path that came with the bet leads to the root that it names; whose root that is, the evidence says. */
async function checkInclusionPath(receipt, report) {
  const proof = receipt.inclusion ?? null;
  if (proof === null) return;
  const root = await rootOfPath(receipt.receipt.leaf_hash, proof.index, proof.bets_count, proof.path);
  report.equal("inclusion path", root ?? "none", proof.bets_root);
}

/** The bet is among those that the round's lock commits to. */
async function checkIncluded(receipt, round, report) {
  const name = "included in the lock";
  const hashes = round.bet_leaves ?? (await leafHashes(round.bets));
  const failed = report.count("FAIL");
  report.equal("bets_count", BigInt(hashes.length), round.bets_count);
  report.equal("bets_root", await treeRoot(hashes), round.bets_root);
  await checkLock(round, report);
  if (report.count("FAIL") > failed) {
    report.missing(name, "the evidence does not show the bets of its lock");
    return;
  }
  const proof = receipt.inclusion ?? null;
  if (proof !== null) {
    report.equal("inclusion of this lock", `${round.lock} of ${round.bets_count}`, `${proof.lock} of ${proof.bets_count}`);
  }
  const index = hashes.indexOf(receipt.receipt.leaf_hash);
  if (index >= 0) {
    report.included = true;
    report.ok(name, `as ${index} of ${hashes.length}`);
  } else if (report.genuine) {
    report.omitted = true;
    const said = `the platform signed that it accepted this bet in this round at ${receipt.accepted_ms}`;
    report.fail(name, `${said}; it is none of the ${hashes.length} bets of lock ${round.lock}`);
  } else {
    report.missing(name, "the lock does not have the bet, but nobody signed for having accepted it");
  }
}
