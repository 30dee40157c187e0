-- A bet is open, lost, paid or refunded, and only one of them: a payout only in a settled round or a chunk of a drawn one, a refund only in a void one.
SELECT b.id AS bet, r.phase, p.payout_minor, refund.amount_minor AS refund_minor
FROM bets AS b
JOIN rounds AS r ON r.id = b.round_id
LEFT JOIN payouts AS p ON p.bet_id = b.id
LEFT JOIN round_credits AS c ON c.round_id = b.round_id
LEFT JOIN wallet_transactions AS refund ON refund.bet_id = b.id AND refund.kind = 'refund'
WHERE r.phase = 'skipped'
    OR (p.bet_id IS NOT NULL AND (p.round_id <> b.round_id OR p.account_id <> b.account_id))
    OR (p.bet_id IS NOT NULL AND r.phase <> 'settled' AND (r.phase <> 'drawn' OR NOT EXISTS (
        SELECT FROM settlement_chunks AS k WHERE k.round_id = r.id AND b.id BETWEEN k.first_bet_id AND k.last_bet_id)))
    OR (c.round_id IS NOT NULL AND r.phase <> 'settled')
    OR (refund.id IS NOT NULL AND (r.phase <> 'void' OR refund.amount_minor <> b.stake_minor OR refund.credit_account_id <> b.account_id))
