// The session of a player: a ticket or a refresh token for tokens, kept for this tab alone.

const KEPT = "keno-session";
const REFRESH_AT = 0.7;

/** Why there is no session: `title` and `remedy` are for the player, in the language that was asked for. */
export class SessionError extends Error {
  constructor(problem) {
    super(problem.code);
    this.problem = problem;
  }
}

/** The ticket in a fragment such as "#ticket=...", or null. */
export function ticketOf(hash) {
  return new URLSearchParams(hash.replace(/^#/, "")).get("ticket");
}

export class Session {
  /** `storage` is the tab's; `post(path, body)` gives `{status, body}` and throws where nobody answers. */
  constructor(storage, post) {
    this.storage = storage;
    this.post = post;
    this.tokens = null;
    this.refreshing = null;
  }

  /** Begins with a ticket, or goes on in this tab. What the session is; null where there is nothing to begin with. */
  async begin(ticket) {
    if (ticket !== null) {
      this.storage.removeItem(KEPT);
      return this.#take(await this.post("/v1/auth/exchange", { ticket }));
    }
    const kept = this.storage.getItem(KEPT);
    if (kept === null) return null;
    this.tokens = { refresh_token: kept };
    return this.refresh();
  }

  /** The next tokens. Whoever asks meanwhile gets the same: a refresh token is for one use. */
  refresh() {
    this.refreshing ??= this.post("/v1/auth/refresh", { refresh_token: this.tokens.refresh_token })
      .then((answer) => this.#take(answer))
      .finally(() => {
        this.refreshing = null;
      });
    return this.refreshing;
  }

  /** When the access token is to be replaced, in ms from when it was given. */
  get refreshAfterMs() {
    return this.tokens.expires_in_s * 1000 * REFRESH_AT;
  }

  #take({ status, body }) {
    if (status >= 500 || status === 429) throw new Error(`the server answered ${status}`);
    if (status !== 200) {
      this.storage.removeItem(KEPT);
      throw new SessionError(body);
    }
    this.tokens = body;
    this.storage.setItem(KEPT, body.refresh_token);
    return body.session;
  }
}
