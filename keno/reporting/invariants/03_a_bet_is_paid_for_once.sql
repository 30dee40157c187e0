-- Every accepted bet is one entry of the ledger: its stake, from its player's account to the house.
SELECT b.id AS bet, count(l.bet_id) AS entries
FROM bets AS b
LEFT JOIN ledger AS l ON l.bet_id = b.id AND l.kind = 'bet'
LEFT JOIN accounts AS held ON held.id = l.debit_account_id AND held.kind = 'player'
LEFT JOIN accounts AS house ON house.id = l.credit_account_id AND house.kind = 'house'
GROUP BY b.id
HAVING count(l.bet_id) <> 1 OR count(held.id) <> 1 OR count(house.id) <> 1
