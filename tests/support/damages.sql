-- What can be done to a database behind the back of its rules, and which invariants then do not hold: those named, and no others.
-- The table `chosen` names a won and a lost bet of a settled round, that round, the round on sale and a bet in it, a void round and a bet in it, the last row
-- but one of the audit trail, and the entry of the log that is the lock of the settled round.

-- damage: a deposit came from the cash of another currency
-- breaks: 01_postings_stay_in_one_book
UPDATE wallet_transactions AS w
SET debit_account_id = (SELECT a.id FROM accounts AS a WHERE a.kind = 'cash' AND a.operator_id = w.operator_id AND a.currency = 'USD')
WHERE w.kind = 'deposit' AND w.credit_account_id = (SELECT account FROM chosen);

-- damage: an entry is in another operator's name
-- breaks: 01_postings_stay_in_one_book
UPDATE wallet_transactions AS w SET operator_id = (SELECT o.id FROM operators AS o WHERE o.id <> w.operator_id)
WHERE w.kind = 'deposit' AND w.credit_account_id = (SELECT account FROM chosen);

-- damage: a deposit came from the cash of another operator, in its name
-- breaks: 01_postings_stay_in_one_book
UPDATE wallet_transactions AS w SET operator_id = cash.operator_id, debit_account_id = cash.id
FROM accounts AS cash
WHERE cash.kind = 'cash' AND cash.currency = 'EUR' AND cash.operator_id <> w.operator_id
    AND w.kind = 'deposit' AND w.credit_account_id = (SELECT account FROM chosen);

-- damage: an exposure is more than its bets can win
-- breaks: 03_a_kept_exposure_is_that_of_its_bets
UPDATE round_exposures SET exposure_minor = exposure_minor + 1 WHERE round_id = (SELECT on_sale FROM chosen);

-- damage: the exposure of an ended round is less than its bets could win
-- breaks: 03_a_kept_exposure_is_that_of_its_bets
UPDATE round_exposures SET exposure_minor = exposure_minor - 1 WHERE round_id = (SELECT round FROM chosen);

-- damage: a balance is not what was entered
-- breaks: 02_balances_are_sums
UPDATE accounts SET balance_minor = balance_minor + 1 WHERE id = (SELECT account FROM chosen);

-- damage: a deposit is gone
-- breaks: 02_balances_are_sums
DELETE FROM wallet_transactions WHERE kind = 'deposit' AND credit_account_id = (SELECT account FROM chosen);

-- damage: a win went to another player
-- breaks: 02_balances_are_sums 03_a_bet_ends_in_one_way
UPDATE payouts SET account_id = (SELECT a.id FROM accounts AS a WHERE a.kind = 'player' AND a.id <> payouts.account_id ORDER BY a.id LIMIT 1)
WHERE bet_id = (SELECT won FROM chosen);

-- damage: a win is booked to another round, and so are the counts
-- breaks: 03_a_bet_ends_in_one_way 04_the_verifier_agrees 05_names_are_of_things_that_exist
UPDATE round_credits AS c SET credits_count = c.credits_count + CASE WHEN c.round_id = chosen.round THEN -1 ELSE 1 END
FROM chosen WHERE c.round_id IN (chosen.round, (SELECT max(t.round_id) FROM round_totals AS t));
UPDATE payouts SET round_id = (SELECT max(t.round_id) FROM round_totals AS t) WHERE bet_id = (SELECT won FROM chosen);

-- damage: a lost bet was paid
-- breaks: 02_balances_are_sums 04_the_verifier_agrees 05_names_are_of_things_that_exist 10_the_house_gets_what_players_lose
INSERT INTO payouts (bet_id, round_id, account_id, hits, payout_minor, cut_minor) SELECT lost, round, account, 1, 376, 0 FROM chosen;

-- damage: a bet was paid more than its round's total says
-- breaks: 02_balances_are_sums 04_the_verifier_agrees 10_the_house_gets_what_players_lose
UPDATE payouts SET payout_minor = payout_minor + 1 WHERE bet_id = (SELECT won FROM chosen);

