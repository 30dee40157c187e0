-- A player's balance is the sum of the entries of its account, and not below 0.
WITH entries AS (
    SELECT credit_account_id AS account_id, amount_minor FROM wallet_transactions
    UNION ALL
    SELECT debit_account_id, -amount_minor FROM wallet_transactions
)
SELECT a.id AS account, a.balance_minor, coalesce(sum(e.amount_minor), 0) AS entries_minor
FROM accounts AS a LEFT JOIN entries AS e ON e.account_id = a.id
WHERE a.kind = 'player'
GROUP BY a.id
HAVING a.balance_minor <> coalesce(sum(e.amount_minor), 0) OR a.balance_minor < 0
