// The published rules and paytables: that they are those of keno1, and return to players what they say (evidence.md).

const QUICKNET = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971";
const GUARD_MS_MIN = 2000n;

/** The rules a round was played under, or null if they are not there to be read. */
export function checkRules(round, document, report) {
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
  report.faultless("rules content", [...faultsOfBeacon(rules), ...faultsOfOffer(rules), ...faultsOfLimits(rules)]);
  return rules;
}

function faultsOfBeacon(rules) {
  if (rules.profile === "S") return rules.beacon_chain === null ? [] : ["profile S has no beacon, but a chain is named"];
  const faults = [];
  if (rules.beacon_chain !== "quicknet" && rules.beacon_chain !== QUICKNET) faults.push("the chain is not quicknet");
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
