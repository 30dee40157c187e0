-- Every movement of money is between two accounts of one operator and one currency, so that all entries of a currency sum to 0.
SELECT l.kind, l.bet_id, l.transaction_id, l.amount_minor
FROM ledger AS l
LEFT JOIN accounts AS debit ON debit.id = l.debit_account_id
LEFT JOIN accounts AS credit ON credit.id = l.credit_account_id
WHERE (debit.currency = credit.currency AND debit.operator_id = credit.operator_id AND l.operator_id = debit.operator_id) IS NOT TRUE
