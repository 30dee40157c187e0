// Verdicts: of checks, rounds and files. Nothing here knows what is checked.

export const VERIFIED = 0;
export const VIOLATION = 1;
export const MALFORMED = 2;
export const INCOMPLETE = 3;

const BY_WEIGHT = [VERIFIED, INCOMPLETE, VIOLATION, MALFORMED];
const FAULTS_SHOWN_MAX = 10;

export function worst(statuses) {
  return statuses.reduce((a, b) => (BY_WEIGHT.indexOf(b) > BY_WEIGHT.indexOf(a) ? b : a), VERIFIED);
}

/** What was found out about one round. Verdicts are "ok", "FAIL", "missing" (necessary) and "skipped" (not so). */
export class Report {
  constructor(round) {
    this.round = round;
    this.checks = [];
    this.localBeacon = false;
  }

  add(name, verdict, detail = "") {
    this.checks.push({ name, verdict, detail });
  }

  ok(name, detail) {
    this.add(name, "ok", detail);
  }

  fail(name, detail) {
    this.add(name, "FAIL", detail);
  }

  missing(name, reason) {
    this.add(name, "missing", reason);
  }

  skip(name, reason) {
    this.add(name, "skipped", reason);
  }

  equal(name, expected, found) {
    if (expected === found) this.ok(name);
    else this.fail(name, `expected ${expected === "" ? "nothing" : expected}, found ${found === "" ? "nothing" : found}`);
    return expected === found;
  }

  /** Fails with each of the faults, or with the first of many; without any it passes. */
  faultless(name, faults, detail) {
    if (faults.length === 0) this.ok(name, detail);
    for (const fault of faults.slice(0, FAULTS_SHOWN_MAX)) this.fail(name, fault);
    if (faults.length > FAULTS_SHOWN_MAX) this.fail(name, `and ${faults.length - FAULTS_SHOWN_MAX} more`);
  }

  count(verdict) {
    return this.checks.filter((check) => check.verdict === verdict).length;
  }

  get status() {
    if (this.count("FAIL") > 0) return VIOLATION;
    return this.count("missing") > 0 ? INCOMPLETE : VERIFIED;
  }

  /** The profile that the evidence proves, or null. E and B never fall back to S: who invents a beacon chooses a draw. */
  get profileProved() {
    if (this.localBeacon) return null;
    return this.status === VERIFIED && this.round.numbers !== undefined ? this.round.profile : null;
  }

  get name() {
    return `round ${this.round.round} of room ${this.round.room}`;
  }

  get verdict() {
    if (this.status === VIOLATION) return `VIOLATION, checks failed: ${this.count("FAIL")}`;
    if (this.status === INCOMPLETE) return `incomplete, checks without their evidence: ${this.count("missing")}`;
    if (this.localBeacon && this.round.numbers !== undefined) {
      return `verified, profile ${this.round.profile} on a local beacon, not public`;
    }
    if (this.profileProved === null) return `verified, void for reason ${this.round.void_reason}, nothing drawn`;
    return `verified, profile ${this.profileProved}`;
  }
}

/** What was found out about one file. `malformed` is why it could not be read, or null. */
export class FileReport {
  constructor(name, malformed, faults, rounds) {
    Object.assign(this, { name, malformed, faults, rounds });
  }

  get status() {
    if (this.malformed !== null) return MALFORMED;
    const statuses = this.rounds.length > 0 ? this.rounds.map((round) => round.status) : [INCOMPLETE];
    return worst(this.faults.length > 0 ? [...statuses, VIOLATION] : statuses);
  }
}
