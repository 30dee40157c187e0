-- A transaction that anchors the log carries the size and root of the signed checkpoint it is for, and is the one that is said to have been mined.
SELECT 'transaction' AS kind, t.id
FROM anchor_transactions AS t
LEFT JOIN anchors AS a ON a.id = t.anchor_id
LEFT JOIN public.log_checkpoints AS c ON c.size = a.size
WHERE c.size IS NULL OR position(int8send(c.size) || c.root IN t.raw) = 0 OR position(a.contract IN t.raw) = 0
UNION ALL
SELECT 'anchor', a.id FROM anchors AS a LEFT JOIN public.log_checkpoints AS c ON c.size = a.size WHERE c.size IS NULL
UNION ALL
-- Several anchors can be of one size, and the transaction of one of them confirms another.
SELECT 'verdict', v.id
FROM anchor_verdicts AS v
JOIN anchors AS a ON a.id = v.anchor_id
WHERE v.verdict < 3 AND NOT EXISTS (
    SELECT FROM anchor_transactions AS t JOIN anchors AS own ON own.id = t.anchor_id
    WHERE t.hash = v.transaction_hash AND (own.chain_id, own.contract, own.size) = (a.chain_id, a.contract, a.size)
)
