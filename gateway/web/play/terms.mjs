// What the rules of the room allow to stake. A room gets other rules at any round, and the server may be away meanwhile.

import { minor } from "./money.mjs";

/** What published rules allow in a currency; null where they do not offer it. */
export function allowedBy(rules, currency) {
  const offered = rules.currencies[currency];
  if (offered === undefined) return null;
  return {
    exponent: offered.exponent,
    least: minor(offered.stake_min_minor),
    greatest: minor(offered.stake_max_minor),
    step: minor(offered.stake_step_minor),
  };
}

export class Terms {
  /** `fetched(path)` gives JSON or throws, `pause()` waits before the next attempt, `on(terms)` hears what holds now. */
  constructor({ fetched, pause, currency, on }) {
    Object.assign(this, { fetched, pause, currency, on });
    this.wanted = null;
    this.known = null;
    this.busy = false;
  }

  /** Learns what the rules of this hash allow, however often it takes; nothing where it is known. */
  async learn(hash) {
    this.wanted = hash;
    if (this.busy) return;
    this.busy = true;
    while (this.wanted !== this.known) {
      const asked = this.wanted;
      try {
        this.on(allowedBy(await this.fetched(`/v1/rules/${asked}`), this.currency));
        this.known = asked;
      } catch {
        await this.pause();
      }
    }
    this.busy = false;
  }
}
