-- The totals of a settled round are those of its bets and payouts, which are the changes of the house account.
WITH booked AS (
    SELECT b.round_id, a.operator_id, a.currency, count(*) AS bets_count, sum(b.stake_minor) AS staked_minor,
        coalesce(sum(p.payout_minor), 0) AS paid_minor, coalesce(sum(p.cut_minor), 0) AS cut_minor
    FROM bets AS b
    JOIN rounds AS r ON r.id = b.round_id AND r.phase = 'settled'
    JOIN accounts AS a ON a.id = b.account_id
    LEFT JOIN payouts AS p ON p.bet_id = b.id
    GROUP BY b.round_id, a.operator_id, a.currency
)
SELECT coalesce(t.round_id, k.round_id) AS round, coalesce(t.currency, k.currency) AS currency, t.staked_minor, k.staked_minor AS booked_minor
FROM round_totals AS t
FULL JOIN booked AS k ON k.round_id = t.round_id AND k.operator_id = t.operator_id AND k.currency = t.currency
WHERE (t.bets_count, t.staked_minor, t.paid_minor, t.cut_minor) IS DISTINCT FROM (k.bets_count, k.staked_minor, k.paid_minor, k.cut_minor)
