-- Every settled round has its event, and one for its payouts where it has any, for as long as the outbox keeps events.
WITH told AS (
    SELECT (o.payload ->> 'round')::bigint AS round_id, count(*) FILTER (WHERE o.routing_key = 'round.settled') AS settled,
        count(*) FILTER (WHERE o.routing_key = 'payouts.ready') AS payouts_ready
    FROM outbox AS o
    WHERE o.routing_key IN ('round.settled', 'payouts.ready')
    GROUP BY 1
)
SELECT r.id AS round, t.settled, t.payouts_ready
FROM rounds AS r LEFT JOIN told AS t ON t.round_id = r.id
-- A minute more than the events are kept: the end of a round and its events are stamped one after the other.
WHERE r.phase = 'settled' AND r.ended_ms >= (SELECT h.kept_since_ms + 60000 FROM outbox_horizon AS h)
    AND (t.settled IS DISTINCT FROM 1 OR t.payouts_ready <> EXISTS (SELECT FROM payouts AS p WHERE p.round_id = r.id)::integer)
