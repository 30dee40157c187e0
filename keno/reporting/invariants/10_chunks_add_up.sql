-- The chunks of a round do not overlap, and each states what its bets and payouts add up to.
WITH chunks AS (
    SELECT round_id, first_bet_id, last_bet_id, lag(last_bet_id) OVER (PARTITION BY round_id ORDER BY last_bet_id) AS last_bet_id_before
    FROM settlement_chunks GROUP BY round_id, first_bet_id, last_bet_id
), booked AS (
    SELECT k.round_id, k.last_bet_id, b.operator_id, b.terms, count(*) AS bets_count, sum(b.stake_minor) AS staked_minor,
        coalesce(sum(p.payout_minor), 0) AS paid_minor, coalesce(sum(p.cut_minor), 0) AS cut_minor
    FROM chunks AS k
    JOIN bets AS b ON b.round_id = k.round_id AND b.id BETWEEN k.first_bet_id AND k.last_bet_id
    LEFT JOIN payouts AS p ON p.bet_id = b.id
    GROUP BY k.round_id, k.last_bet_id, b.operator_id, b.terms
)
SELECT round_id AS round, last_bet_id FROM chunks WHERE first_bet_id <= last_bet_id_before
UNION ALL
SELECT coalesce(k.round_id, b.round_id), coalesce(k.last_bet_id, b.last_bet_id)
FROM settlement_chunks AS k
FULL JOIN booked AS b ON b.round_id = k.round_id AND b.last_bet_id = k.last_bet_id AND b.operator_id = k.operator_id AND b.terms = k.terms
WHERE (k.bets_count, k.staked_minor, k.paid_minor, k.cut_minor) IS DISTINCT FROM (b.bets_count, b.staked_minor, b.paid_minor, b.cut_minor)
