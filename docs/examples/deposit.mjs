// A deposit with Node alone: node deposit.mjs ORIGIN KEY_ID SECRET_HEX PLAYER
import { createHash, createHmac, randomUUID } from "node:crypto";

const [origin, keyId, secret, player] = process.argv.slice(2);
const target = `${origin}/v1/wallets/${encodeURIComponent(player)}/deposits`;
const nonce = randomUUID();
const body = JSON.stringify({ transaction_id: `deposit-${nonce}`, amount_minor: 5000, currency: "EUR" });

const digest = `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;
const created = Math.floor(Date.now() / 1000);
const params = `("@method" "@target-uri" "content-digest");created=${created};nonce="${nonce}";keyid="${keyId}";alg="hmac-sha256"`;
const base = [`"@method": POST`, `"@target-uri": ${target}`, `"content-digest": ${digest}`, `"@signature-params": ${params}`].join("\n");
const signature = createHmac("sha256", Buffer.from(secret, "hex")).update(base).digest("base64");

const answer = await fetch(target, {
  method: "POST",
  body,
  headers: {
    "Content-Type": "application/json",
    "Content-Digest": digest,
    "Signature-Input": `sig=${params}`,
    Signature: `sig=:${signature}:`,
  },
});
console.log(await answer.text());
process.exitCode = answer.ok ? 0 : 1;
