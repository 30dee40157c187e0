-- A bet is open, lost, paid or refunded, and only one of them: a payout only in a settled round or a chunk of a drawn one, a refund once and only in a void one.
SELECT b.id AS bet, r.phase, p.payout_minor, refund.minor AS refund_minor
FROM bets AS b
JOIN rounds AS r ON r.id = b.round_id
LEFT JOIN payouts AS p ON p.bet_id = b.id
LEFT JOIN round_credits AS c ON c.round_id = b.round_id
LEFT JOIN (
    SELECT w.bet_id, sum(w.amount_minor) AS minor, min(w.credit_account_id) AS account_id, max(w.credit_account_id) AS last_account_id
    FROM wallet_transactions AS w WHERE w.kind = 'refund' GROUP BY w.bet_id
) AS refund ON refund.bet_id = b.id
WHERE r.phase = 'skipped'
    OR (p.bet_id IS NOT NULL AND (p.round_id <> b.round_id OR p.account_id <> b.account_id))
    OR (p.bet_id IS NOT NULL AND r.phase <> 'settled' AND (r.phase <> 'drawn' OR NOT EXISTS (
        SELECT FROM settlement_chunks AS k WHERE k.round_id = r.id AND b.id BETWEEN k.first_bet_id AND k.last_bet_id)))
    OR (c.round_id IS NOT NULL AND r.phase NOT IN ('settled', 'void'))
    OR (refund.bet_id IS NOT NULL AND (r.phase <> 'void' OR c.round_id IS NULL OR refund.minor <> b.stake_minor
        OR refund.account_id <> b.account_id OR refund.last_account_id <> b.account_id))
    OR (refund.bet_id IS NULL AND r.phase = 'void' AND c.round_id IS NOT NULL)
