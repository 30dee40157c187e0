-- Every row of the audit trail hashes to what it states and names the hash of the row before it.
SELECT l.id AS audit_row
FROM (
    SELECT *, lag(hash, 1, decode(repeat('00', 32), 'hex')) OVER (ORDER BY id) AS hash_before, row_number() OVER (ORDER BY id) AS place FROM audit_logs
) AS l
WHERE l.prev_hash <> l.hash_before OR l.id <> l.place
    OR l.hash <> audit_hash(l.prev_hash, l.at_ms, l.actor, l.action, l.subject, l.detail)