-- damage: a player was paid more in a round than its rules allow
-- breaks: 03_a_kept_exposure_is_that_of_its_bets 04_wins_of_a_round_have_a_maximum 10_expected_payouts_follow_the_odds
UPDATE rules_currencies SET stake_min_minor = 1, stake_max_minor = 1, win_max_minor = 1, round_win_max_minor = 1
WHERE rules_hash = (SELECT r.rules_hash FROM rounds AS r WHERE r.id = (SELECT round FROM chosen));

-- damage: a bet was charged less than it was accepted for
-- breaks: 02_balances_are_sums 04_the_verifier_agrees 10_expected_payouts_follow_the_odds 10_the_house_gets_what_players_lose
UPDATE bets SET stake_minor = stake_minor - 1 WHERE id = (SELECT lost FROM chosen);

-- damage: a bet of a settled round was refunded
-- breaks: 02_balances_are_sums 03_a_bet_ends_in_one_way
INSERT INTO wallet_transactions (operator_id, kind, debit_account_id, credit_account_id, amount_minor, bet_id)
SELECT l.operator_id, 'refund', l.credit_account_id, l.debit_account_id, l.amount_minor, l.bet_id FROM ledger AS l
WHERE l.kind = 'bet' AND l.bet_id = (SELECT lost FROM chosen);

-- damage: a bet was paid before its round was drawn
-- breaks: 03_a_bet_ends_in_one_way
INSERT INTO payouts (bet_id, round_id, account_id, hits, payout_minor, cut_minor)
SELECT open, on_sale, (SELECT b.account_id FROM bets AS b WHERE b.id = open), 1, 376, 0 FROM chosen;

-- damage: a round was credited before it was drawn
-- breaks: 03_a_bet_ends_in_one_way
INSERT INTO round_credits (round_id, credits_count) SELECT on_sale, 0 FROM chosen;

-- damage: a refund is missing
-- breaks: 03_a_bet_ends_in_one_way
UPDATE accounts AS a SET balance_minor = a.balance_minor - b.stake_minor FROM bets AS b WHERE b.id = (SELECT voided FROM chosen) AND a.id = b.account_id;
DELETE FROM wallet_transactions WHERE kind = 'refund' AND bet_id = (SELECT voided FROM chosen);

-- damage: a stake was refunded twice
-- breaks: 03_a_bet_ends_in_one_way
DROP INDEX wallet_transactions_of_bet;
INSERT INTO wallet_transactions (operator_id, kind, debit_account_id, credit_account_id, amount_minor, bet_id)
SELECT operator_id, kind, debit_account_id, credit_account_id, amount_minor, bet_id FROM wallet_transactions WHERE bet_id = (SELECT voided FROM chosen);
UPDATE accounts AS a SET balance_minor = a.balance_minor + b.stake_minor FROM bets AS b WHERE b.id = (SELECT voided FROM chosen) AND a.id = b.account_id;

-- damage: a refund is less than the stake
-- breaks: 03_a_bet_ends_in_one_way
UPDATE wallet_transactions SET amount_minor = amount_minor - 1 WHERE bet_id = (SELECT voided FROM chosen);
UPDATE accounts AS a SET balance_minor = a.balance_minor - 1 FROM bets AS b WHERE b.id = (SELECT voided FROM chosen) AND a.id = b.account_id;

-- damage: a payout was raised, and all that follows from it
-- breaks: 04_the_verifier_agrees
UPDATE payouts SET payout_minor = payout_minor + 100 WHERE bet_id = (SELECT won FROM chosen);
UPDATE round_totals SET paid_minor = paid_minor + 100 WHERE (round_id, operator_id) = (SELECT round, operator FROM chosen);
UPDATE accounts SET balance_minor = balance_minor + 100 WHERE id = (SELECT account FROM chosen);

