-- Messages travel through topic, archive and dead letters only encrypted under their owner's key. Deleting the key
-- makes every copy of them unreadable at once.
CREATE TABLE owner_keys (
    owner_id    UUID PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
    key         BYTEA NOT NULL,
    created_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);
