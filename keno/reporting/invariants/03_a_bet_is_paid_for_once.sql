-- Every accepted bet has exactly one debit, of its stake, from its player to the house.
SELECT b.id AS bet, count(w.id) AS debits
FROM bets AS b
LEFT JOIN wallet_transactions AS w ON w.bet_id = b.id AND w.kind = 'bet'
LEFT JOIN accounts AS house ON house.id = w.credit_account_id AND house.kind = 'house'
GROUP BY b.id
HAVING count(w.id) <> 1 OR count(house.id) <> 1 OR min(w.amount_minor) <> b.stake_minor OR min(w.debit_account_id) <> b.account_id
