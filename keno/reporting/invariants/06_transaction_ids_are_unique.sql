-- A transaction id of an operator names one bet.
SELECT operator_id, transaction_id FROM bets GROUP BY operator_id, transaction_id HAVING count(*) > 1