-- damage: the picks of a bet were changed after the draw
-- breaks: 04_the_verifier_agrees
UPDATE bets SET picks = won.picks FROM bets AS won CROSS JOIN chosen
WHERE won.id = chosen.won AND bets.id = (SELECT min(b.id) FROM bets AS b WHERE (b.round_id, b.account_id) = (chosen.round, chosen.account)
    AND bit_count(b.picks) = bit_count(won.picks) AND NOT EXISTS (SELECT FROM payouts AS p WHERE p.bet_id = b.id));

-- damage: a number was exchanged in a draw
-- breaks: 04_the_verifier_agrees 15_the_log_says_what_is_stored
UPDATE rounds AS r SET numbers = set_byte(r.numbers, 7, (SELECT n FROM generate_series(1, 80) AS n
    WHERE NOT EXISTS (SELECT FROM generate_series(0, 19) AS i WHERE get_byte(r.numbers, i) = n) LIMIT 1))
WHERE r.id = (SELECT round FROM chosen);

-- damage: a bet names terms that do not exist
-- breaks: 05_names_are_of_things_that_exist
UPDATE bets SET terms = 1000 WHERE id = (SELECT open FROM chosen);

-- damage: a bet names a round that does not exist
-- breaks: 05_names_are_of_things_that_exist
UPDATE bets SET round_id = 1000000 WHERE id = (SELECT open FROM chosen);

-- damage: a bet names an account that does not exist
-- breaks: 02_balances_are_sums 03_a_bet_is_paid_for_once 05_names_are_of_things_that_exist
UPDATE bets SET account_id = 1000000000 WHERE id = (SELECT open FROM chosen);

-- damage: the house of a currency is gone
-- breaks: 01_postings_stay_in_one_book 02_balances_are_sums 03_a_bet_is_paid_for_once 05_names_are_of_things_that_exist
DELETE FROM accounts WHERE kind = 'house' AND currency = 'EUR' AND operator_id = (SELECT operator FROM chosen);

-- damage: a deposit came from an account that does not exist
-- breaks: 01_postings_stay_in_one_book 05_names_are_of_things_that_exist
UPDATE wallet_transactions SET debit_account_id = 1000000000 WHERE kind = 'deposit' AND credit_account_id = (SELECT account FROM chosen);

-- damage: a payout names a bet that does not exist
-- breaks: 02_balances_are_sums 04_the_verifier_agrees 05_names_are_of_things_that_exist
INSERT INTO payouts (bet_id, round_id, account_id, hits, payout_minor, cut_minor) SELECT 1000000000, round, account, 1, 376, 0 FROM chosen;

-- damage: a credit names a round that does not exist
-- breaks: 05_names_are_of_things_that_exist
INSERT INTO round_credits (round_id, credits_count) VALUES (1000000000, 0);

-- damage: a refund names a bet that does not exist
-- breaks: 02_balances_are_sums 05_names_are_of_things_that_exist
INSERT INTO wallet_transactions (operator_id, kind, debit_account_id, credit_account_id, amount_minor, bet_id)
SELECT l.operator_id, 'refund', l.credit_account_id, l.debit_account_id, l.amount_minor, 1000000000 FROM ledger AS l
WHERE l.kind = 'bet' AND l.bet_id = (SELECT lost FROM chosen);

-- damage: the refunds of a round were not counted right
-- breaks: 05_names_are_of_things_that_exist
UPDATE round_credits SET credits_count = credits_count + 1 WHERE round_id = (SELECT void_round FROM chosen);

-- damage: a rollback names a movement that does not exist
-- breaks: 05_a_rollback_undoes_its_movement 05_names_are_of_things_that_exist
UPDATE rollbacks SET wallet_transaction_id = 1000000000 WHERE target_id = 'undone';

-- damage: a rollback took more than its deposit gave
-- breaks: 05_a_rollback_undoes_its_movement
UPDATE wallet_transactions SET amount_minor = amount_minor + 1 WHERE transaction_id = 'undo';
UPDATE accounts AS a SET balance_minor = a.balance_minor - 1 FROM wallet_transactions AS w WHERE w.transaction_id = 'undo' AND a.id = w.debit_account_id;

