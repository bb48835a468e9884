-- Who is who: the evidence as it came in, the list of loaded batches that stitch follows, the map that stitch makes of
-- the evidence, and the dictionaries through which v_events reads the map.
--
-- Everything here but evidence is made by stitch and may be made again from evidence. The map is small: it holds only
-- identifiers whose person is not their own, and customer keys. In a cluster the map and what belongs to it stand on
-- every node, evidence and batches on the shard that took them.

CREATE TABLE IF NOT EXISTS @local(identity_evidence) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    site_id LowCardinality(String) COMMENT 'Site on which it was seen',
    evidence_id String COMMENT 'Id of the evidence; a retraction carries the same, and a retry that says it otherwise',
    kind LowCardinality(String) COMMENT 'identify, link, disown (not whom a link named), handover, reset, group, server, alias, block, or rekey: two pseudonyms of one value',
    level UInt8 COMMENT 'Assurance: 1 claimed, 2 linked, 3 signed, 4 server',
    a_kind LowCardinality(String) COMMENT 'Kind of the first identifier, visitor where there is one',
    a_value String COMMENT 'Value of the first identifier; a keyed pseudonym where its kind is personal',
    a_key UUID COMMENT 'Own person id of the first identifier',
    b_kind LowCardinality(String) COMMENT 'Kind of the second identifier',
    b_value String COMMENT 'Value of the second identifier; a keyed pseudonym where its kind is personal',
    b_key UUID COMMENT 'Own person id of the second identifier',
    b_unique UInt8 COMMENT '1: a person has at most one value of the second identifier''s kind',
    source LowCardinality(String) COMMENT 'Who said so: tag, capture (found on the page or in a cookie), link, server, import, operator, or edge: the collector itself',
    proof LowCardinality(String) COMMENT 'How the visitor id was proved: cookie, fresh (a new visitor, whose cookie the answer set), script or server',
    time DateTime64(3, 'UTC') COMMENT 'When it was seen',
    received_at DateTime64(3, 'UTC') COMMENT 'When the collector received it',
    visitor_id UUID COMMENT 'Visitor of the beacon; all zeros: none',
    session_id UUID COMMENT 'Session in which it was seen; all zeros: none',
    session_started DateTime64(3, 'UTC') COMMENT 'Start of that session; 1970: none',
    event_id UUID COMMENT 'Event that carried it; all zeros: none',
    token_id String COMMENT 'Id of the token of a tagged link, a hand-over or a sign-in; of one without an id a digest',
    campaign LowCardinality(String) COMMENT 'Campaign of the tagged link',
    human LowCardinality(String) COMMENT 'Human signal behind a link: pointer, key, touch or dwell',
    consent LowCardinality(String) COMMENT 'Purposes consented to then, sorted, comma between',
    policy_version UInt16 COMMENT 'Version of the rules under which it was taken',
    actor String COMMENT 'Who vouched: an issuer of ID tokens, an agent, an operator or a key; empty: the visitor, or the site',
    verification LowCardinality(String) COMMENT 'How whoever vouched had made sure: methods of a sign-in (amr), or how an agent verified the caller; empty: not said',
    op Int8 COMMENT '1: stands; -1: takes back what has the same evidence_id',
    batch_host LowCardinality(String) COMMENT 'Host whose spool it came from',
    batch_seq UInt64 COMMENT 'Number of the batch on that host',
    precedence UInt32 DEFAULT 4294967295 - toUnixTimestamp(received_at) COMMENT 'Of two rows of one evidence that say the same the one with the higher value stays: what was received first',
    counts UInt8 MATERIALIZED level >= 2 OR kind IN ('reset', 'disown') OR op < 0
        COMMENT '1: stitch looks at it; 0: a hint that joins nobody',
    texts Array(String) ALIAS [
        if(a_kind = 'visitor' AND toString(toUUIDOrZero(a_value)) = a_value AND a_value NOT IN ('ffffffff-ffff-ffff-ffff-ffffffffffff', '00000000-0000-0000-0000-000000000000'), '', a_value),
        if(b_kind = 'visitor' AND toString(toUUIDOrZero(b_value)) = b_value AND b_value NOT IN ('ffffffff-ffff-ffff-ffff-ffffffffffff', '00000000-0000-0000-0000-000000000000'), '', b_value),
        token_id,
        if(toString(toUUIDOrZero(evidence_id)) = evidence_id, '', evidence_id)]
        COMMENT 'First and second value, token, evidence_id; empty where packed says it',
    packed FixedString(119) MATERIALIZED toFixedString(concat(
        reinterpretAsFixedString(if(toString(toUUIDOrZero(evidence_id)) = evidence_id, toUUIDOrZero(evidence_id), reinterpretAsUUID(MD5(evidence_id)))),
        reinterpretAsFixedString(a_key), reinterpretAsFixedString(b_key),
        reinterpretAsFixedString(session_id), reinterpretAsFixedString(event_id),
        reinterpretAsFixedString(toUnixTimestamp64Milli(time)),
        reinterpretAsFixedString(toUnixTimestamp64Milli(session_started)),
        reinterpretAsFixedString(batch_seq),
        reinterpretAsFixedString(level), reinterpretAsFixedString(op),
        reinterpretAsFixedString(toUInt8(
            (texts[1] != a_value) + 2 * (texts[2] != b_value) + 4 * (token_id != '') + 8 * (texts[4] != evidence_id))),
        reinterpretAsFixedString(toUInt32(length(texts[1]))), reinterpretAsFixedString(toUInt32(length(texts[2]))),
        reinterpretAsFixedString(toUInt32(length(texts[3])))), 119) CODEC(LZ4)
        COMMENT 'For stitch: ids, moments, number of the batch, level, op, what is left out of texts and how long those are, so that a look by key reads one column and not twenty',
    tails String MATERIALIZED arrayStringConcat(texts) CODEC(LZ4)
        COMMENT 'For stitch: the texts, one after the other',
    words LowCardinality(String) MATERIALIZED arrayStringConcat([
        toString(kind), toString(a_kind), toString(b_kind), toString(proof), toString(human), toString(site_id), toString(batch_host)], '\0')
        COMMENT 'For stitch: the words of the row, a zero byte between',
    INDEX batch_index batch_seq TYPE minmax GRANULARITY 8
)
ENGINE = @engine(identity_evidence, ReplacingMergeTree, precedence)
PRIMARY KEY (space_id, a_key)
ORDER BY (space_id, a_key, b_key, evidence_id, op, kind, level, proof, time, session_id, session_started, event_id,
    token_id, human, site_id)
