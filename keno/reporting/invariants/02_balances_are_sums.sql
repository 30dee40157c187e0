-- A player's balance is the sum of the entries of its account, and not below 0.
WITH entries AS (
    SELECT account_id, sum(minor) AS minor
    FROM (
        SELECT account_id, minor FROM carried
        UNION ALL
        SELECT credit_account_id, amount_minor FROM ledger
        UNION ALL
        SELECT debit_account_id, -amount_minor FROM ledger
    ) AS e
    GROUP BY account_id
)
SELECT a.id AS account, a.balance_minor, coalesce(e.minor, 0) AS entries_minor
FROM accounts AS a LEFT JOIN entries AS e ON e.account_id = a.id
WHERE a.kind = 'player' AND (a.balance_minor <> coalesce(e.minor, 0) OR a.balance_minor < 0)