-- damage: a movement was rolled back twice
-- breaks: 05_a_rollback_undoes_its_movement
ALTER TABLE rollbacks DROP CONSTRAINT rollbacks_pkey;
INSERT INTO rollbacks (operator_id, target_id, transaction_id, wallet_transaction_id)
SELECT operator_id, target_id, 'undo again', wallet_transaction_id FROM rollbacks WHERE target_id = 'undone';

-- damage: a rollback is of nothing
-- breaks: 05_a_rollback_undoes_its_movement
DELETE FROM rollbacks WHERE target_id = 'undone';

-- damage: a movement came after its tombstone
-- breaks: 05_a_rollback_undoes_its_movement
UPDATE wallet_transactions SET transaction_id = 'never' WHERE transaction_id = 'taken';

-- damage: a bet came after its tombstone
-- breaks: 05_a_rollback_undoes_its_movement
UPDATE bets SET transaction_id = 'never' WHERE id = (SELECT open FROM chosen);

-- damage: an id names two movements
-- breaks: 06_transaction_ids_are_unique
DROP INDEX wallet_transactions_by_caller;
UPDATE wallet_transactions SET transaction_id = 'kept' WHERE transaction_id = 'taken';

-- damage: a movement has the id of a rollback that left a tombstone
-- breaks: 06_transaction_ids_are_unique
UPDATE wallet_transactions SET transaction_id = 'never mind' WHERE transaction_id = 'taken';

-- damage: an id names two bets
-- breaks: 06_transaction_ids_are_unique
DROP INDEX bets_0_by_caller;
UPDATE bets SET transaction_id = 'again' WHERE id IN (SELECT won FROM chosen UNION SELECT lost FROM chosen);

-- damage: a bet was slipped into a locked round
-- breaks: 07_no_bet_after_the_lock 10_expected_payouts_follow_the_odds 10_the_house_gets_what_players_lose
UPDATE bets SET round_id = chosen.round, accepted_ms = r.opened_ms FROM chosen JOIN rounds AS r ON r.id = chosen.round
WHERE bets.id = chosen.open;

-- damage: a bet was taken after sales had ended
-- breaks: 07_no_bet_after_the_lock
UPDATE bets SET accepted_ms = (SELECT r.lock_due_ms FROM rounds AS r WHERE r.id = bets.round_id) WHERE id = (SELECT open FROM chosen);

-- damage: a bet is older than its round
-- breaks: 07_no_bet_after_the_lock
UPDATE bets SET accepted_ms = 1 WHERE id = (SELECT lost FROM chosen);

-- damage: a bet is younger than the lock of its round
-- breaks: 04_the_verifier_agrees 07_no_bet_after_the_lock 15_the_log_says_what_is_stored
UPDATE rounds SET locked_ms = opened_ms - 1 WHERE id = (SELECT round FROM chosen);

-- damage: a number was drawn twice
-- breaks: 08_draws_are_draws 15_the_log_says_what_is_stored
UPDATE rounds SET numbers = set_byte(numbers, 0, get_byte(numbers, 1)) WHERE id = (SELECT round FROM chosen);

-- damage: a number above 80 was drawn
-- breaks: 08_draws_are_draws 15_the_log_says_what_is_stored
UPDATE rounds SET numbers = set_byte(numbers, 0, 81) WHERE id = (SELECT round FROM chosen);

-- damage: the seed is not the one that was released
-- breaks: 08_draws_are_draws 15_the_log_says_what_is_stored
UPDATE rounds SET seed = sha256(seed) WHERE id = (SELECT round FROM chosen);

-- damage: a seed was never released
-- breaks: 08_draws_are_draws
DELETE FROM seed_releases WHERE round_id = (SELECT round FROM chosen);

-- damage: a seed was released against another lock
-- breaks: 08_draws_are_draws
UPDATE seed_releases SET lock_hash = sha256(lock_hash) WHERE round_id = (SELECT round FROM chosen);

-- damage: a commitment is younger than its round
-- breaks: 08_draws_are_draws 15_the_log_says_what_is_stored
UPDATE epochs AS e SET opened_ms = r.opened_ms + 1 FROM rounds AS r WHERE r.id = (SELECT round FROM chosen) AND e.id = r.epoch_id;