SETTINGS @deduplication, index_granularity = 128, min_compress_block_size = 4096, max_compress_block_size = 16384,
    default_compression_codec = 'ZSTD(1)'
COMMENT 'Every observation that two identifiers belong together; append-only, retractions included';

@facade(identity_evidence, cityHash64(a_key));

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(landing_to_identity_evidence) @on_cluster TO @local(identity_evidence) AS
SELECT
    space_id,
    site_id,
    item.evidence_id AS evidence_id,
    item.kind AS kind,
    item.level AS level,
    item.a_kind AS a_kind,
    item.a_value AS a_value,
    item.a_key AS a_key,
    item.b_kind AS b_kind,
    item.b_value AS b_value,
    item.b_key AS b_key,
    item.b_unique AS b_unique,
    item.source AS source,
    item.proof AS proof,
    fromUnixTimestamp64Milli(greatest(0, least(item.time_ms, 10413791999000)), 'UTC') AS time,
    fromUnixTimestamp64Milli(received_at_ms, 'UTC') AS received_at,
    visitor_id,
    item.session_id AS session_id,
    fromUnixTimestamp64Milli(greatest(0, least(item.session_started_ms, 10413791999000)), 'UTC') AS session_started,
    item.event_id AS event_id,
    item.token_id AS token_id,
    item.campaign AS campaign,
    item.human AS human,
    item.consent AS consent,
    item.policy_version AS policy_version,
    item.actor AS actor,
    item.verification AS verification,
    item.op AS op,
    batch_host,
    batch_seq
