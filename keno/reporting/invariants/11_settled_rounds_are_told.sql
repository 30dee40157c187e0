-- Every settled round has its event, and one for its payouts where it has any.
WITH told AS (
    SELECT (o.payload ->> 'round')::bigint AS round_id, count(*) FILTER (WHERE o.routing_key = 'round.settled') AS settled,
        count(*) FILTER (WHERE o.routing_key = 'payouts.ready') AS payouts_ready
    FROM outbox AS o
    WHERE o.routing_key IN ('round.settled', 'payouts.ready')
    GROUP BY 1
)
SELECT r.id AS round, t.settled, t.payouts_ready
FROM rounds AS r LEFT JOIN told AS t ON t.round_id = r.id
WHERE r.phase = 'settled'
    AND (t.settled IS DISTINCT FROM 1 OR t.payouts_ready <> EXISTS (SELECT FROM payouts AS p WHERE p.round_id = r.id)::integer)
