// Locks that operators have countersigned (fairness.md, seen). Whose a key is, only its operator can say.

import { ed25519Verifies, uint, utf8 } from "./bytes.mjs";

const WITNESS_CLOCK_MS = 60_000n;

/** Each countersignature is one of this lock. */
export async function checkSeen(round, seen, report) {
  for (const { public_key: key, seen_ms: seenMs, signature } of seen) {
    const name = `lock seen by ${key}`;
    const signed = await ed25519Verifies(key, utf8("keno1:seen") + round.lock + uint(seenMs, 8), signature);
    if (signed === null) report.skip(name, "this browser has no Ed25519");
    else if (!signed) report.fail(name, "the key did not sign that it has seen this lock");
    else if (seenMs < round.lock_ms - WITNESS_CLOCK_MS) report.fail(name, `at ${seenMs}, but the lock is of ${round.lock_ms}`);
    else report.ok(name, `at ${seenMs}; whose key this is, only its operator can say`);
  }
}