FROM @local(landing)
ARRAY JOIN evidence AS item
WHERE item.op < 0 OR (dictGetOrDefault('@name(erased)', 'events', cityHash64(item.a_key), item.time_ms, '')
    NOT IN ('all', if(item.proof = 'script', 'unproved', 'proved'))
    AND NOT dictHas('@name(erased)', cityHash64(item.b_key), item.time_ms));

CREATE TABLE IF NOT EXISTS @local(identity_pairs) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    b_key UUID COMMENT 'Own person id of the second identifier',
    a_key UUID COMMENT 'Own person id of the first identifier'
)
ENGINE = @engine(identity_pairs, ReplacingMergeTree)
PRIMARY KEY (space_id, b_key)
ORDER BY (space_id, b_key, a_key)
SETTINGS @deduplication, index_granularity = 128, min_compress_block_size = 4096, max_compress_block_size = 16384,
    default_compression_codec = 'ZSTD(1)'
COMMENT 'Which identifiers evidence names together, by the second one: the way back, for stitch';

@facade(identity_pairs, cityHash64(b_key));

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(evidence_to_identity_pairs) @on_cluster TO @local(identity_pairs) AS
SELECT space_id, b_key, a_key
FROM @local(identity_evidence)
WHERE level >= 2 OR kind IN ('reset', 'disown') OR op < 0;

CREATE TABLE IF NOT EXISTS @name(batches) @on_cluster
(
    host LowCardinality(String) COMMENT 'Host whose spool the batch came from',
    seq UInt64 COMMENT 'Number of the batch on that host, counting up from 1',
    token String COMMENT 'Deduplication token of the batch: where it stood in the spool, and a digest of its bytes',
    events UInt32 COMMENT 'Events in it, retries included',
    evidence UInt32 COMMENT 'Pieces of evidence in it',
    rejected UInt32 COMMENT 'Refusals in it',
    first_received_at DateTime64(3, 'UTC') COMMENT 'Earliest beacon in it',
    last_received_at DateTime64(3, 'UTC') COMMENT 'Latest beacon in it',
    loaded_at DateTime64(3, 'UTC') COMMENT 'When the loader had put it into the store'
)
ENGINE = @engine_everywhere(batches, ReplacingMergeTree)
ORDER BY (host, seq)
SETTINGS @no_deduplication
COMMENT 'The list of what was loaded; stitch follows it, so that nothing is skipped';

CREATE TABLE IF NOT EXISTS @name(identity_map) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    key UUID COMMENT 'Own person id of the identifier',
    key_kind LowCardinality(String) COMMENT 'Kind of the identifier: visitor, customer, ...',
    key_customer_id String COMMENT 'The customer id that this identifier itself is; empty where it is none',
    person_id UUID COMMENT 'Person that it belongs to',
    customer_id String COMMENT 'Customer id of that person; empty: not known',
    customer_key UUID COMMENT 'Own person id of that customer key; all zeros: none',
    valid_from DateTime64(3, 'UTC') COMMENT 'From when on it belongs to that person',
    several UInt8 COMMENT '1: it belonged to several people in turn, or is not proved: see identity_intervals',
    level UInt8 COMMENT 'Assurance of the tie, 0 to 4',
    provisional UInt8 COMMENT '1: a tagged link alone says so, no sign-in has confirmed it',
    proved UInt8 DEFAULT 1 COMMENT '0: only scripts have named the visitor, so only events that nothing proves either are that person''s',
    version UInt64 COMMENT 'Position in the list of batches that it was computed from; the highest wins',
    is_deleted UInt8 COMMENT '1: no longer in the map',
    packed String MATERIALIZED concat(
        reinterpretAsFixedString(person_id), reinterpretAsFixedString(customer_key),
        reinterpretAsFixedString(toUnixTimestamp64Milli(valid_from)), reinterpretAsFixedString(version),
        reinterpretAsFixedString(several), reinterpretAsFixedString(level),
        reinterpretAsFixedString(provisional), reinterpretAsFixedString(proved), reinterpretAsFixedString(is_deleted),
        reinterpretAsFixedString(toUInt32(length(key_kind))), reinterpretAsFixedString(toUInt32(length(key_customer_id))),
        toString(key_kind), key_customer_id, customer_id)
        COMMENT 'For stitch: all of the row but its key, so that a look by key reads one column and not a dozen'
)
ENGINE = @engine_everywhere(identity_map, ReplacingMergeTree, version, is_deleted)
ORDER BY (space_id, key)
SETTINGS @no_deduplication, index_granularity = 128, min_compress_block_size = 4096, max_compress_block_size = 16384
COMMENT 'Identifiers whose person is not their own, and customer keys; a pure function of the evidence that stands';

