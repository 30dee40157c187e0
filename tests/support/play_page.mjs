// The page /play as a server gives it, run without a browser: of the document there is what the script uses.
//   node play_page.mjs ORIGIN LIVE_URL HASH KEPT UNTIL
// Prints, as JSON, the bets that it shows and what its tab keeps, once they match the regular expression UNTIL.

const [origin, live, hash, kept, until] = process.argv.slice(2);
const PATIENCE_MS = 20_000;
const elements = new Map();

class Element {
  constructor() {
    Object.assign(this, { textContent: "", className: "", dataset: {}, attributes: {}, children: [], listeners: {} });
    this.classList = { toggle: () => {} };
  }
  append(...children) {
    this.children.push(...children);
  }
  replaceChildren(...children) {
    this.children = children;
  }
  addEventListener(kind, listener) {
    this.listeners[kind] = listener;
  }
  setAttribute(name, value) {
    this.attributes[name] = value;
  }
  get text() {
    return this.textContent + this.children.map((each) => each.text ?? each).join("");
  }
}

const unescaped = (text) => text.replaceAll("&quot;", '"').replaceAll("&#x27;", "'").replaceAll("&amp;", "&");
const page = await (await fetch(`${origin}/play`)).text();
const body = new Element();
body.dataset = { texts: unescaped(/data-texts="([^"]*)"/.exec(page)[1]), live };
const stored = new Map(kept === "" ? [] : [["keno-session", kept]]);
const { fetch: request } = globalThis;
Object.assign(globalThis, {
  document: {
    body,
    documentElement: { lang: "en" },
    createElement: () => new Element(),
    querySelectorAll: () => [],
    getElementById: (id) => elements.get(id) ?? elements.set(id, new Element()).get(id),
  },
  location: { ...new URL(`${origin}/play`), hash, pathname: "/play", search: "" },
  history: { replaceState: () => {} },
  sessionStorage: {
    getItem: (name) => stored.get(name) ?? null,
    setItem: (name, value) => stored.set(name, value),
    removeItem: (name) => stored.delete(name),
  },
  matchMedia: () => ({ matches: true }),
  fetch: (path, options) => request(`${origin}${path}`, options),
});

const script = await (await request(`${origin}${/src="([^"]+)"/.exec(page)[1]}`)).text();
await import(`data:text/javascript,${encodeURIComponent(script)}`);
const beganMs = Date.now();
const shown = () => document.getElementById("bets").children.map((each) => each.text);
while (!new RegExp(until).test(shown().join("\n")) && Date.now() < beganMs + PATIENCE_MS) {
  await new Promise((resolve) => setTimeout(resolve, 20));
}
const message = document.getElementById("message").text;
console.log(JSON.stringify({ bets: shown(), message, kept: stored.get("keno-session") }));
process.exit(0);
