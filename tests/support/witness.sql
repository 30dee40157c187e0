-- What a run of faults is judged by, written by the database itself: every lease that was taken, every transition of a round that its shard's
-- leader made, and every one that was not made by the leader of its shard at that instant.
CREATE TABLE taken_leases (shard integer NOT NULL, epoch bigint NOT NULL, holder text NOT NULL, at timestamptz NOT NULL);
CREATE TABLE led_writes (shard integer NOT NULL, epoch bigint NOT NULL, at timestamptz NOT NULL);
CREATE TABLE stale_writes (round_id bigint NOT NULL, phase text NOT NULL, wrote_epoch bigint NOT NULL, latest_epoch bigint);

CREATE FUNCTION witness_take() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO taken_leases VALUES (NEW.shard, NEW.epoch, NEW.holder, clock_timestamp());
    RETURN NULL;
END
$$;
CREATE TRIGGER witness_first AFTER INSERT ON leases FOR EACH ROW EXECUTE FUNCTION witness_take();
CREATE TRIGGER witness_next AFTER UPDATE OF epoch ON leases FOR EACH ROW EXECUTE FUNCTION witness_take();

CREATE FUNCTION witness_write() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    latest bigint;
BEGIN
    SELECT l.epoch INTO latest FROM leases AS l JOIN rooms AS room ON room.shard = l.shard WHERE room.id = NEW.room_id;
    IF latest IS DISTINCT FROM NEW.lease_epoch THEN
        INSERT INTO stale_writes VALUES (NEW.id, NEW.phase, NEW.lease_epoch, latest);
    ELSE
        INSERT INTO led_writes VALUES (NEW.shard, latest, clock_timestamp());
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER witness_new AFTER INSERT ON rounds FOR EACH ROW EXECUTE FUNCTION witness_write();
CREATE TRIGGER witness_moved AFTER UPDATE ON rounds FOR EACH ROW
    WHEN (NEW.phase IN ('locked', 'drawn', 'void')) EXECUTE FUNCTION witness_write();