-- damage: a round's commitment is not the one of its epoch
-- breaks: 08_draws_are_draws 15_the_log_says_what_is_stored
UPDATE rounds SET commit_hash = sha256(commit_hash) WHERE id = (SELECT round FROM chosen);

-- damage: slots of a room were left out
-- breaks: 08_draws_are_draws 08_slots_have_rounds
UPDATE rounds SET number = number + 2 WHERE id = (SELECT on_sale FROM chosen);

-- damage: a lease epoch was written that nobody held
-- breaks: 09_no_write_of_a_lost_lease
UPDATE rounds SET lease_epoch = 1000 WHERE id = (SELECT on_sale FROM chosen);

-- damage: a round was moved under a lease that had been lost
-- breaks: 09_no_write_of_a_lost_lease
UPDATE leases SET epoch = 7;
UPDATE rounds SET lease_epoch = 7 WHERE id = (SELECT round FROM chosen);

-- damage: a total is not that of the bets
-- breaks: 10_the_house_gets_what_players_lose
UPDATE round_totals SET staked_minor = staked_minor + 1 WHERE round_id = (SELECT round FROM chosen);

-- damage: bets are said to have been expected to win what they were not
-- breaks: 10_expected_payouts_follow_the_odds
UPDATE round_totals SET expected_parts = expected_parts + 1 WHERE round_id = (SELECT round FROM chosen);

-- damage: a total is missing
-- breaks: 10_the_house_gets_what_players_lose
DELETE FROM round_totals WHERE round_id = (SELECT round FROM chosen);

-- damage: a cut is not in the total
-- breaks: 10_the_house_gets_what_players_lose
UPDATE payouts SET cut_minor = 5 WHERE bet_id = (SELECT won FROM chosen);

-- damage: a chunk states less than its bets staked
-- breaks: 10_chunks_add_up
INSERT INTO settlement_chunks SELECT b.round_id, min(b.id), max(b.id), b.operator_id, b.terms, count(*), sum(b.stake_minor) - 1,
    sum(p.payout_minor), sum(p.cut_minor)
FROM bets AS b LEFT JOIN payouts AS p ON p.bet_id = b.id WHERE b.id IN (SELECT won FROM chosen) GROUP BY b.round_id, b.operator_id, b.terms;

-- damage: a bet is in two chunks
-- breaks: 10_chunks_add_up
INSERT INTO settlement_chunks SELECT b.round_id, b.id, b.id + n, b.operator_id, b.terms, 1 + (other.id IS NOT NULL)::integer, b.stake_minor + coalesce(other.stake_minor, 0),
    p.payout_minor + coalesce(q.payout_minor, 0), 0
FROM chosen JOIN bets AS b ON b.id = chosen.won JOIN payouts AS p ON p.bet_id = b.id CROSS JOIN (VALUES (0), (1)) AS length (n)
LEFT JOIN bets AS other ON other.id = b.id + 1 AND n = 1 LEFT JOIN payouts AS q ON q.bet_id = other.id;

-- damage: an account is said to have won more of a round than it was paid
-- breaks: 10_wins_so_far_add_up
INSERT INTO round_wins SELECT p.round_id, p.account_id, sum(p.payout_minor) + 1 FROM payouts AS p
WHERE (p.round_id, p.account_id) = (SELECT round, account FROM chosen) GROUP BY p.round_id, p.account_id;

-- damage: an account is said to have won in a round that paid it nothing
-- breaks: 10_wins_so_far_add_up
INSERT INTO round_wins SELECT on_sale, account, 1 FROM chosen;

-- damage: a credit is missing
-- breaks: 11_handled_events_took_effect
DELETE FROM round_credits WHERE round_id = (SELECT round FROM chosen);
UPDATE accounts AS a SET balance_minor = a.balance_minor - won.minor
FROM (SELECT p.account_id, sum(p.payout_minor)::bigint AS minor FROM payouts AS p WHERE p.round_id = (SELECT round FROM chosen) GROUP BY 1) AS won
WHERE a.id = won.account_id;

