-- An event that the wallet handled has credited every payout of its round.
SELECT p.bet_id AS bet
FROM inbox AS i
JOIN outbox AS o ON o.event_id = i.event_id
JOIN payouts AS p ON p.round_id = (o.payload ->> 'round')::bigint
LEFT JOIN wallet_transactions AS w ON w.bet_id = p.bet_id AND w.kind = 'win'
WHERE i.consumer = 'wallet' AND o.routing_key = 'payouts.ready' AND w.id IS NULL
