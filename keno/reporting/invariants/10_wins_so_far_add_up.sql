-- What an account is said to have won so far of a round in chunks that has a maximum is the sum of its payouts there; it may be forgotten once the round has ended.
WITH begun AS (
    SELECT r.id FROM rounds AS r
    WHERE r.phase = 'drawn' AND EXISTS (SELECT FROM settlement_chunks AS k WHERE k.round_id = r.id)
        AND EXISTS (SELECT FROM rules_currencies AS l WHERE l.rules_hash = r.rules_hash AND l.round_win_max_minor IS NOT NULL)
), paid AS (
    SELECT p.round_id, p.account_id, sum(p.payout_minor) AS minor FROM payouts AS p
    WHERE p.payout_minor > 0 AND p.round_id IN (SELECT id FROM begun UNION SELECT round_id FROM round_wins) GROUP BY p.round_id, p.account_id
)
SELECT coalesce(p.round_id, w.round_id) AS round, coalesce(p.account_id, w.account_id) AS account, p.minor AS paid_minor, w.paid_minor AS kept_minor
FROM paid AS p FULL JOIN round_wins AS w ON w.round_id = p.round_id AND w.account_id = p.account_id
WHERE p.minor IS DISTINCT FROM w.paid_minor AND (w.round_id IS NOT NULL OR p.round_id IN (SELECT id FROM begun))