-- damage: the refunds of a round are missing
-- breaks: 11_handled_events_took_effect 11_void_rounds_are_told
UPDATE accounts AS a SET balance_minor = a.balance_minor - b.stake_minor FROM bets AS b
WHERE b.round_id = (SELECT void_round FROM chosen) AND a.id = b.account_id;
DELETE FROM wallet_transactions AS w USING bets AS b WHERE b.round_id = (SELECT void_round FROM chosen) AND w.bet_id = b.id;
DELETE FROM round_credits WHERE round_id = (SELECT void_round FROM chosen);

-- damage: an event waits for an hour
-- breaks: 11_nothing_waits_too_long
UPDATE outbox_batches SET created_ms = created_ms - 3600000 WHERE id = (SELECT min(id) FROM outbox_batches);

-- damage: a payout waits for an hour
-- breaks: 11_nothing_waits_too_long
DELETE FROM inbox WHERE consumer = 'wallet';
DELETE FROM round_credits WHERE round_id = (SELECT round FROM chosen);
UPDATE accounts AS a SET balance_minor = a.balance_minor - won.minor
FROM (SELECT p.account_id, sum(p.payout_minor)::bigint AS minor FROM payouts AS p WHERE p.round_id = (SELECT round FROM chosen) GROUP BY 1) AS won
WHERE a.id = won.account_id;
UPDATE rounds SET ended_ms = ended_ms - 3600000 WHERE id = (SELECT round FROM chosen);

-- damage: the stakes of a void round wait for an hour
-- breaks: 11_nothing_waits_too_long 15_the_log_says_what_is_stored
UPDATE accounts AS a SET balance_minor = a.balance_minor - b.stake_minor FROM bets AS b
WHERE b.round_id = (SELECT void_round FROM chosen) AND a.id = b.account_id;
DELETE FROM wallet_transactions AS w USING bets AS b WHERE b.round_id = (SELECT void_round FROM chosen) AND w.bet_id = b.id;
DELETE FROM round_credits WHERE round_id = (SELECT void_round FROM chosen);
DELETE FROM inbox WHERE consumer = 'wallet';
DELETE FROM outbox_batches WHERE routing_key = 'wallet.refunded';
UPDATE rounds SET ended_ms = ended_ms - 3600000 WHERE id = (SELECT void_round FROM chosen);

-- damage: a round is stuck
-- breaks: 11_nothing_waits_too_long 15_the_log_says_what_is_stored
UPDATE rounds SET lock_due_ms = lock_due_ms - 3600000, draw_due_ms = draw_due_ms - 3600000, opened_ms = opened_ms - 3600000
WHERE id = (SELECT on_sale FROM chosen);
UPDATE bets SET accepted_ms = accepted_ms - 3600000 WHERE round_id = (SELECT on_sale FROM chosen);
UPDATE epochs SET opened_ms = opened_ms - 3600000;

-- damage: the end of a round was not told
-- breaks: 11_settled_rounds_are_told
UPDATE outbox_batches SET events = replace(events, format('"round":"%s"', (SELECT round FROM chosen)), '"round":"0"') WHERE routing_key = 'round.settled';

-- damage: payouts were announced twice
-- breaks: 11_settled_rounds_are_told
INSERT INTO outbox_batches (routing_key, events, events_count)
SELECT routing_key, events, events_count FROM outbox_batches WHERE routing_key = 'payouts.ready';

-- damage: the end of a void round was not told
-- breaks: 11_void_rounds_are_told
DELETE FROM outbox_batches WHERE routing_key = 'round.voided';

-- damage: a refund was not told
-- breaks: 11_void_rounds_are_told
DELETE FROM outbox_batches WHERE routing_key = 'wallet.refunded';

-- damage: a round was voided for another reason than was told
-- breaks: 11_void_rounds_are_told 15_the_log_says_what_is_stored
UPDATE rounds SET void_reason = void_reason + 1 WHERE id = (SELECT void_round FROM chosen);

