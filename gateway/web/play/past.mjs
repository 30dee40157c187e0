// The bets from before the page was there: the stream tells which are open and which end, not which had ended by then.

const BETS_MAX = 10;
const ENTRIES_MAX = 50;

/** The player's newest bets as they stand. `fetched(path)` gives JSON or throws. */
export async function lastBets(fetched) {
  const { entries } = await fetched(`/v1/player/history?limit=${ENTRIES_MAX}`);
  const ids = entries.filter(({ kind }) => kind === "bet").map((entry) => entry.bet_id);
  return Promise.all(ids.slice(0, BETS_MAX).map((id) => fetched(`/v1/player/bets/${id}`)));
}
