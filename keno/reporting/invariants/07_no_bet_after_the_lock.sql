-- Every bet was accepted while its round was on sale, and the lock counts exactly the bets there are.
SELECT r.id AS round, r.bets_count, coalesce(placed.bets_count, 0) AS bets, placed.last_ms AS last_bet_ms, r.locked_ms
FROM rounds AS r
LEFT JOIN (
    SELECT b.round_id, count(*) AS bets_count, min(b.accepted_ms) AS first_ms, max(b.accepted_ms) AS last_ms FROM bets AS b GROUP BY b.round_id
) AS placed ON placed.round_id = r.id
WHERE (r.lock_hash IS NOT NULL AND r.bets_count <> coalesce(placed.bets_count, 0))
    OR placed.last_ms > r.locked_ms OR placed.last_ms >= r.lock_due_ms OR placed.first_ms < r.opened_ms
