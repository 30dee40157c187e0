-- A round whose payouts event the wallet has handled is credited.
SELECT (o.payload ->> 'round')::bigint AS round
FROM inbox AS i
JOIN outbox AS o ON o.event_id = i.event_id
LEFT JOIN round_credits AS c ON c.round_id = (o.payload ->> 'round')::bigint
WHERE i.consumer = 'wallet' AND o.routing_key = 'payouts.ready' AND c.round_id IS NULL
