-- The rounds of a room are numbered from 1 without a gap.
SELECT room_id, max(number) AS last_number, count(*) AS rounds FROM rounds GROUP BY room_id HAVING max(number) <> count(*)
