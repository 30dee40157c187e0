-- A round whose payouts or end without a draw the wallet has handled is credited.
SELECT (o.payload ->> 'round')::bigint AS round
FROM inbox AS i
JOIN outbox AS o ON o.event_id = i.event_id
LEFT JOIN round_credits AS c ON c.round_id = (o.payload ->> 'round')::bigint
WHERE i.consumer = 'wallet' AND o.routing_key IN ('payouts.ready', 'round.voided') AND c.round_id IS NULL
