// The verifier under Node, for machines and tests: node cli.mjs [--quiet] [--drand FILE] FILE...
// and for receipts: node cli.mjs receipt [--quiet] [--jwks FILE] [--evidence FILE] FILE...
//
// Exit status: 0 verified, 1 a violation, 2 malformed or wrong use, 3 evidence is missing; over many, the worst.
// `--serve` instead answers cases for tests: each line of the input is {"files": [BASE64, ...], "drand": BASE64 or null},
// each line of the output what was found; a case with a "receipt", "jwks" and "evidence" is one of receipts.

import { open } from "node:fs/promises";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { FILE_BYTES_MAX, readBeacons } from "./evidence.mjs";
import { Malformed } from "./json.mjs";
import { verifyReceipts } from "./receipts.mjs";
import { MALFORMED, worst } from "./report.mjs";
import { textLines } from "./text.mjs";
import { verifyFiles } from "./verify.mjs";

const USAGE = `usage: node cli.mjs [--quiet] [--drand FILE] FILE...
       node cli.mjs receipt [--quiet] [--jwks FILE] [--evidence FILE] FILE...`;
const OPTIONS = { quiet: { type: "boolean" }, serve: { type: "boolean" }, drand: { type: "string" } };
const RECEIPT_OPTIONS = { quiet: { type: "boolean" }, jwks: { type: "string" }, evidence: { type: "string" } };

async function main(argv) {
  if (argv[0] === "receipt") return receiptMain(argv.slice(1));
  const options = readOptions(argv, OPTIONS);
  if (options === null) {
    console.error(USAGE);
    return MALFORMED;
  }
  if (options.values.serve) return serve();
  const drand = await tryBeacons(options.values.drand);
  if (drand instanceof Error) {
    console.error(`the beacons: malformed: ${drand.message}`);
    return MALFORMED;
  }
  const files = [];
  for (const path of options.positionals) files.push(await readFile(path));
  const reports = await verifyFiles(files, drand);
  for (const line of textLines(reports, options.values.quiet)) console.log(line);
  return worst(reports.map((report) => report.status));
}

async function receiptMain(argv) {
  const options = readOptions(argv, RECEIPT_OPTIONS);
  if (options === null) {
    console.error(USAGE);
    return MALFORMED;
  }
  try {
    const [keySet, evidence] = [await contentOr(options.values.jwks), await contentOr(options.values.evidence)];
    const files = [];
    for (const path of options.positionals) files.push(await readFile(path));
    const reports = await verifyReceipts(files, keySet, evidence);
    for (const line of textLines(reports, options.values.quiet)) console.log(line);
    return worst(reports.map((report) => report.status));
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    console.error(error.message);
    return MALFORMED;
  }
}

/** The bytes of a file, null without one. */
async function contentOr(path) {
  if (path === undefined) return null;
  const { bytes, unreadable } = await readFile(path);
  if (unreadable !== undefined) throw new Malformed(`${path}: cannot be read: ${unreadable}`);
  return bytes;
}

function readOptions(argv, known) {
  try {
    const options = parseArgs({ args: argv, options: known, allowPositionals: true });
    return options.positionals.length > 0 || options.values.serve ? options : null;
  } catch (error) {
    if (error.code?.startsWith("ERR_PARSE_ARGS")) return null;
    throw error;
  }
}

/** The beacons of a file, null without one, or an Error. */
async function tryBeacons(path) {
  if (path === undefined) return null;
  const file = await readFile(path);
  if (file.unreadable !== undefined) return new Malformed(file.unreadable);
  return beaconsOrError(file.bytes);
}

function beaconsOrError(bytes) {
  try {
    return readBeacons(bytes);
  } catch (error) {
    if (error instanceof Malformed) return error;
    throw error;
  }
}

/** A file for verifyFiles; no more of it is read than may be verified. */
async function readFile(path) {
  let file;
  try {
    file = await open(path);
    if ((await file.stat()).size > FILE_BYTES_MAX) return { name: path, unreadable: `longer than ${FILE_BYTES_MAX} bytes` };
    const chunks = [];
    let size = 0;
    for await (const chunk of file.createReadStream({ end: FILE_BYTES_MAX, highWaterMark: 2 ** 20 })) {
      chunks.push(chunk);
      size += chunk.length;
    }
    return { name: path, bytes: Buffer.concat(chunks, size) };
  } catch (error) {
    if (error.code === undefined) throw error;
    return { name: path, unreadable: error.code };
  } finally {
    await file?.close();
  }
}

async function receiptCase({ receipt, jwks, evidence }) {
  const bytesOr = (data) => (data === null ? null : Buffer.from(data, "base64"));
  try {
    const files = [{ name: "receipt", bytes: bytesOr(receipt) }];
    const [{ malformed, rounds }] = await verifyReceipts(files, bytesOr(jwks), bytesOr(evidence));
    if (malformed !== null) return null;
    return rounds.map(({ status, omitted, checks }) => ({ status, omitted, checks: checks.map(({ name, verdict }) => [name, verdict]) }));
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

async function serve() {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    if (request.receipt !== undefined) {
      process.stdout.write(`${JSON.stringify(await receiptCase(request))}\n`);
      continue;
    }
    const drand = request.drand === null ? null : readBeacons(Buffer.from(request.drand, "base64"));
    const files = request.files.map((data, at) => ({ name: `file ${at}`, bytes: Buffer.from(data, "base64") }));
    const reports = await verifyFiles(files, drand);
    const found = reports.map((report) => ({
      status: report.status,
      malformed: report.malformed,
      rounds: report.rounds.map((round) => ({
        status: round.status,
        proved: round.profileProved,
        checks: round.checks.map(({ name, verdict }) => [name, verdict]),
      })),
    }));
    process.stdout.write(`${JSON.stringify(found)}\n`);
  }
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
