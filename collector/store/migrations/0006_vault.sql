-- The vault: clear values of identifiers that are stored as pseudonyms, sealed at the edge, only of sites that want it.
--
-- No view shows this table, so no reader and no analyst has it. A partition is what one personal key sealed: when the
-- key is destroyed, its partition goes.

CREATE TABLE IF NOT EXISTS @local(identifier_vault) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    key UUID COMMENT 'Own person id of the identifier',
    kind LowCardinality(String) COMMENT 'Kind of the identifier',
    pseudonym String COMMENT 'The identifier as it is stored everywhere else',
    key_id LowCardinality(String) COMMENT 'Id of the personal key that made the pseudonym and sealed the value',
    sealed String COMMENT 'The value: nonce, AES-256-GCM cipher text and tag, base64; bound to space, kind and pseudonym',
    site_id LowCardinality(String) COMMENT 'Site on which it was seen',
    received_at DateTime64(3, 'UTC') COMMENT 'When the collector received it',
    batch_host LowCardinality(String) COMMENT 'Host whose spool it came from',
    batch_seq UInt64 COMMENT 'Number of the batch on that host'
)
ENGINE = @engine(identifier_vault, ReplacingMergeTree, received_at)
PARTITION BY key_id
ORDER BY (space_id, key)
SETTINGS @deduplication, default_compression_codec = 'ZSTD(1)'
COMMENT 'Clear values of pseudonymous identifiers, sealed; for the collector alone';

@facade(identifier_vault, cityHash64(key));

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(landing_to_identifier_vault) @on_cluster TO @local(identifier_vault) AS
SELECT
    space_id,
    item.key AS key,
    item.kind AS kind,
    item.value AS pseudonym,
    splitByChar('.', item.value)[1] AS key_id,
    item.sealed AS sealed,
    site_id,
    fromUnixTimestamp64Milli(received_at_ms, 'UTC') AS received_at,
    batch_host,
    batch_seq
FROM @local(landing)
ARRAY JOIN vault AS item
WHERE NOT dictHas('@name(erased)', cityHash64(item.key), received_at_ms);
