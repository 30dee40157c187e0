// A second verifier of what fairness.md and evidence.md say, for browsers: by WebCrypto, without a dependency.
//
// It shares no code with keno/verifier.py, so that a slip in one shows as a difference; a misreading of the documents by
// those who wrote both would not. Like that one it has no network and no BLS signatures: without the auditor's own copy of a beacon, profiles E and B are not proved.

import { checkBets, checkNothingPaid, checkPayouts } from "./bets.mjs";
import {
  Chain,
  checkBeacon,
  checkBeaconRound,
  checkCommitment,
  checkDraw,
  checkEpoch,
  checkLock,
  checkVoid,
} from "./draw.mjs";
import { readEvidence } from "./evidence.mjs";
import { Malformed } from "./json.mjs";
import { checkAnchor, checkLog } from "./log.mjs";
import { FileReport, Report } from "./report.mjs";
import { checkPaytables, checkRules } from "./rules.mjs";
import { checkSeen } from "./seen.mjs";

/**
 * Verifies every round of some files. A file is { name, bytes } with a Uint8Array, or { name, unreadable } with a reason.
 * `drand` is a Map as from readBeacons, or null. Returns a FileReport for each; the chain of locks goes across files.
 */
export async function verifyFiles(files, drand = null) {
  const read = [];
  for (const file of files) read.push(await tryToRead(file));
  const chain = new Chain(read.filter(({ evidence }) => evidence !== null).map(({ evidence }) => evidence));
  const reports = [];
  for (const { name, evidence, malformed } of read) {
    const rounds = [];
    for (const round of evidence?.rounds ?? []) rounds.push(await verifyRound(round, evidence, chain, drand));
    reports.push(new FileReport(name, malformed, evidence?.faults ?? [], rounds));
  }
  return reports;
}

async function tryToRead({ name, bytes, unreadable }) {
  if (unreadable !== undefined) return { name, evidence: null, malformed: `cannot be read: ${unreadable}` };
  try {
    return { name, evidence: await readEvidence(bytes), malformed: null };
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { name, evidence: null, malformed: error.message };
  }
}

async function verifyRound(round, evidence, chain, drand) {
  const report = new Report(round);
  if (evidence.faults.length > 0) report.fail("file", `faults in the lines of this file: ${evidence.faults.length}`);
  const epoch = evidence.epochOf(round);
  await checkCommitment(round, report);
  await checkEpoch(round, epoch, report);
  const rules = await checkRules(round, evidence, report);
  const paytables = checkPaytables(rules, evidence, report);
  const bets = await checkBets(round, rules, report);
  checkBeaconRound(round, epoch, report);
  await checkBeacon(round, drand, report);
  await checkLock(round, report);
  chain.check(round, report);
  if (round.void !== undefined) {
    await checkVoid(round, report);
    checkNothingPaid(evidence.payoutsOf(round), report);
  } else {
    const numbers = await checkDraw(round, report);
    checkPayouts(round, rules, paytables, bets, numbers, evidence.payoutsOf(round), report);
  }
  await checkLog(round, epoch, evidence.loggedOf(round), report);
  await checkAnchor(evidence.anchorOf(round), evidence.loggedOf(round), report);
  await checkSeen(round, evidence.seenOf(round), report);
  return report;
}
