// The round in the public log (log.md): that the entries are those the bundle shows, and lead to the root of the
// checkpoint. Whose checkpoint it is, only keys can tell, and this verifier takes none: it says so.

import { hexOf, leafHash, rootOfPath, uint, utf8 } from "./bytes.mjs";
import { Malformed } from "./json.mjs";

const [LOGGED_EPOCH, LOGGED_LOCK, LOGGED_RESULT, LOGGED_VOID] = [1, 2, 3, 4];
const ENTRY_KINDS = ["epoch", "lock", "outcome"];

/** A signed checkpoint from its text: origin, size and root. */
export function checkpointOf(text) {
  const end = text.lastIndexOf("\n\n");
  const head = text.slice(0, Math.max(end, 0)).split("\n");
  const signatures = text.slice(end + 2);
  if (end < 0 || head.length < 3 || head.includes("") || !signatures.endsWith("\n")) {
    throw new Malformed("not a signed note of origin, size and root");
  }
  for (const line of signatures.slice(0, -1).split("\n")) {
    const parts = line.split(" ");
    const raw = fromBase64(parts.at(-1));
    if (parts.length !== 3 || parts[0] !== "\u2014" || raw.length < 5) throw new Malformed("a line of the note is no signature");
  }
  const root = /^(?:0|[1-9][0-9]{0,18})$/.test(head[1]) ? fromBase64(head[2]) : [];
  if (root.length !== 32) throw new Malformed("not a size and a root");
  return { text, origin: head[0], size: BigInt(head[1]), root: hexOf(root) };
}

/** Checks a round against its log line, where there is one. */
export async function checkLog(round, epoch, logged, report) {
  if (logged === undefined) {
    report.skip("log", "the bundle does not show the round in the public log");
    return;
  }
  const { size, root } = logged.checkpoint;
  if (epoch === undefined) {
    report.missing("log entries", "the epoch line is missing");
  } else {
    const stated = statements(round, epoch);
    const wrong = logged.entries
      .filter(({ entry }, at) => entry.length !== stated[at].length || !entry.startsWith(stated[at].start))
      .map(({ index }) => `entry ${index} is not the one of ${ENTRY_KINDS.join(", ")} that the bundle shows`);
    report.faultless("log entries", wrong);
  }
  const astray = [];
  for (const { index, entry, path } of logged.entries) {
    if ((await rootOfPath(await leafHash(entry), index, size, path)) !== root) {
      astray.push(`the path of entry ${index} does not lead to the root of the checkpoint`);
    }
  }
  const order = logged.entries.map(({ index }) => index);
  if (order.some((index, at) => at > 0 && index <= order[at - 1])) {
    astray.push("epoch, lock and outcome are not in this order");
  }
  report.faultless("log inclusion", astray);
  report.skip("log signature", "this verifier takes no key of the log");
  report.skip("log cosignatures", "this verifier takes no key of a witness");
}

/** Checks that the entries of a round lead to the root that the bundle says is on a chain, which is not asked. */
export async function checkAnchor(anchor, logged, report) {
  if (anchor === undefined) return;
  if (logged === undefined) {
    report.missing("anchor inclusion", "the log line is missing");
  } else {
    const astray = [];
    for (const [at, { index, entry }] of logged.entries.entries()) {
      if ((await rootOfPath(await leafHash(entry), index, anchor.size, anchor.paths[at])) !== anchor.root) {
        astray.push(`the path of entry ${index} does not lead to the anchored root`);
      }
    }
    const { size, root } = logged.checkpoint;
    if (size === anchor.size && root !== anchor.root) astray.push(`the checkpoint of ${size} entries has another root`);
    report.faultless("anchor inclusion", astray);
  }
  report.skip("anchor on the chain", "this verifier asks no chain; keno-verify does with --anchor");
}

/** How the three entries must begin, and their lengths in hex. What follows is not in the bundle. */
function statements(round, epoch) {
  const entry = (kind, number, ...parts) => utf8("keno1:log") + uint(kind, 1) + round.room + uint(number, 8) + parts.join("");
  const ofEpoch = entry(
    LOGGED_EPOCH, epoch.first, epoch.epoch, uint(epoch.count, 4), epoch.commits_root, epoch.key_commit, uint(epoch.opened_ms, 8),
  );
  const ofLock = entry(
    LOGGED_LOCK, round.round, round.lock, round.commit, round.rules, round.bets_root, uint(round.bets_count, 8), uint(round.lock_ms, 8),
    uint(round.beacon_round, 8), round.prev_lock,
  );
  const outcome =
    round.void === undefined
      ? entry(LOGGED_RESULT, round.round, round.result, round.lock, round.seed, round.beacon, ...round.numbers.map((number) => uint(number % 256n, 1)))
      : entry(LOGGED_VOID, round.round, round.void, round.lock, round.seed, uint(round.void_reason, 1));
  const known = (start, more) => ({ start, length: start.length + 2 * more });
  return [known(ofEpoch, 0), known(ofLock, 8), known(outcome, 8)];
}

export function fromBase64(text) {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) throw new Malformed("not base64");
  return Uint8Array.from(globalThis.atob(text), (character) => character.charCodeAt(0));
}
