// An operator's client of the npm package http-message-signatures: it signs calls, and checks what it is answered.
//
// On standard input, a line of JSON each: first {origin, key_id, algorithm, key}, where `key` is the private key as PEM or
// the shared secret in hex; then calls {method, target, body}, with the body as text or null. For each call it prints a
// line {status, body, fault}: `fault` says what is wrong with the signature of the answer, or is null.
import { createHash, createPublicKey, randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { createSigner, createVerifier, httpbis } from "http-message-signatures";

const REQUEST_FIELDS = ["@method", "@target-uri", "content-digest"];
const ANSWER_FIELDS = ["@status", "content-digest", "signature"];
const digestOf = (text) => `sha-256=:${createHash("sha256").update(text).digest("base64")}:`;

/** The keys that answers may be signed with, by their ids: the shared secret, or what the server publishes. */
async function theirKeys({ origin, key_id, algorithm, key }) {
  if (algorithm === "hmac-sha256") {
    return new Map([[key_id, createVerifier(Buffer.from(key, "hex"), algorithm)]]);
  }
  const { keys } = await (await fetch(`${origin}/.well-known/jwks.json`)).json();
  return new Map(keys.map((jwk) => [jwk.kid, createVerifier(createPublicKey({ key: jwk, format: "jwk" }), algorithm)]));
}

async function faultOf(answer, body, request, keys) {
  if (answer.headers.get("content-digest") !== digestOf(body)) return "the digest is not that of the body";
  const keyLookup = async ({ keyid }) => (keys.has(keyid) ? { id: keyid, verify: keys.get(keyid) } : null);
  const config = { keyLookup, requiredFields: ANSWER_FIELDS, requiredParams: ["created", "keyid", "alg"], maxAge: 60 };
  const message = { status: answer.status, headers: Object.fromEntries(answer.headers) };
  try {
    const verified = await httpbis.verifyMessage({ ...config, tolerance: 5 }, message, request);
    return verified === true ? null : `verified: ${verified}`;
  } catch (error) {
    return String(error);
  }
}

async function call(who, signer, keys, { method, target, body }) {
  const headers = { "Content-Digest": digestOf(body ?? "") };
  if (body !== null) headers["Content-Type"] = "application/json";
  const params = ["created", "nonce", "keyid", "alg"];
  const signing = { key: signer, fields: REQUEST_FIELDS, params, paramValues: { nonce: randomUUID() } };
  const request = await httpbis.signMessage(signing, { method, url: who.origin + target, headers });
  const answer = await fetch(request.url, { method, headers: request.headers, body: body ?? undefined });
  const text = await answer.text();
  return { status: answer.status, body: text, fault: await faultOf(answer, text, request, keys) };
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const who = JSON.parse((await lines.next()).value);
const key = who.algorithm === "hmac-sha256" ? Buffer.from(who.key, "hex") : who.key;
const signer = createSigner(key, who.algorithm, who.key_id);
const keys = await theirKeys(who);
for await (const line of lines) {
  process.stdout.write(`${JSON.stringify(await call(who, signer, keys, JSON.parse(line)))}\n`);
}
