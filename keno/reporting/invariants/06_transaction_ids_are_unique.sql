-- A transaction id of an operator names one bet, and one movement or rollback.
SELECT 'bet' AS kind, operator_id, transaction_id FROM bets GROUP BY operator_id, transaction_id HAVING count(*) > 1
UNION ALL
SELECT 'movement', m.operator_id, m.transaction_id
FROM (
    SELECT operator_id, transaction_id FROM wallet_transactions WHERE transaction_id IS NOT NULL
    UNION ALL
    SELECT operator_id, transaction_id FROM rollbacks WHERE wallet_transaction_id IS NULL
) AS m
GROUP BY m.operator_id, m.transaction_id HAVING count(*) > 1
