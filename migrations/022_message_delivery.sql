-- Messages have a row a channel (R19.8): why it stands as it does, and since when.

ALTER TABLE notifications
    ADD COLUMN detail text,
    ADD COLUMN changed_at timestamptz,
    DROP CONSTRAINT notifications_pkey;
ALTER TABLE notifications
    ADD COLUMN delivery_id text PRIMARY KEY GENERATED ALWAYS AS (notification_id || coalesce(':' || channel, '')) STORED;
DROP INDEX notifications_newest;
CREATE INDEX notifications_newest ON notifications (account_id, at, delivery_id);
CREATE INDEX notifications_of_message ON notifications (notification_id);
