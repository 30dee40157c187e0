-- A transaction that anchors the log carries the size and root of the signed checkpoint it is for, and is the one that is said to have been mined.
SELECT 'transaction' AS kind, t.id
FROM anchor_transactions AS t
LEFT JOIN anchors AS a ON a.id = t.anchor_id
LEFT JOIN public.log_checkpoints AS c ON c.size = a.size
WHERE c.size IS NULL OR position(int8send(c.size) || c.root IN t.raw) = 0 OR position(a.contract IN t.raw) = 0
UNION ALL
SELECT 'anchor', a.id FROM anchors AS a LEFT JOIN public.log_checkpoints AS c ON c.size = a.size WHERE c.size IS NULL
UNION ALL
SELECT 'verdict', v.id
FROM anchor_verdicts AS v LEFT JOIN anchor_transactions AS t ON t.hash = v.transaction_hash AND t.anchor_id = v.anchor_id
WHERE v.verdict < 3 AND t.hash IS NULL
