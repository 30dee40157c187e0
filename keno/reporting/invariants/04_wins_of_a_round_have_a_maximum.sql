-- No account is paid more in a round than the round's rules allow, nor by those chunks of a drawn one that are settled.
SELECT p.round_id AS round, p.account_id AS account, sum(p.payout_minor) AS paid_minor, limits.round_win_max_minor
FROM payouts AS p
JOIN rounds AS r ON r.id = p.round_id
JOIN accounts AS held ON held.id = p.account_id
JOIN rules_currencies AS limits ON limits.rules_hash = r.rules_hash AND limits.currency = held.currency
WHERE limits.round_win_max_minor IS NOT NULL
GROUP BY p.round_id, p.account_id, limits.round_win_max_minor
HAVING sum(p.payout_minor) > limits.round_win_max_minor
