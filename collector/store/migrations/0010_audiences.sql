-- Audiences: who is in which now, and who entered or left one when.
--
-- The role `activate` alone writes here. It judges people anew who were touched, and writes a row where the answer
-- changed. A change is named by what it follows from (audience, person, and how often that person has changed sides),
-- so that two that race, or one that is killed and begins again, write the same change. Odd versions enter, even ones
-- leave. A change is written before the member's row: what was told is never taken for untold, and a row that is
-- missing follows from its change.

CREATE TABLE IF NOT EXISTS @name(audience_definitions) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    audience LowCardinality(String) COMMENT 'Name of the audience',
    sentence String COMMENT 'Who is meant',
    purpose LowCardinality(String) COMMENT 'Purpose that a person has to have consented to; empty: none',
    digest String COMMENT 'Of the rules: with another one everybody is judged anew',
    version UInt64 COMMENT 'The highest wins: milliseconds since 1970',
    is_deleted UInt8 COMMENT '1: no longer configured'
)
ENGINE = @engine_everywhere(audience_definitions, ReplacingMergeTree, version, is_deleted)
ORDER BY (space_id, audience)
SETTINGS @no_deduplication
COMMENT 'Audiences as the configuration declares them';

CREATE TABLE IF NOT EXISTS @name(audience_members) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    person_id UUID COMMENT 'Person, as the map gave it when it was judged',
    audience LowCardinality(String) COMMENT 'Name of the audience',
    is_member UInt8 COMMENT '1: in it, 0: was in it',
    since DateTime64(3, 'UTC') COMMENT 'When this was found',
    change_id UUID COMMENT 'The change that made it so, see audience_changes',
    version UInt64 COMMENT 'The highest wins: counts the changes of this person in this audience, from 1'
)
ENGINE = @engine_everywhere(audience_members, ReplacingMergeTree, version)
ORDER BY (space_id, person_id, audience)
SETTINGS @no_deduplication, index_granularity = 256, min_bytes_for_wide_part = 1000000000000
COMMENT 'Who is in which audience; v_audience_members shows those who are';

-- By id and not by time, so that a change that two have written is one, whenever each of them did. Who follows reads
-- the parts of the last moments alone, because a day is a partition.
CREATE TABLE IF NOT EXISTS @name(audience_changes) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    change_id UUID COMMENT 'Follows from audience, person and version, so that the same change has the same id',
    audience LowCardinality(String) COMMENT 'Name of the audience',
    person_id UUID COMMENT 'Person',
    customer_id String COMMENT 'Customer id of that person; empty: not known',
    change LowCardinality(String) COMMENT 'enter or leave',
    reason LowCardinality(String) COMMENT 'event, time, trait, identity (merged or separated), consent or definition: what made it be judged anew',
    at DateTime64(3, 'UTC') COMMENT 'When it was written; followers read in this order',
    version UInt64 COMMENT 'Counts the changes of this person in this audience, from 1',
    precedence UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Milli(at) COMMENT 'Of two rows of one change the one with the higher value stays: what was written first'
)
ENGINE = @engine_everywhere(audience_changes, ReplacingMergeTree, precedence)
PARTITION BY toDate(at)
ORDER BY (space_id, change_id)
TTL toDateTime(at) + toIntervalDay(90)
SETTINGS @no_deduplication, index_granularity = 512, ttl_only_drop_parts = 1
COMMENT 'Who entered or left an audience, and when; kept for 90 days';

CREATE TABLE IF NOT EXISTS @name(audience_progress) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space; empty: of all',
    subject String COMMENT 'batches:HOST (number of the last batch judged), touches (milliseconds since 1970 up to which touched_keys was read), audience:NAME (digest with which everybody has been judged), round:NAME (how many have been, while that goes on) or sweep (milliseconds since 1970 of the last end)',
    value String COMMENT 'How far it is',
    version UInt64 COMMENT 'The highest wins: milliseconds since 1970'
)
ENGINE = @engine_everywhere(audience_progress, ReplacingMergeTree, version)
ORDER BY (space_id, subject)
SETTINGS @no_deduplication
COMMENT 'How far the role activate has come';

-- What no batch tells: the map, a trait from elsewhere, a consent taken back, somebody erased or restricted. Followed by time, with an overlap.
CREATE TABLE IF NOT EXISTS @local(touched_keys) @on_cluster
(
    at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it came into the store; kept for a day',
    cause LowCardinality(String) COMMENT 'What has changed: identity (the map), trait, or consent (or somebody was erased or restricted)',
    space_id LowCardinality(String) COMMENT 'Identity space',
    key UUID COMMENT 'Own person id of the identifier'
)
ENGINE = @engine(touched_keys, MergeTree)
PARTITION BY toDate(at)
ORDER BY at
TTL toDateTime(at) + toIntervalDay(1)
SETTINGS @deduplication, index_granularity = 1024, ttl_only_drop_parts = 1, default_compression_codec = 'ZSTD(1)'
COMMENT 'Of which identifiers something else than events has changed, so that audiences look at these alone';

@facade(touched_keys, cityHash64(key));

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(identity_map_to_touched_keys) @on_cluster TO @local(touched_keys) AS
SELECT 'identity' AS cause, space_id, key FROM @name(identity_map) AS map;

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(identity_intervals_to_touched_keys) @on_cluster TO @local(touched_keys) AS
SELECT DISTINCT 'identity' AS cause, space_id, key FROM @name(identity_intervals) AS held;

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(traits_to_touched_keys) @on_cluster TO @local(touched_keys) AS
SELECT DISTINCT 'trait' AS cause, space_id, key FROM @local(traits);

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(consent_ledger_to_touched_keys) @on_cluster TO @local(touched_keys) AS
SELECT DISTINCT 'consent' AS cause, space_id, key FROM @local(consent_ledger)
-- What a browser has granted comes with its events; what it has taken back may come with none.
WHERE state = 'withdrawn' OR source IN ('list', 'objection', 'preferences', 'privacy', 'unsubscribe');

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(person_states_to_touched_keys) @on_cluster TO @local(touched_keys) AS
SELECT DISTINCT 'consent' AS cause, space_id, key FROM @name(person_states) AS state;

CREATE OR REPLACE VIEW @name(v_audience_members) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    audience LowCardinality(String) COMMENT 'Name of the audience',
    person_id UUID COMMENT 'Person',
    customer_id String COMMENT 'Customer id of that person; empty: not known',
    since DateTime64(3, 'UTC') COMMENT 'When they entered it'
)
@security AS
SELECT
    space_id, audience, person_id,
    dictGet('@name(identity_customers)', 'customer_id', cityHash64(person_id)) AS customer_id,
    since
FROM @name(audience_members) FINAL
WHERE is_member = 1
COMMENT 'Who is in which audience now';

CREATE OR REPLACE VIEW @name(v_audience_changes) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    at DateTime64(3, 'UTC') COMMENT 'When it was found',
    audience LowCardinality(String) COMMENT 'Name of the audience',
    change LowCardinality(String) COMMENT 'enter or leave',
    reason LowCardinality(String) COMMENT 'What made it be judged anew: event, time, trait, identity, consent or definition',
    person_id UUID COMMENT 'Person at that time',
    customer_id String COMMENT 'Customer id at that time; empty: not known',
    change_id UUID COMMENT 'Id of the change'
)
@security AS
SELECT space_id, at, audience, change, reason, person_id, customer_id, change_id
FROM @name(audience_changes) FINAL
COMMENT 'Who entered or left which audience, and when';
