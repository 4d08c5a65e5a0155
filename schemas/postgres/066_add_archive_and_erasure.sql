-- The topic beyond its 30 days: one row for each file in the bucket. A file without a row was never written (docs/erasure.md,
-- docs/architecture.md). Offsets are those that a file covers, of each of its partitions; first_at and last_at are Kafka's
-- times of its records. erased: how many events have been taken out of it.
CREATE TABLE archive_files (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer_group  TEXT NOT NULL,
    key             TEXT NOT NULL UNIQUE,
    sha256          TEXT NOT NULL,
    bytes           BIGINT NOT NULL,
    events          INTEGER NOT NULL,
    erased          INTEGER NOT NULL DEFAULT 0,
    topic           TEXT NOT NULL,
    topic_id        UUID NOT NULL,
    day             DATE NOT NULL,
    partitions      INTEGER[] NOT NULL,
    first_offsets   BIGINT[] NOT NULL,
    last_offsets    BIGINT[] NOT NULL,
    first_at        TIMESTAMP WITH TIME ZONE NOT NULL,
    last_at         TIMESTAMP WITH TIME ZONE NOT NULL,
    first_event_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    last_event_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    written_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);
CREATE INDEX idx_archive_files_at ON archive_files(consumer_group, first_at);

-- What each batch has settled of a partition: from one offset to the next batch's first, and how many of these events are
-- in files. What is not there was read before, put aside as a dead letter, meant for another group, or of a removed user.
CREATE TABLE archive_spans (
    consumer_group  TEXT NOT NULL,
    topic           TEXT NOT NULL,
    topic_id        UUID NOT NULL,
    partition       INTEGER NOT NULL,
    first_offset    BIGINT NOT NULL,
    next_offset     BIGINT NOT NULL,
    events          INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, topic_id, partition, first_offset)
);

-- Objects that another one has taken the place of, until they are gone from the bucket.
CREATE TABLE archive_discards (
    key           TEXT PRIMARY KEY,
    discarded_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);

-- People whose events no sink applies any more. Their public id is here as a hash; in clear, with what was theirs, only
-- until every store has been seen to. removed_in tells a sink what has come since it last looked (sinks/removed.py).
CREATE TABLE removed_users (
    user_id           UUID PRIMARY KEY,
    public_id_sha256  TEXT NOT NULL,
    removed_in        XID8 NOT NULL DEFAULT pg_current_xact_id(),
    removed_at        TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    removed_by        TEXT NOT NULL,
    public_id         TEXT,
    wishlist_ids      UUID[],
    share_tokens      TEXT[],
    completed_at      TIMESTAMP WITH TIME ZONE
);
CREATE INDEX idx_removed_users_in ON removed_users(removed_in);

-- What has been done about a removed user in each store; progress is the store's own mark of how far it has come.
CREATE TABLE erasures (
    user_id     UUID NOT NULL REFERENCES removed_users(user_id) ON DELETE CASCADE,
    store       TEXT NOT NULL,
    is_done     BOOLEAN NOT NULL DEFAULT FALSE,
    erased      BIGINT NOT NULL DEFAULT 0,
    progress    BIGINT NOT NULL DEFAULT 0,
    note        TEXT NOT NULL DEFAULT '',
    updated_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, store)
);

-- Lists that are gone and whose links Redis and the CDN may still know.
CREATE TABLE ended_lists (
    wishlist_id   UUID PRIMARY KEY,
    share_tokens  TEXT[] NOT NULL,
    ended_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);
CREATE INDEX idx_previews_wishlist ON previews(wishlist_id);

-- Whoever deletes a list, the shop included, ends its shares: links, pictures, and what its owner was to be told of it.
CREATE FUNCTION end_shares_of_deleted_list() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    shares UUID[];
BEGIN
    shares := array(SELECT id FROM wishlist_shares WHERE wishlist_id = OLD.id);
    INSERT INTO ended_lists (wishlist_id, share_tokens)
    VALUES (OLD.id, array(SELECT share_token FROM wishlist_shares WHERE wishlist_id = OLD.id
                          UNION SELECT share_token FROM previews WHERE wishlist_id = OLD.id))
    ON CONFLICT DO NOTHING;
    UPDATE previews SET state = 'withdrawn', purged_at = NULL WHERE wishlist_id = OLD.id;
    DELETE FROM digest_counts WHERE owner_id = OLD.owner_id AND share_id = ANY(shares);
    DELETE FROM digest_visitors WHERE owner_id = OLD.owner_id AND share_id = ANY(shares);
    DELETE FROM pushes WHERE owner_id = OLD.owner_id AND wishlist_id = OLD.id AND state = 'due';
    RETURN OLD;
END $$;
CREATE TRIGGER end_shares BEFORE DELETE ON wishlists FOR EACH ROW EXECUTE FUNCTION end_shares_of_deleted_list();

-- Puts a user on the list, with what must be looked for in other stores; once more, it adds what has come since.
CREATE FUNCTION remove_user(gone UUID, by_whom TEXT) RETURNS void LANGUAGE sql AS $$
    INSERT INTO removed_users AS r (user_id, public_id_sha256, removed_by, public_id, wishlist_ids, share_tokens)
    SELECT u.id, encode(sha256(convert_to(u.public_id, 'UTF8')), 'hex'), by_whom, u.public_id,
           array(SELECT w.id FROM wishlists w WHERE w.owner_id = u.id),
           array(SELECT s.share_token FROM wishlist_shares s WHERE s.created_by = u.id
                 UNION SELECT p.share_token FROM previews p JOIN wishlists w ON w.id = p.wishlist_id
                 WHERE w.owner_id = u.id)
    FROM users u WHERE u.id = gone
    ON CONFLICT (user_id) DO UPDATE
    SET public_id = EXCLUDED.public_id, completed_at = NULL,
        wishlist_ids = array(SELECT unnest(r.wishlist_ids) UNION SELECT unnest(EXCLUDED.wishlist_ids)),
        share_tokens = array(SELECT unnest(r.share_tokens) UNION SELECT unnest(EXCLUDED.share_tokens))
$$;

-- An account that the shop deletes is one to be erased: `wishlist erase` goes on from here. Shares name who made them
-- without a cascade, and would keep the account from being deleted.
CREATE FUNCTION remember_deleted_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM remove_user(OLD.id, 'deleted in PostgreSQL');
    DELETE FROM wishlists WHERE owner_id = OLD.id;
    DELETE FROM wishlist_shares WHERE created_by = OLD.id;
    DELETE FROM digest_counts WHERE owner_id = OLD.id;
    DELETE FROM digest_visitors WHERE owner_id = OLD.id;
    RETURN OLD;
END $$;
CREATE TRIGGER remember_deleted BEFORE DELETE ON users FOR EACH ROW EXECUTE FUNCTION remember_deleted_user();
