-- The parts of the shop that sharing stands on: people, products, wishlists and their items.
-- Keys are UUIDs inside; public_id is the identifier that the HTTP edge shows (user_maya, wl_8a2b3c4d5e6f).
CREATE TABLE users (
    id            UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    public_id     TEXT NOT NULL UNIQUE,
    display_name  TEXT NOT NULL,
    country       TEXT,
    time_zone     TEXT NOT NULL DEFAULT 'UTC',
    locale        TEXT NOT NULL DEFAULT 'en',
    roles         TEXT[] NOT NULL DEFAULT '{}',
    created_at    TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);

CREATE TABLE products (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    price      NUMERIC(12, 2) NOT NULL CHECK (price >= 0),
    currency   TEXT NOT NULL DEFAULT 'USD' CHECK (currency ~ '^[A-Z]{3}$'),
    image_url  TEXT,
    in_stock   BOOLEAN NOT NULL DEFAULT TRUE
);

CREATE TABLE wishlists (
    id          UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    public_id   TEXT NOT NULL UNIQUE,
    owner_id    UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    title       TEXT NOT NULL,
    created_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);
CREATE INDEX idx_wishlists_owner ON wishlists(owner_id, created_at);

CREATE TABLE wishlist_items (
    id               UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    public_id        TEXT NOT NULL UNIQUE,
    wishlist_id      UUID NOT NULL REFERENCES wishlists(id) ON DELETE CASCADE,
    product_id       TEXT NOT NULL REFERENCES products(id),
    source_share_id  UUID,
    added_at         TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    removed_at       TIMESTAMP WITH TIME ZONE
);
CREATE INDEX idx_wishlist_items_wishlist ON wishlist_items(wishlist_id, added_at);
