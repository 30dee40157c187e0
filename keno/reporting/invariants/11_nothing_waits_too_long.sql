-- No event waits unsent, no payout or stake of a void round uncredited and no round unfinished for more than five minutes.
SELECT 'events' AS kind, id FROM public.outbox_batches WHERE sent_ms IS NULL AND created_ms < (SELECT a.at_ms FROM asked AS a) - 300000
UNION ALL
SELECT 'payout', p.bet_id FROM payouts AS p
JOIN rounds AS r ON r.id = p.round_id
LEFT JOIN round_credits AS c ON c.round_id = p.round_id
WHERE c.round_id IS NULL AND r.ended_ms < (SELECT a.at_ms FROM asked AS a) - 300000
UNION ALL
SELECT 'void round', r.id FROM rounds AS r LEFT JOIN round_credits AS c ON c.round_id = r.id
WHERE r.phase = 'void' AND c.round_id IS NULL AND r.ended_ms < (SELECT a.at_ms FROM asked AS a) - 300000
UNION ALL
SELECT 'round', id FROM rounds WHERE ended_ms IS NULL AND draw_due_ms < (SELECT a.at_ms FROM asked AS a) - 300000
