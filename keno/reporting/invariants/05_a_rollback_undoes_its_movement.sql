-- A rollback is the reverse of the deposit or withdrawal that it names; a movement has at most one, and after a tombstone nothing comes.
SELECT coalesce(r.operator_id, undo.operator_id) AS operator_id, r.target_id, r.transaction_id, undo.id AS wallet_transaction
FROM rollbacks AS r
FULL JOIN (SELECT * FROM wallet_transactions AS w WHERE w.kind = 'rollback') AS undo ON undo.id = r.wallet_transaction_id
LEFT JOIN public.wallet_transactions AS target ON target.operator_id = r.operator_id AND target.transaction_id = r.target_id
LEFT JOIN public.bets AS bet ON bet.operator_id = r.operator_id AND bet.transaction_id = r.target_id
WHERE r.target_id IS NULL
    OR bet.id IS NOT NULL
    OR (r.wallet_transaction_id IS NULL AND target.id IS NOT NULL)
    OR (undo.id IS NOT NULL AND (target.kind IN ('deposit', 'withdrawal') AND undo.operator_id = target.operator_id
        AND undo.transaction_id = r.transaction_id AND undo.amount_minor = target.amount_minor
        AND undo.debit_account_id = target.credit_account_id AND undo.credit_account_id = target.debit_account_id) IS NOT TRUE)
UNION ALL
SELECT r.operator_id, r.target_id, r.transaction_id, NULL
FROM rollbacks AS r JOIN public.rollbacks AS other ON other.operator_id = r.operator_id AND other.target_id = r.target_id
WHERE other.transaction_id <> r.transaction_id