-- damage: a bet is in another operator's name
-- breaks: 01_postings_stay_in_one_book 03_a_kept_exposure_is_that_of_its_bets 10_expected_payouts_follow_the_odds 12_tenants_are_apart
UPDATE bets SET operator_id = (SELECT o.id FROM operators AS o WHERE o.id <> bets.operator_id) WHERE id = (SELECT lost FROM chosen);

-- damage: a private room took a stranger's bet
-- breaks: 12_tenants_are_apart
UPDATE rooms SET operator_id = (SELECT operator FROM chosen);

-- damage: the house made a bet
-- breaks: 02_balances_are_sums 03_a_bet_is_paid_for_once 05_names_are_of_things_that_exist 12_tenants_are_apart
UPDATE bets SET account_id = (SELECT a.id FROM accounts AS a WHERE a.kind = 'cash' AND a.operator_id = bets.operator_id AND a.currency = 'EUR')
WHERE id = (SELECT open FROM chosen);

-- damage: a row of the audit trail was rewritten
-- breaks: 13_the_audit_trail_is_whole
UPDATE audit_logs SET actor = 'nobody' WHERE id = (SELECT log FROM chosen);

-- damage: a row of the audit trail was rewritten with its hash
-- breaks: 13_the_audit_trail_is_whole
UPDATE audit_logs SET actor = 'nobody' WHERE id = (SELECT log FROM chosen);
UPDATE audit_logs SET hash = audit_hash(prev_hash, at_ms, actor, action, subject, detail) WHERE id = (SELECT log FROM chosen);

-- damage: a row of the audit trail is gone
-- breaks: 13_the_audit_trail_is_whole
DELETE FROM audit_logs WHERE id = (SELECT log FROM chosen);

-- damage: a round goes by rules that were never published
-- breaks: 05_rounds_name_what_exists
INSERT INTO rounds (room_id, number, phase, rules_hash, opened_ms, lock_due_ms, draw_due_ms, ended_ms, lease_epoch)
SELECT r.room_id, r.number + 1, 'skipped', sha256('nothing'), r.opened_ms, r.lock_due_ms, r.draw_due_ms, r.opened_ms, r.lease_epoch
FROM rounds AS r ORDER BY r.number DESC LIMIT 1;

