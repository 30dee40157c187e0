// The published rules and paytables: that they are those of keno1, and return to players what they say (evidence.md).

import { sha256, uint, utf8 } from "./bytes.mjs";

const QUICKNET = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971";
// Of drand quicknet, in seconds; a local beacon keeps the same clock.
const [CHAIN_PERIOD, CHAIN_GENESIS] = [3n, 1692803367n];
const LOCAL_BEACON = "keno-local-not-public";
const GUARD_MS_MIN = 2000n;

/** The hash of the beacon chain that rules name, or null where they name none, or no hash. */
export function chainHashOf(rules) {
  const named = rules.beacon_chain === "quicknet" ? QUICKNET : rules.beacon_chain;
  return named !== null && /^[0-9a-f]{64}$/.test(named) ? named : null;
}

/** The rules a round was played under, or null if they are not there to be read. */
export async function checkRules(round, evidence, report) {
  const document = evidence.document(round.rules);
  if (document === undefined) {
    report.missing("rules document", `no document ${round.rules}`);
    return null;
  }
  if (!report.equal("rules document", document.digest, round.rules)) return null;
  if (document.kind !== "rules") {
    report.fail("rules document", "the round names a paytable as its rules");
    return null;
  }
  const rules = document.content;
  report.equal("rules protocol", "keno1 80 20", `${rules.protocol} ${rules.numbers} ${rules.drawn}`);
  report.equal("rules profile", rules.profile, round.profile);
  report.equal("rules guard_ms", rules.guard_ms, round.guard_ms);
  const chain = evidence.chainOf(rules);
  const ofBeacon = [...(chain === undefined ? [] : await faultsOfChain(chain)), ...faultsOfBeacon(rules, chain)];
  report.faultless("rules content", [...ofBeacon, ...faultsOfOffer(rules), ...faultsOfLimits(rules)]);
  if (round.profile !== "S" && chain?.beacon_id === LOCAL_BEACON) {
    report.localBeacon = true;
    report.skip("public beacon", "local beacon, not public: whoever runs it knows its rounds ahead");
  }
  return rules;
}

/** Why rules may not name this chain; quicknet needs no line. */
async function faultsOfChain(chain) {
  const clock = uint(chain.period, 4) + uint(chain.genesis_time, 8);
  const faults = [];
  if ((await sha256(clock + chain.public_key + chain.group_hash + utf8(chain.beacon_id))) !== chain.hash) {
    faults.push("the beacon chain's line does not have its hash");
  }
  if (chain.period !== CHAIN_PERIOD || chain.genesis_time !== CHAIN_GENESIS) {
    faults.push("the beacon chain does not keep quicknet's clock");
  }
  if (chain.hash !== QUICKNET && chain.beacon_id !== LOCAL_BEACON) {
    faults.push("the beacon chain is neither drand quicknet nor a local beacon that says so");
  }
  return faults;
}

function faultsOfBeacon(rules, chain) {
  if (rules.profile === "S") return rules.beacon_chain === null ? [] : ["profile S has no beacon, but a chain is named"];
  const faults = [];
  if (chain === undefined && rules.beacon_chain !== "quicknet" && rules.beacon_chain !== QUICKNET) {
    faults.push("the chain is not quicknet");
  }
  if (rules.guard_ms < GUARD_MS_MIN) faults.push(`guard_ms is below ${GUARD_MS_MIN}`);
  return faults;
}

function faultsOfOffer(rules) {
  const faults = [];
  const [low, high] = rules.rtp_bounds;
  if (less(high, low)) faults.push("the lower bound of the RTP is above the upper");
  const offered = rules.paytables;
  if (offered.length === 0 || new Set(offered).size < offered.length) faults.push("no paytable is offered, or one twice");
  if (rules.currencies.size === 0) faults.push("no currency is known");
  return faults;
}

function faultsOfLimits(rules) {
  const faults = [];
  for (const [code, limits] of rules.currencies) {
    const { stake_min_minor: least, stake_max_minor: most, win_max_minor: winMax } = limits;
    if (least === 0n || least > most || winMax === 0n || limits.exponent > 8n) {
      faults.push(`the limits of ${code} make no sense`);
    }
    if (limits.round_win_max_minor !== undefined && limits.round_win_max_minor < winMax) {
      faults.push(`the maximum win a round of ${code} is below that of one bet`);
    }
  }
  return faults;
}

/** The offered paytables that are there, by hash. `rules` may be null. */
export function checkPaytables(rules, evidence, report) {
  const paytables = new Map();
  for (const hash of rules?.paytables ?? []) {
    const name = `paytable ${hash.slice(0, 16)}`;
    const document = evidence.document(hash);
    if (document === undefined) {
      report.missing(name, `no document ${hash}`);
    } else if (report.equal(name, document.digest, hash)) {
      if (document.kind === "paytable") {
        report.faultless(`RTP of ${name}`, faultsOfReturn(document.content, rules.rtp_bounds));
        paytables.set(hash, document.content);
      } else {
        report.fail(name, "the rules offer a rules document as a paytable");
      }
    }
  }
  return paytables;
}

function faultsOfReturn(paytable, [low, high]) {
  const faults = [];
  for (const [picks, row] of Object.entries(paytable.multipliers)) {
    const exact = exactReturn(BigInt(picks), row, paytable.scale);
    const shown = `${exact.over}/${exact.under}`;
    if (less(exact, paytable.rtp[picks]) || less(paytable.rtp[picks], exact)) {
      faults.push(`${picks} picks: the stated return is not the exact one, ${shown} before reduction`);
    }
    if (less(exact, low) || less(high, exact)) faults.push(`${picks} picks: ${shown} is not within the bounds`);
  }
  return faults;
}

/** Sum over the hits of C(20,h) C(60,p-h) / C(80,p) x multiplier / scale. */
function exactReturn(picks, row, scale) {
  let over = 0n;
  row.forEach((multiplier, hits) => {
    over += choose(20n, BigInt(hits)) * choose(60n, picks - BigInt(hits)) * multiplier;
  });
  return { over, under: choose(80n, picks) * scale };
}

function choose(n, k) {
  let ways = 1n;
  for (let i = 1n; i <= k; i += 1n) ways = (ways * (n - k + i)) / i;
  return ways;
}

function less(a, b) {
  return a.over * b.under < b.over * a.under;
}
