-- Sites and API keys: versioned rows that `tagstitch site` and `tagstitch key` write and every web process polls.
-- `row` is the JSON text of collector.sites.book.Site and ApiKey, so that the edge decodes it as it stands.

CREATE TABLE IF NOT EXISTS @name(sites) @on_cluster
(
    id String COMMENT 'Site id',
    row String COMMENT 'Settings of the site as JSON, see collector.sites.book.Site',
    version UInt64 COMMENT 'The highest wins',
    changed_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this version was written'
)
ENGINE = @engine_everywhere(sites, ReplacingMergeTree, version)
ORDER BY id
SETTINGS @no_deduplication
COMMENT 'Sites and their settings';

CREATE TABLE IF NOT EXISTS @name(api_keys) @on_cluster
(
    id String COMMENT 'Key id, not secret',
    row String COMMENT 'The key as JSON, see collector.sites.book.ApiKey; its secret only as a keyed digest',
    version UInt64 COMMENT 'The highest wins',
    changed_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this version was written'
)
ENGINE = @engine_everywhere(api_keys, ReplacingMergeTree, version)
ORDER BY id
SETTINGS @no_deduplication
COMMENT 'API keys: hashed, scoped, with expiry';
