// The live stream: connects, says who is there, follows channels, and comes back where it left off.

const PAUSE_MIN_MS = 500;
const PAUSE_MAX_MS = 10_000;
const QUIET_MS = 60_000;

export const SESSION_OVER = 4403;
export const NOT_LET_IN = 4401;
const RESTART = 1012;

/** How long to wait before attempt `failures` + 1: longer each time, and not all clients at once. */
export function pauseMs(failures, random) {
  const longest = Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** failures);
  return longest / 2 + (random * longest) / 2;
}

/** How long the server asks to wait with the reason of a restart; null where it does not say. */
export function askedPauseMs(code, reason) {
  const found = code === RESTART ? /(\d{1,6}) ms/.exec(reason) : null;
  return found === null ? null : Number(found[1]);
}

export class Stream {
  /**
   * `connect()` gives a WebSocket; `token()` the access token; `channels` what to follow; `after()` the last number of
   * each. `on` has `frame(frame)`, `state(up)`, `betRefused(problem)`, `unwelcome(problem)`, which is of the connection
   * and no bet, and `refused(code)`; after `refused` it waits for `open()`.
   */
  constructor({ connect, token, channels, after, on, later = setTimeout, random = Math.random }) {
    Object.assign(this, { connect, token, channels, after, on, later, random });
    this.failures = 0;
    this.waiting = new Map();
    this.socket = null;
    this.up = false;
    this.requests = 0;
  }

  /** Connects now. */
  open() {
    const socket = this.connect();
    this.socket = socket;
    socket.onopen = () => this.#send({ type: "authenticate", token: this.token() });
    socket.onmessage = ({ data }) => {
      if (socket === this.socket) this.#heard(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => {
      if (socket === this.socket) this.#closed(code, reason);
    };
  }

  /** Places a bet; sent again, under its own id, until it is answered. */
  bet(bet) {
    this.requests += 1;
    const id = `b${this.requests}`;
    this.waiting.set(id, bet);
    if (this.up) this.#send({ type: "bet", id, bet });
  }

  /** Asks for a sign of life, and gives a connection up that gives none: the ones that die silently are the phones'. */
  ping() {
    const socket = this.socket;
    if (!this.up) return;
    this.alive = false;
    this.#send({ type: "ping" });
    this.later(() => {
      if (socket === this.socket && this.up && !this.alive) socket.close();
    }, QUIET_MS);
  }

  #heard(frame) {
    this.alive = true;
    if (frame.type === "welcome") {
      this.#send({ type: "subscribe", id: "s", channels: this.channels, after: this.after() });
    } else if (frame.type === "subscribed") {
      this.failures = 0;
      this.up = true;
      this.on.state(true);
      for (const [id, bet] of this.waiting) this.#send({ type: "bet", id, bet });
    } else if (frame.type !== "pong") {
      const known = frame.id !== undefined && this.waiting.delete(frame.id);
      if (frame.type !== "problem") {
        if (known || frame.id === undefined) this.on.frame(frame);
      } else if (known) this.on.betRefused(frame.problem);
      else this.on.unwelcome(frame.problem);
    }
  }

  #closed(code, reason) {
    this.up = false;
    this.on.state(false);
    if (code === SESSION_OVER || code === NOT_LET_IN) {
      this.on.refused(code);
      return;
    }
    const pause = askedPauseMs(code, reason) ?? pauseMs(this.failures, this.random());
    this.failures += 1;
    this.later(() => this.open(), pause);
  }

  #send(frame) {
    if (this.socket.readyState === 1) this.socket.send(JSON.stringify(frame));
  }
}
