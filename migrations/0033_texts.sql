-- Texts that staff say otherwise than the catalogs that come with the product.
-- depends: 0032_waves

-- migrate: apply
CREATE TABLE texts (
    language text NOT NULL CHECK (language ~ '^[a-z]{2,3}$'),
    text_id text NOT NULL CHECK (length(text_id) BETWEEN 1 AND 500),
    content text CHECK (length(content) BETWEEN 1 AND 2000),
    changed_ms bigint NOT NULL DEFAULT now_ms(),
    PRIMARY KEY (language, text_id)
);
COMMENT ON COLUMN texts.text_id IS 'room_closed.title, room_closed.remedy, or the English text itself; see keno/texts/catalog.py';
COMMENT ON COLUMN texts.content IS 'null: as the catalog has it, again';
GRANT SELECT, INSERT, UPDATE (content, changed_ms) ON texts TO keno_app;

-- migrate: rollback
