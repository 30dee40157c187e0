// The page: takes files or fetches a round's evidence, has them verified, and shows the verdicts. All that evidence
// contains is shown as text, never as markup.

import { checkNames } from "./checks.mjs";
import { FILE_BYTES_MAX, readBeacons } from "./evidence.mjs";
import { verifyReceipts } from "./receipts.mjs";
import { worst } from "./report.mjs";
import { learn, t } from "../texts.mjs";
import { verifyFiles } from "./verify.mjs";

const ROUNDS_SHOWN_MAX = 50;

if (document.body.dataset.texts !== undefined) learn(JSON.parse(document.body.dataset.texts), document.documentElement.lang);
const STATUS_WORDS = [t("verified"), t("VIOLATION"), t("malformed"), t("incomplete")];
const checkName = checkNames();
const VERDICT_LABELS = { ok: t("ok"), FAIL: t("FAIL"), missing: t("not checked"), skipped: t("not checked") };

const verdict = document.getElementById("verdict");
const checks = document.getElementById("checks");
let runs = 0;

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function say(text, status) {
  verdict.replaceChildren(element("p", text, status === undefined ? "" : `s${status}`));
}

/** Does something that ends in a verdict; whatever it meets, no older verdict stays to be taken for its own. */
async function run(task) {
  runs += 1;
  const own = runs;
  checks.replaceChildren();
  say(t("Verifying …"));
  let show;
  try {
    if (globalThis.crypto?.subtle === undefined) throw new Error(t("a browser verifies only over https, or from a saved file"));
    show = await task();
  } catch (error) {
    show = () => say(t("Nothing was verified: {reason}", { reason: error.message }), 3);
  }
  if (own === runs) show();
}

async function contentOf(file) {
  if (file.size > FILE_BYTES_MAX) {
    return { name: file.name, unreadable: t("longer than {most} bytes", { most: FILE_BYTES_MAX }) };
  }
  return { name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) };
}

async function beacons() {
  const [file] = document.getElementById("beacons").files;
  if (file === undefined) return null;
  const { bytes, unreadable } = await contentOf(file);
  if (unreadable !== undefined) throw new Error(t("your beacons: {reason}", { reason: unreadable }));
  return readBeacons(bytes);
}

async function verify(files) {
  const reports = await verifyFiles(files, await beacons());
  return () => showReports(reports);
}

async function verifyOwnReceipts() {
  const chosen = async (id) => {
    const [file] = document.getElementById(id).files;
    if (file === undefined) return null;
    const { bytes, unreadable } = await contentOf(file);
    if (unreadable !== undefined) throw new Error(`${file.name}: ${unreadable}`);
    return bytes;
  };
  const receipts = [...document.getElementById("receipts").files];
  if (receipts.length === 0) throw new Error(t("choose the answers to your bets"));
  const files = await Promise.all(receipts.map(contentOf));
  const reports = await verifyReceipts(files, await chosen("keys"), await chosen("evidence"));
  const count = reports.flatMap((report) => report.rounds).length;
  return () => showReports(reports, t("receipts: {count}", { count }));
}

function showReports(reports, counted = t("rounds: {count}", { count: reports.flatMap((report) => report.rounds).length })) {
  const status = worst(reports.map((report) => report.status));
  const rounds = reports.flatMap((report) => report.rounds);
  const proved = [...new Set(rounds.map((round) => round.profileProved))].filter((profile) => profile !== null);
  const profile = status === 0 && proved.length > 0 ? `, ${t("profile {profile}", { profile: proved.sort().join(", ") })}` : "";
  say(`${STATUS_WORDS[status]}${profile}; ${counted}`, status);
  for (const report of reports) showFile(report);
}

function showFile(report) {
  checks.append(element("h2", `${report.name}: ${STATUS_WORDS[report.status]}`, `s${report.status}`));
  if (report.malformed !== null) checks.append(element("p", report.malformed));
  else if (report.rounds.length === 0) checks.append(element("p", t("no round line")));
  for (const fault of report.faults.slice(0, ROUNDS_SHOWN_MAX)) checks.append(element("p", fault, "FAIL"));
  // Rounds that are not as they should be come first, so that none is among those left out.
  const ordered = [...report.rounds].sort((a, b) => (a.status === 0) - (b.status === 0));
  for (const round of ordered.slice(0, ROUNDS_SHOWN_MAX)) showRound(round);
  if (ordered.length > ROUNDS_SHOWN_MAX) {
    checks.append(element("p", t("and {count} more rounds, whose verdicts count above", { count: ordered.length - ROUNDS_SHOWN_MAX })));
  }
}

function showRound(round) {
  const details = document.createElement("details");
  details.open = round.status !== 0 || checks.querySelectorAll("details").length === 0;
  details.append(element("summary", `${round.name}: ${round.verdict}`, `s${round.status}`));
  const table = document.createElement("table");
  for (const { name, verdict: found, detail } of round.checks) {
    const row = document.createElement("tr");
    row.append(element("td", VERDICT_LABELS[found], found), element("td", checkName(name)), element("td", detail));
    table.append(row);
  }
  details.append(table);
  checks.append(details);
}

async function fetched(id) {
  const answer = await fetch(`/v1/rounds/${id}/evidence`);
  if (answer.status === 404) throw new Error(t("no ended round has the id {id}", { id }));
  if (answer.status === 410) throw new Error(t("the evidence of round {id} was archived", { id }));
  if (!answer.ok) throw new Error(t("the server answered {status}", { status: answer.status }));
  return { name: t("evidence of round {id}", { id }), bytes: new Uint8Array(await answer.arrayBuffer()) };
}

function verifyChosen(list) {
  const files = [...list];
  if (files.length > 0) run(async () => verify(await Promise.all(files.map(contentOf))));
}

const drop = document.getElementById("drop");
const input = document.getElementById("files");
input.addEventListener("change", () => {
  verifyChosen(input.files);
  input.value = "";
});
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
// A file that misses the field must not replace the page.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.toggle("over", drop.contains(event.target));
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  verifyChosen(event.dataTransfer.files);
});
document.getElementById("own").addEventListener("submit", (event) => {
  event.preventDefault();
  run(verifyOwnReceipts);
});
document.getElementById("round")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const id = new FormData(event.target).get("id");
  run(async () => verify([await fetched(id)]));
});
// A link of ours names the round: /verify#round=ID.
const asked = /^#round=([1-9][0-9]{0,18})$/.exec(location.hash);
if (asked !== null && document.getElementById("round") !== null) {
  document.querySelector("#round input").value = asked[1];
  run(async () => verify([await fetched(asked[1])]));
}
