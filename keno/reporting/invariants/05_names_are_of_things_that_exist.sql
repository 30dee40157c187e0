-- What bets, payouts, credits and ledger entries name is there: these tables have no foreign keys, for speed.
SELECT 'bet' AS kind, b.id
FROM bets AS b
LEFT JOIN rounds AS r ON r.id = b.round_id
LEFT JOIN accounts AS a ON a.id = b.account_id AND a.kind = 'player'
LEFT JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms AND t.currency = a.currency
WHERE r.id IS NULL OR a.id IS NULL OR t.terms IS NULL
UNION ALL
SELECT 'payout', p.bet_id FROM payouts AS p LEFT JOIN bets AS b ON b.id = p.bet_id AND b.round_id = p.round_id WHERE b.id IS NULL
UNION ALL
SELECT 'credit', c.round_id
FROM round_credits AS c
LEFT JOIN rounds AS r ON r.id = c.round_id
LEFT JOIN (SELECT p.round_id, count(*) AS credits_count FROM payouts AS p GROUP BY p.round_id) AS won ON won.round_id = r.id AND r.phase <> 'void'
LEFT JOIN (
    SELECT b.round_id, count(*) AS credits_count FROM bets AS b JOIN rounds AS v ON v.id = b.round_id AND v.phase = 'void' GROUP BY b.round_id
) AS refunded ON refunded.round_id = r.id
WHERE r.id IS NULL OR c.credits_count <> coalesce(won.credits_count, refunded.credits_count, 0)
UNION ALL
SELECT 'wallet transaction', w.id
FROM wallet_transactions AS w
LEFT JOIN accounts AS debit ON debit.id = w.debit_account_id
LEFT JOIN accounts AS credit ON credit.id = w.credit_account_id
LEFT JOIN bets AS b ON b.id = w.bet_id
WHERE debit.id IS NULL OR credit.id IS NULL OR (w.bet_id IS NOT NULL AND b.id IS NULL)
UNION ALL
SELECT 'rollback', r.wallet_transaction_id
FROM rollbacks AS r
LEFT JOIN public.wallet_transactions AS w ON w.id = r.wallet_transaction_id
LEFT JOIN operators AS o ON o.id = r.operator_id
WHERE o.id IS NULL OR (r.wallet_transaction_id IS NOT NULL AND w.id IS NULL)
