-- Every row of the audit trail hashes to what it states and names the hash of the row before it.
SELECT l.id AS audit_row
FROM audit_logs AS l LEFT JOIN public.audit_logs AS before ON before.id = l.id - 1
WHERE l.prev_hash IS DISTINCT FROM CASE l.id WHEN 1 THEN decode(repeat('00', 32), 'hex') ELSE before.hash END
    OR l.hash <> audit_hash(l.prev_hash, l.at_ms, l.actor, l.action, l.subject, l.detail)
UNION ALL
SELECT k.last_log_id
FROM checkpoint AS k LEFT JOIN public.audit_logs AS l ON l.id = k.last_log_id AND l.hash = k.last_log_hash
WHERE k.last_log_id > 0 AND l.id IS NULL
