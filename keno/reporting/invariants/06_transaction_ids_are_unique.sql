-- A transaction id of an operator names one bet, and one movement or rollback.
SELECT 'bet' AS kind, b.operator_id, b.transaction_id
FROM bets AS b JOIN public.bets AS other ON other.operator_id = b.operator_id AND other.transaction_id = b.transaction_id
WHERE other.id <> b.id
UNION ALL
SELECT 'movement', w.operator_id, w.transaction_id
FROM wallet_transactions AS w
JOIN public.wallet_transactions AS other ON other.operator_id = w.operator_id AND other.transaction_id = w.transaction_id
WHERE other.id <> w.id
UNION ALL
SELECT 'movement', w.operator_id, w.transaction_id
FROM wallet_transactions AS w
JOIN public.rollbacks AS tombstone ON tombstone.operator_id = w.operator_id AND tombstone.transaction_id = w.transaction_id
WHERE tombstone.wallet_transaction_id IS NULL
UNION ALL
SELECT 'tombstone', tombstone.operator_id, tombstone.transaction_id
FROM rollbacks AS tombstone
JOIN public.wallet_transactions AS w ON w.operator_id = tombstone.operator_id AND w.transaction_id = tombstone.transaction_id
WHERE tombstone.wallet_transaction_id IS NULL
UNION ALL
SELECT 'rollback', r.operator_id, r.transaction_id
FROM rollbacks AS r JOIN public.rollbacks AS other ON other.operator_id = r.operator_id AND other.transaction_id = r.transaction_id
WHERE other.target_id <> r.target_id
