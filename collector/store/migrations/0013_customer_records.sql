-- Customer records that were copied from other systems (`tagstitch adapter sync`): who is in which source.
--
-- The values themselves are traits, with the source's name; here stands of each record a keyed digest, by which the next
-- sync knows what has changed, and what evidence it gave. A row is written before the evidence and the traits, without a
-- digest, and after them, with it: a sync that was killed between the two does that record again.

CREATE TABLE IF NOT EXISTS @name(customer_records) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    source LowCardinality(String) COMMENT 'Which source: adapter:NAME',
    key UUID COMMENT 'Own person id of the identifier that is the record''s key',
    digest FixedString(16) COMMENT 'Keyed digest of the record''s values; zeros: it is being written',
    ties Array(Tuple(kind LowCardinality(String), value String, key UUID, time_ms Int64, is_ending UInt8)) COMMENT 'Identifiers that the record names, its key first: as stored, own person id, since when, and 1 where that is being taken back',
    version UInt64 COMMENT 'The highest wins: microseconds since 1970',
    is_deleted UInt8 COMMENT '1: no longer in the source'
)
ENGINE = @engine_everywhere(customer_records, ReplacingMergeTree, version, is_deleted)
ORDER BY (space_id, source, key)
SETTINGS @no_deduplication, index_granularity = 1024, default_compression_codec = 'ZSTD(1)'
COMMENT 'Which customer records were copied from which source; for the collector alone';
