-- Every bet was accepted while its round was on sale, and the lock counts exactly the bets there are.
SELECT r.id AS round, r.bets_count, count(b.id) AS bets, max(b.accepted_ms) AS last_bet_ms, r.locked_ms
FROM rounds AS r LEFT JOIN bets AS b ON b.round_id = r.id
GROUP BY r.id
HAVING (r.lock_hash IS NOT NULL AND r.bets_count <> count(b.id))
    OR max(b.accepted_ms) > r.locked_ms OR max(b.accepted_ms) >= r.lock_due_ms OR min(b.accepted_ms) < r.opened_ms
