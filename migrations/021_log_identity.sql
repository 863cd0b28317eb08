-- Which log an offset belongs to: the id that Kafka gave the topic when it was made. Offsets of a log that is lost say
-- nothing about the one that follows it, however long that is; null is what was written before ids were kept.

ALTER TABLE projection_offsets ADD COLUMN topic_id text;
ALTER TABLE account_states ADD COLUMN log_id text;
COMMENT ON COLUMN account_states.log_id IS 'the id of the topic `records` that the state was read from';
