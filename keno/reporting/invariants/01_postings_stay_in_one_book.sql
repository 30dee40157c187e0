-- Every wallet transaction moves money between two accounts of one operator and one currency, so that all entries of a currency sum to 0.
SELECT w.id AS wallet_transaction
FROM wallet_transactions AS w
JOIN accounts AS debit ON debit.id = w.debit_account_id
JOIN accounts AS credit ON credit.id = w.credit_account_id
WHERE debit.currency <> credit.currency OR debit.operator_id <> credit.operator_id OR w.operator_id <> debit.operator_id