-- damage: an entry of the log was rewritten
-- breaks: 15_the_log_is_in_order 15_the_log_says_what_is_stored
ALTER TABLE log_entries DROP CONSTRAINT log_entries_check;
UPDATE log_entries SET entry = set_byte(entry, 70, get_byte(entry, 70) # 1) WHERE index = (SELECT entry FROM chosen);

-- damage: an entry of the log was rewritten with its hash
-- breaks: 15_the_log_is_its_tree 15_the_log_says_what_is_stored
UPDATE log_entries AS e SET entry = other.entry, leaf_hash = sha256('\x00'::bytea || other.entry)
FROM (SELECT l.index, set_byte(l.entry, 70, get_byte(l.entry, 70) # 1) AS entry FROM log_entries AS l) AS other
WHERE e.index = (SELECT entry FROM chosen) AND other.index = e.index;

-- damage: an entry of the log is gone
-- breaks: 15_the_log_is_in_order 15_the_log_is_its_tree
DELETE FROM log_entries WHERE index = (SELECT entry FROM chosen);

-- damage: the end of the log is gone, to its last lock
-- breaks: 15_the_log_is_its_tree
DELETE FROM log_entries WHERE index >= (SELECT max(l.index) FROM log_entries AS l WHERE l.kind = 2);

-- damage: two entries of the log were exchanged
-- breaks: 15_the_log_is_in_order 15_the_log_is_its_tree
ALTER TABLE log_entries DROP CONSTRAINT log_entries_pkey;
UPDATE log_entries SET index = 2 * (SELECT entry FROM chosen) + 1 - index WHERE index - (SELECT entry FROM chosen) IN (0, 1);

-- damage: the log says something twice
-- breaks: 15_the_log_is_in_order
ALTER TABLE log_entries DROP CONSTRAINT log_entries_room_id_series_number_key;
INSERT INTO log_entries (index, kind, room_id, number, entry, leaf_hash)
SELECT (SELECT max(l.index) + 1 FROM log_entries AS l), e.kind, e.room_id, e.number, e.entry, e.leaf_hash
FROM log_entries AS e WHERE e.index = (SELECT entry FROM chosen);

-- damage: the log speaks of a round that never was
-- breaks: 15_the_log_is_in_order
INSERT INTO log_entries (index, kind, room_id, number, entry, leaf_hash)
SELECT (SELECT max(l.index) + 1 FROM log_entries AS l), e.kind, e.room_id, 1000, e.entry, e.leaf_hash
FROM log_entries AS e WHERE e.index = (SELECT entry FROM chosen);

-- damage: the log speaks of an epoch that never was
-- breaks: 15_the_log_is_in_order
INSERT INTO log_entries (index, kind, room_id, number, entry, leaf_hash)
SELECT (SELECT max(l.index) + 1 FROM log_entries AS l), e.kind, e.room_id, 1000, e.entry, e.leaf_hash
FROM log_entries AS e WHERE e.kind = 1 LIMIT 1;

-- damage: the draw of a round was kept from the log for an hour
-- breaks: 15_the_log_says_what_is_stored
DELETE FROM log_checkpoints WHERE size > (SELECT min(l.index) FROM log_entries AS l JOIN chosen AS c ON l.index > c.entry WHERE l.kind > 2);
DELETE FROM log_entries WHERE index >= (SELECT min(l.index) FROM log_entries AS l JOIN chosen AS c ON l.index > c.entry WHERE l.kind > 2);
UPDATE rounds SET drawn_ms = drawn_ms - 3600000 WHERE id = (SELECT round FROM chosen);

-- damage: a stored hash is of entries that are not there
-- breaks: 15_the_log_is_its_tree
INSERT INTO log_nodes (level, index, hash) VALUES (1, 1000, sha256('nothing'));

-- damage: a checkpoint of the log has another root
-- breaks: 15_the_log_is_its_tree
UPDATE log_checkpoints SET root = sha256(root) WHERE size = (SELECT max(size) FROM log_checkpoints);

-- damage: a checkpoint of the log was not signed by its key
-- breaks: 15_the_log_is_its_tree
UPDATE log_checkpoints SET note = (SELECT other.note FROM log_checkpoints AS other ORDER BY other.size LIMIT 1)
WHERE size = (SELECT max(size) FROM log_checkpoints);

-- damage: the key of the log was exchanged
-- breaks: 15_the_log_is_its_tree
UPDATE log_keys SET public_key = sha256(public_key);

-- damage: another root was anchored than was signed
-- breaks: 15_anchors_are_of_checkpoints
INSERT INTO anchors (chain_id, contract, size) SELECT 1, substring(sha256('contract') FROM 1 FOR 20), max(size) FROM log_checkpoints;
INSERT INTO anchor_transactions (hash, anchor_id, nonce, max_fee_wei, tip_wei, raw)
SELECT sha256('transaction'), a.id, 0, 1, 1, a.contract || int8send(a.size) || sha256('another root') FROM anchors AS a;

-- damage: an anchor is of a checkpoint that was never signed
-- breaks: 15_anchors_are_of_checkpoints
INSERT INTO anchors (chain_id, contract, size) VALUES (1, substring(sha256('contract') FROM 1 FOR 20), 1000000);

-- damage: an anchor was mined in a transaction that was never signed
-- breaks: 15_anchors_are_of_checkpoints
INSERT INTO anchors (chain_id, contract, size) SELECT 1, substring(sha256('contract') FROM 1 FOR 20), max(size) FROM log_checkpoints;
INSERT INTO anchor_verdicts (anchor_id, verdict, transaction_hash, block_number, block_hash, gas_used)
SELECT a.id, 1, sha256('transaction'), 1, sha256('block'), 1 FROM anchors AS a;
