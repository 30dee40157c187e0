// Bytes as lower-case hex text, integers as BigInt, hashes by WebCrypto, and the trees of RFC 9162 (fairness.md).
//
// Text is what evidence shows and what can be compared with ===, so bytes become an array only to be hashed.

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

// How many hashes are asked for at once: enough to hide the waiting, few enough for any memory.
const BATCH = 4096;

/** The bytes of lower-case hex text that was checked to be such. */
export function bytesOf(hex) {
  const bytes = new Uint8Array(hex.length / 2);
  for (let at = 0; at < bytes.length; at += 1) {
    bytes[at] = Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16);
  }
  return bytes;
}

export function hexOf(bytes) {
  let hex = "";
  for (const byte of bytes) hex += HEX[byte];
  return hex;
}

/** An integer in `size` bytes, big-endian, as hex. The caller knows that it fits. */
export function uint(value, size) {
  return BigInt(value).toString(16).padStart(2 * size, "0");
}

/** The hex of an ASCII tag or of any text in UTF-8. */
export function utf8(text) {
  return hexOf(new TextEncoder().encode(text));
}

/** SHA-256 of bytes, as hex. */
export async function sha256OfBytes(bytes) {
  return hexOf(new Uint8Array(await globalThis.crypto.subtle.digest("SHA-256", bytes)));
}

/** SHA-256 of the bytes that `hex` names, as hex. */
export function sha256(hex) {
  return sha256OfBytes(bytesOf(hex));
}

/** SHA-256 of a tag of the protocol followed by fields in hex. */
export function tagged(tag, ...fields) {
  return sha256(utf8(tag) + fields.join(""));
}

/** A function that makes the HMAC-SHA256 of hex under this key. */
export async function hmacUnder(key) {
  const secret = { name: "HMAC", hash: "SHA-256" };
  const imported = await globalThis.crypto.subtle.importKey("raw", bytesOf(key), secret, false, ["sign"]);
  return async (hex) => hexOf(new Uint8Array(await globalThis.crypto.subtle.sign("HMAC", imported, bytesOf(hex))));
}

/** Whether `signature` is the key's on `message`, all in hex; null where this machine's WebCrypto has no Ed25519. */
export async function ed25519Verifies(publicKey, message, signature) {
  const { subtle } = globalThis.crypto;
  try {
    const key = await subtle.importKey("raw", bytesOf(publicKey), { name: "Ed25519" }, false, ["verify"]);
    return await subtle.verify({ name: "Ed25519" }, key, bytesOf(signature), bytesOf(message));
  } catch (error) {
    if (!(error instanceof globalThis.DOMException)) throw error;
    return error.name === "NotSupportedError" ? null : false; // else the key is no point of the curve
  }
}

export function leafHash(leaf) {
  return sha256(`00${leaf}`);
}

/** The hashes of many leaves, in their order. */
export function leafHashes(leaves) {
  return inBatches(leaves.length, (at) => leafHash(leaves[at]));
}

/** Root of the tree whose leaves have these hashes. A last node without a partner rises as it is. */
export async function treeRoot(hashes) {
  if (hashes.length === 0) return sha256("");
  let nodes = hashes;
  while (nodes.length > 1) {
    const below = nodes;
    nodes = await inBatches(below.length >> 1, (at) => sha256(`01${below[2 * at]}${below[2 * at + 1]}`));
    if (below.length % 2 === 1) nodes.push(below.at(-1));
  }
  return nodes[0];
}

/**
 * The root to which the inclusion proof of a leaf leads, or null if no tree of `size` leaves has such a proof.
 *
 * The algorithm of RFC 9162, 2.1.3.2; `index` and `size` are BigInt.
 */
export async function rootOfPath(hash, index, size, path) {
  if (index < 0n || index >= size) return null;
  let [node, last] = [index, size - 1n];
  let root = hash;
  for (const sibling of path) {
    if (last === 0n) return null;
    if (node % 2n === 1n || node === last) {
      root = await sha256(`01${sibling}${root}`);
      while (node % 2n === 0n && node !== 0n) [node, last] = [node >> 1n, last >> 1n];
    } else {
      root = await sha256(`01${root}${sibling}`);
    }
    [node, last] = [node >> 1n, last >> 1n];
  }
  return last === 0n ? root : null;
}

async function inBatches(count, task) {
  const results = [];
  for (let from = 0; from < count; from += BATCH) {
    const batch = [];
    for (let at = from; at < Math.min(from + BATCH, count); at += 1) batch.push(task(at));
    for (const result of await Promise.all(batch)) results.push(result);
  }
  return results;
}
