-- The checkpoint names ended and credited rounds that are there and in the log, saw only what is past, and carries the sums of all entries behind it.
WITH entries AS (
    SELECT account_id, sum(minor) AS minor
    FROM (
        SELECT account_id, minor FROM carried
        UNION ALL
        SELECT credit_account_id, amount_minor FROM ledger
        UNION ALL
        SELECT debit_account_id, -amount_minor FROM ledger
    ) AS e
    GROUP BY account_id
)
SELECT 'account' AS kind, coalesce(e.account_id, b.account_id) AS id, b.minor AS carried_minor, e.minor AS entries_minor
FROM entries AS e FULL JOIN proved_balances AS b ON b.account_id = e.account_id
WHERE coalesce(e.minor, 0) <> coalesce(b.minor, 0)
UNION ALL
SELECT 'round', r.id, NULL, NULL
FROM rounds AS r LEFT JOIN round_credits AS c ON c.round_id = r.id
LEFT JOIN (SELECT DISTINCT p.round_id FROM payouts AS p) AS won ON won.round_id = r.id
LEFT JOIN public.log_entries AS told ON told.room_id = r.room_id AND told.series = 3 AND told.number = r.number
WHERE (r.phase = 'skipped' OR (told.index IS NOT NULL AND ((r.phase = 'settled' AND (c.round_id IS NOT NULL OR won.round_id IS NULL))
    OR (r.phase = 'void' AND c.round_id IS NOT NULL)))) IS NOT TRUE
UNION ALL
SELECT 'rounds', s.first_id, NULL, NULL
FROM spans AS s LEFT JOIN rounds AS r ON r.id >= s.first_id AND r.id < s.next_id
GROUP BY s.first_id, s.next_id HAVING count(r.id) <> s.next_id::numeric - s.first_id
UNION ALL
SELECT 'movement', w.id, NULL, NULL
FROM proved AS k JOIN public.wallet_transactions AS w ON w.id <= (
    SELECT max(seen.last_movement_id) FROM audit_checkpoints AS seen WHERE pg_snapshot_xmax(seen.snapshot) <= pg_snapshot_xmin(k.snapshot))
WHERE NOT pg_visible_in_snapshot(w.xid, k.snapshot)
UNION ALL
SELECT 'archived partition', a.first_round, NULL, NULL
FROM archived_partitions AS a CROSS JOIN proved AS k WHERE a.detached_ms > 0 AND NOT a.rounds <@ k.rounds
UNION ALL
SELECT 'snapshot', k.id, NULL, NULL FROM proved AS k WHERE pg_snapshot_xmax(k.snapshot) > pg_snapshot_xmax(pg_current_snapshot())
UNION ALL
SELECT 'audit row', k.last_log_id, NULL, NULL
FROM proved AS k LEFT JOIN public.audit_logs AS l ON l.id = k.last_log_id AND l.hash = k.last_log_hash
WHERE k.last_log_id > 0 AND l.id IS NULL