CREATE TABLE IF NOT EXISTS @name(identity_intervals) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    key UUID COMMENT 'Own person id of the identifier',
    valid_from DateTime64(3, 'UTC') COMMENT 'Begin of the interval, included',
    valid_to DateTime64(3, 'UTC') COMMENT 'End of the interval, not included',
    person_id UUID COMMENT 'Person that it belonged to',
    customer_id String COMMENT 'Customer id of that person; empty: not known',
    customer_key UUID COMMENT 'Own person id of that customer key; all zeros: none',
    level UInt8 COMMENT 'Assurance of the tie, 0 to 4',
    provisional UInt8 COMMENT '1: a tagged link alone says so, no sign-in has confirmed it',
    proved UInt8 DEFAULT 1 COMMENT '0: only scripts have named the visitor, so only events that nothing proves either are that person''s',
    version UInt64 COMMENT 'Position in the list of batches that it was computed from; the highest wins',
    is_deleted UInt8 COMMENT '1: no longer in the map'
)
ENGINE = @engine_everywhere(identity_intervals, ReplacingMergeTree, version, is_deleted)
ORDER BY (space_id, key, valid_from)
SETTINGS @no_deduplication, index_granularity = 128, min_compress_block_size = 4096, max_compress_block_size = 16384
COMMENT 'Only for identifiers with several people, or not proved: who it was, in turn';

CREATE TABLE IF NOT EXISTS @name(customers) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    person_id UUID COMMENT 'Person',
    customer_id String COMMENT 'Customer id: the organisation''s own, or a pseudonym where its kind is personal',
    customer_kind LowCardinality(String) COMMENT 'Kind of that id',
    customer_key UUID COMMENT 'Own person id of that customer key',
    level UInt8 COMMENT 'Highest assurance of any tie to that customer, 0 to 4',
    provisional UInt8 COMMENT '1: tagged links alone say so, no sign-in has confirmed it',
    since DateTime64(3, 'UTC') COMMENT 'When the customer was first seen',
    version UInt64 COMMENT 'Position in the list of batches that it was computed from; the highest wins',
    is_deleted UInt8 COMMENT '1: no longer a customer of their own'
)
ENGINE = @engine_everywhere(customers, ReplacingMergeTree, version, is_deleted)
ORDER BY (space_id, person_id)
SETTINGS @no_deduplication, index_granularity = 128, min_compress_block_size = 4096, max_compress_block_size = 16384
COMMENT 'People known to the organisation';

CREATE TABLE IF NOT EXISTS @name(merge_log) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    at DateTime64(3, 'UTC') COMMENT 'When the evidence behind it was seen',
    reason LowCardinality(String) COMMENT 'What happened: associate, join, switch, merge, unmerge, ...',
    evidence_id String COMMENT 'Evidence behind it',
    a_key UUID COMMENT 'Own person id of the first identifier',
    b_key UUID COMMENT 'Own person id of the second identifier',
    from_person_id UUID COMMENT 'Person before',
    to_person_id UUID COMMENT 'Person after',
    version UInt64 COMMENT 'Position in the list of batches that it was computed from'
)
ENGINE = @engine_everywhere(merge_log, ReplacingMergeTree, version)
PRIMARY KEY (space_id, at)
ORDER BY (space_id, at, evidence_id, reason, from_person_id, to_person_id)
SETTINGS @no_deduplication, index_granularity = 256
COMMENT 'How people came together and apart';

