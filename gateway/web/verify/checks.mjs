// What the checks are called in the language of the page: the verifier knows their names in the protocol alone.

import { t } from "../texts.mjs";

const OF_ONE = /^(paytable|RTP of paytable|lock seen by) (.+)$/;

/** A function that says the name of a check; to be made once the language is known. */
export function checkNames() {
  const names = {
    bets_count: t("bets_count"),
    bets_root: t("bets_root"),
    bets: t("bets"),
    payouts: t("payouts"),
    "maximum wins a round": t("maximum wins a round"),
    key_commit: t("key_commit"),
    seed: t("seed"),
    commit: t("commit"),
    commits_root: t("commits_root"),
    epoch: t("epoch"),
    "epoch commits_root": t("epoch commits_root"),
    "epoch key_commit": t("epoch key_commit"),
    "epoch opened before the lock": t("epoch opened before the lock"),
    beacon_round: t("beacon_round"),
    "beacon before the lock": t("beacon before the lock"),
    "beacon signature": t("beacon signature"),
    beacon: t("beacon"),
    lock: t("lock"),
    x: t("x"),
    block0: t("block0"),
    numbers: t("numbers"),
    result: t("result"),
    void: t("void"),
    prev_lock: t("prev_lock"),
    log: t("log"),
    "log entries": t("log entries"),
    "log inclusion": t("log inclusion"),
    "log signature": t("log signature"),
    "log cosignatures": t("log cosignatures"),
    "anchor inclusion": t("anchor inclusion"),
    "anchor on the chain": t("anchor on the chain"),
    "included in the lock": t("included in the lock"),
    evidence: t("evidence"),
    "leaf hash": t("leaf hash"),
    leaf: t("leaf"),
    "receipt signature": t("receipt signature"),
    "inclusion path": t("inclusion path"),
    "inclusion of this lock": t("inclusion of this lock"),
    "rules document": t("rules document"),
    "rules protocol": t("rules protocol"),
    "rules profile": t("rules profile"),
    "rules guard_ms": t("rules guard_ms"),
    "rules content": t("rules content"),
    "public beacon": t("public beacon"),
    file: t("file"),
  };
  const ofOne = {
    paytable: (hash) => t("paytable {hash}", { hash }),
    "RTP of paytable": (hash) => t("RTP of paytable {hash}", { hash }),
    "lock seen by": (key) => t("lock seen by {key}", { key }),
  };
  return (name) => {
    const found = OF_ONE.exec(name);
    return found === null ? (names[name] ?? name) : ofOne[found[1]](found[2]);
  };
}
