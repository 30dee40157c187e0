// Strict JSON: objects as Map, integers as BigInt, and nothing that two readers could understand differently.
//
// Refused are duplicate keys, anything but integers, lone surrogates, and what JSON itself forbids. JSON.parse can see
// none of the first three, and rounds integers above 2^53.

/** The input is not an evidence bundle. */
export class Malformed extends Error {}

const DEPTH_MAX = 64;
const DIGITS_MAX = 4300;
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const WORDS = [["true", true], ["false", false], ["null", null]];
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** The value of a text that is one JSON value; throws Malformed. */
export function parseJson(text) {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.skipSpace();
  if (reader.at < text.length) throw reader.error("something follows the value");
  return value;
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  error(why) {
    return new Malformed(`not strict JSON: ${why}, character ${this.at + 1}`);
  }

  skipSpace() {
    while (" \t\n\r".includes(this.text[this.at] ?? "x")) this.at += 1;
  }

  /** Whether this character comes next, which is then behind us. */
  takes(character) {
    this.skipSpace();
    if (this.text[this.at] !== character) return false;
    this.at += 1;
    return true;
  }

  value(depth) {
    if (depth > DEPTH_MAX) throw this.error("nested too deeply");
    if (this.takes("{")) return this.object(depth);
    if (this.takes("[")) return this.array(depth);
    if (this.takes('"')) return this.string();
    const word = WORDS.find(([spelling]) => this.text.startsWith(spelling, this.at));
    if (word === undefined) return this.integer();
    this.at += word[0].length;
    return word[1];
  }

  object(depth) {
    const members = new Map();
    if (this.takes("}")) return members;
    do {
      if (!this.takes('"')) throw this.error("a key belongs here");
      const key = this.string();
      if (members.has(key)) throw this.error("a key is there twice");
      if (!this.takes(":")) throw this.error("a colon belongs here");
      members.set(key, this.value(depth + 1));
    } while (this.takes(","));
    if (!this.takes("}")) throw this.error("an object does not end");
    return members;
  }

  array(depth) {
    const items = [];
    if (this.takes("]")) return items;
    do items.push(this.value(depth + 1));
    while (this.takes(","));
    if (!this.takes("]")) throw this.error("a list does not end");
    return items;
  }

  integer() {
    const number = /-?(?:0|[1-9][0-9]*)/y;
    number.lastIndex = this.at;
    const match = number.exec(this.text);
    if (match === null) throw this.error("no value");
    if (match[0].length > DIGITS_MAX) throw this.error("an integer is too long");
    this.at = number.lastIndex;
    if (".eE".includes(this.text[this.at] ?? "x")) throw this.error("not an integer");
    return BigInt(match[0]);
  }

  string() {
    const plain = /[^"\\\u0000-\u001f]*/y;
    const parts = [];
    for (;;) {
      plain.lastIndex = this.at;
      parts.push(plain.exec(this.text)[0]);
      this.at = plain.lastIndex;
      const end = this.text[this.at];
      this.at += 1;
      if (end === '"') break;
      if (end !== "\\") throw this.error("a string does not end");
      parts.push(this.escaped());
    }
    const text = parts.join("");
    if (LONE_SURROGATE.test(text)) throw this.error("half of a surrogate pair");
    return text;
  }

  escaped() {
    const letter = this.text[this.at];
    this.at += 1;
    if (letter === "u") {
      const digits = this.text.slice(this.at, this.at + 4);
      if (!/^[0-9A-Fa-f]{4}$/.test(digits)) throw this.error("four hex digits belong here");
      this.at += 4;
      return String.fromCharCode(Number.parseInt(digits, 16));
    }
    if (letter === undefined || !Object.hasOwn(ESCAPES, letter)) throw this.error("an unknown escape");
    return ESCAPES[letter];
  }
}