CREATE TABLE IF NOT EXISTS @name(guard_log) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    at DateTime64(3, 'UTC') COMMENT 'When the evidence behind it was seen',
    reason LowCardinality(String) COMMENT 'Which guard refused it',
    evidence_id String COMMENT 'Evidence that was refused',
    a_key UUID COMMENT 'Own person id of the first identifier',
    b_key UUID COMMENT 'Own person id of the second identifier',
    from_person_id UUID COMMENT 'Person of the first identifier',
    to_person_id UUID COMMENT 'Person of the second identifier',
    version UInt64 COMMENT 'Position in the list of batches that it was computed from'
)
ENGINE = @engine_everywhere(guard_log, ReplacingMergeTree, version)
PRIMARY KEY (space_id, at)
ORDER BY (space_id, at, evidence_id, reason, from_person_id, to_person_id)
SETTINGS @no_deduplication, index_granularity = 256
COMMENT 'Evidence that a guard refused, with its reason: visible, never lost';

CREATE TABLE IF NOT EXISTS @name(stitch_progress) @on_cluster
(
    host LowCardinality(String) COMMENT 'Host whose batches are followed',
    seq UInt64 COMMENT 'Last batch of that host that is in the map',
    version UInt64 COMMENT 'Version of the map after it'
)
ENGINE = @engine_everywhere(stitch_progress, ReplacingMergeTree, version)
ORDER BY host
SETTINGS @no_deduplication
COMMENT 'How far stitch has come in the list of batches';

-- As few rows and attributes as can be, because each load makes it anew as a whole, and in two parts, because that is
-- done on two cores then: docs/adr/0034.
CREATE DICTIONARY IF NOT EXISTS @name(identity) @on_cluster
(
    key UInt64,
    person_id UUID,
    valid_from DateTime64(3, 'UTC'),
    marks UInt8
)
PRIMARY KEY key
SOURCE(CLICKHOUSE(@dictionary_login QUERY '
    SELECT cityHash64(map.key) AS key, map.person_id AS person_id,
           if(several = 1, toDateTime64(''2299-12-31 00:00:00'', 3, ''UTC''), map.valid_from) AS valid_from,
           level + 8 * provisional AS marks
    FROM @name(identity_map) AS map FINAL
    WHERE map.person_id != map.key OR several = 1'))
LAYOUT(HASHED_ARRAY(SHARDS 2))
LIFETIME(MIN 30 MAX 60)
COMMENT 'identity_map in memory, by cityHash64(own person id), without identifiers that give their person its id; with several people valid_from never comes; marks: the level, and 8 where provisional; stitch reloads it';

-- A row that says that a key is gone has no kind: it passes the filter, and takes the key away.
CREATE DICTIONARY IF NOT EXISTS @name(identity_customers) @on_cluster
(
    key UInt64,
    customer_id String
)
PRIMARY KEY key
SOURCE(CLICKHOUSE(@dictionary_login QUERY '
    SELECT cityHash64(key) AS key, if(key_customer_id != '''', key_customer_id, customer_id) AS customer_id
    FROM @name(identity_map) FINAL
    PREWHERE key_kind != ''visitor'''))
LAYOUT(HASHED_ARRAY(SHARDS 2))
LIFETIME(MIN 30 MAX 60)
COMMENT 'Customer keys of identity_map in memory, by cityHash64(own person id): the customer id of one, or else of its person. A person is called by one of its keys';

CREATE DICTIONARY IF NOT EXISTS @name(identity_intervals_dict) @on_cluster
(
    key UInt64,
    first DateTime64(3, 'UTC'),
    last DateTime64(3, 'UTC'),
    person_id UUID,
    level UInt8,
    provisional UInt8,
    proved UInt8
)
PRIMARY KEY key
SOURCE(CLICKHOUSE(@dictionary_login QUERY '
    SELECT cityHash64(key) AS key, valid_from AS first, valid_to - toIntervalMillisecond(1) AS last,
           person_id, level, provisional, proved
    FROM @name(identity_intervals) FINAL'))
LAYOUT(RANGE_HASHED())
RANGE(MIN first MAX last)
LIFETIME(MIN 30 MAX 60)
COMMENT 'identity_intervals in memory: the person of an identifier with several people at a time';
