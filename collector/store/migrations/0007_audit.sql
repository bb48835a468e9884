-- What operators have done, who was looked at, and which identifiers were blocked.
--
-- The log only grows: who was merged, split or taken back by whom stays known, and undoing is an entry of its own. Each
-- entry has two rows. One says what was done by whom, and names nobody: it stays. The other says to whom: by own person
-- ids, never by a clear value; it goes when one of them is erased. The chain holds digests of both and of all looks, so
-- that an entry that was changed, put in or taken out shows, and one that was erased is counted.

CREATE TABLE IF NOT EXISTS @name(audit_log) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    at DateTime64(3, 'UTC') COMMENT 'When it was asked for; written before anything is changed',
    audit_id UUID COMMENT 'Id of the entry, random; tagstitch identity undo takes it',
    action LowCardinality(String) COMMENT 'merge, split, retract, restore, block, unblock, undo; erase and other requests of people; rotate-personal, finish-rotation, vault, revoke-links, lift-revocation, rotate-links, drop-link-key, sync, export, site, key; or failed (what it undoes did not happen)',
    actor String COMMENT 'Who did it: operator:NAME for a command, key:ID for the API',
    via LowCardinality(String) COMMENT 'How: command, api or page',
    arguments String COMMENT 'What was asked for, as JSON, where it names nobody; else see audit_details',
    people UInt32 COMMENT 'How many identifiers and people audit_details names',
    identifiers_moved UInt32 COMMENT 'Identifiers that were to change hands, visitors included',
    events_moved Int64 COMMENT 'Events that were to change hands; -1: not counted, there were too many visitors',
    undoes UUID COMMENT 'Entry that this one undoes; all zeros: none'
)
ENGINE = @engine_everywhere(audit_log, ReplacingMergeTree)
ORDER BY (space_id, at, audit_id)
TTL toDateTime(at) + toIntervalDay(1095)
SETTINGS @no_deduplication
COMMENT 'Every change that an operator made, append-only and chained (audit_chain); names nobody';

CREATE TABLE IF NOT EXISTS @name(audit_details) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    at DateTime64(3, 'UTC') COMMENT 'As in audit_log',
    audit_id UUID COMMENT 'The entry that it belongs to',
    keys Array(UUID) COMMENT 'Own person ids of all whom it names: whoever of them is erased takes it along',
    arguments String COMMENT 'What was asked for, as JSON; identifiers by their own person id, no clear value of a person',
    note String COMMENT 'Why, in the words of whoever did it',
    appended Array(String) COMMENT 'Evidence that it added, by id',
    taken_back Array(String) COMMENT 'Evidence that it took back, by id',
    blocked Array(UUID) COMMENT 'Identifiers that it blocked, by own person id',
    unblocked Array(UUID) COMMENT 'Identifiers that it let go, by own person id',
    people_before Array(UUID) COMMENT 'People whom it was to change, as they were',
    people_after Array(UUID) COMMENT 'And as they were to be',
    last_row String COMMENT 'Row of evidence that was spooled last: own person id, op and id; empty: it needed none'
)
ENGINE = @engine_everywhere(audit_details, ReplacingMergeTree)
ORDER BY (space_id, at, audit_id)
TTL toDateTime(at) + toIntervalDay(1095)
SETTINGS @no_deduplication
COMMENT 'Whom an entry of audit_log is about, and all that undoing it needs; gone when one of them is erased';

CREATE TABLE IF NOT EXISTS @name(audit_chain) @on_cluster
(
    seq UInt64 COMMENT 'Number of the link, counting up from 1',
    at DateTime64(3, 'UTC') COMMENT 'When it was added',
    source LowCardinality(String) COMMENT 'log (audit_log), details (audit_details), read (profile_reads) or seal: the signed end of a piece',
    digest String COMMENT 'SHA-256 of the row, hexadecimal; the row holds a random id, so nobody is found by it. Of a seal: its signature, base64',
    chain String COMMENT 'SHA-256 of the link before, of number, source and digest, hexadecimal'
)
ENGINE = @engine_everywhere(audit_chain, MergeTree)
ORDER BY seq
SETTINGS @no_deduplication
COMMENT 'Digests of all entries, each bound to the one before: what is changed, added or taken out later shows';

CREATE TABLE IF NOT EXISTS @name(identity_blocks) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    key UUID COMMENT 'Own person id of the identifier',
    kind LowCardinality(String) COMMENT 'Kind of the identifier',
    value String COMMENT 'Value as it is stored: a keyed pseudonym where its kind is personal; empty: not known',
    blocked UInt8 COMMENT '1: it ties nobody to anybody',
    reason String COMMENT 'Why, in the words of whoever did it',
    actor String COMMENT 'Who did it',
    at DateTime64(3, 'UTC') COMMENT 'When',
    version UInt64 COMMENT 'The highest wins'
)
ENGINE = @engine_everywhere(identity_blocks, ReplacingMergeTree, version)
ORDER BY (space_id, key)
SETTINGS @no_deduplication
COMMENT 'Identifiers that name nobody, by a space''s own word: a shared address, a test account';

CREATE OR REPLACE VIEW @name(v_audit_log) @on_cluster
(
    audit_id UUID COMMENT 'Id of the entry',
    space_id LowCardinality(String) COMMENT 'Identity space',
    at DateTime64(3, 'UTC') COMMENT 'When it was asked for',
    action LowCardinality(String) COMMENT 'merge, split, retract, restore, block, unblock, undo; erase and other requests of people; rotate-personal, finish-rotation, vault, revoke-links, lift-revocation, rotate-links, drop-link-key, sync, export, site, key; or failed (what it undoes did not happen)',
    via LowCardinality(String) COMMENT 'How: command, api or page',
    evidence_added UInt64 COMMENT 'Pieces of evidence that it added',
    evidence_taken_back UInt64 COMMENT 'Pieces of evidence that it took back',
    people_before Array(UUID) COMMENT 'People whom it was to change, as they were; empty where one of them was erased',
    people_after Array(UUID) COMMENT 'And as they were to be',
    identifiers_moved UInt32 COMMENT 'Identifiers that were to change hands, visitors included',
    events_moved Int64 COMMENT 'Events that were to change hands; -1: not counted',
    undoes UUID COMMENT 'Entry that this one undoes; all zeros: none',
    state LowCardinality(String) COMMENT 'done: it is in the store; failed: the disk did not take it; open: on its way, or whoever asked for it ended before it was on disk',
    is_undone UInt8 COMMENT '1: another entry has undone it, and has not failed'
)
@security AS
SELECT
    log.audit_id AS audit_id, log.space_id AS space_id, log.at AS at, action, via,
    length(appended) AS evidence_added, length(taken_back) AS evidence_taken_back,
    people_before, people_after, identifiers_moved, events_moved, undoes,
    multiIf(
        last_row = '' OR (space_id, last_row) GLOBAL IN (
            SELECT space_id, concat(toString(a_key), ' ', toString(op), ' ', evidence_id) FROM @name(identity_evidence)
            WHERE (space_id, a_key) GLOBAL IN (
                SELECT space_id, toUUIDOrZero(splitByChar(' ', last_row)[1]) FROM @name(audit_details) WHERE last_row != '')),
        'done',
        audit_id GLOBAL IN (SELECT undoes FROM @name(audit_log) WHERE action = 'failed'), 'failed',
        'open') AS state,
    audit_id GLOBAL IN (
        SELECT undoes FROM @name(audit_log) WHERE action != 'failed' AND audit_id GLOBAL NOT IN (
            SELECT undoes FROM @name(audit_log) WHERE action = 'failed')) AS is_undone
FROM (SELECT * FROM @name(audit_log) FINAL) AS log
LEFT JOIN (SELECT * FROM @name(audit_details) FINAL) AS details ON details.audit_id = log.audit_id
COMMENT 'What operators changed, without their names and words: those are for tagstitch identity log';

CREATE OR REPLACE VIEW @name(v_identity_blocks) @on_cluster
(
    own_person_id UUID COMMENT 'Own person id of the identifier',
    space_id LowCardinality(String) COMMENT 'Identity space',
    kind LowCardinality(String) COMMENT 'Kind of the identifier',
    since DateTime64(3, 'UTC') COMMENT 'When it was blocked'
)
@security AS
SELECT key AS own_person_id, space_id, kind, at AS since
FROM @name(identity_blocks) FINAL
WHERE blocked = 1
COMMENT 'Identifiers that tie nobody, by a space''s own word';

CREATE TABLE IF NOT EXISTS @local(profile_reads) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    at DateTime64(3, 'UTC') COMMENT 'When it was asked for; on disk before the answer went out',
    read_id UUID COMMENT 'Id of the look',
    key UUID COMMENT 'Own person id of the identifier that was asked for',
    person_id UUID COMMENT 'Person whose profile was given; all zeros: nobody''s',
    actor String COMMENT 'Who asked: key:ID for the API, person',
    way LowCardinality(String) COMMENT 'By which request: customer, visitor, lookup, timeline, search or correction; privacy: the person, on the page of their own data',
    parts LowCardinality(String) COMMENT 'What of it was given, sorted, comma between',
    personal UInt8 COMMENT '1: personal values in clear',
    found LowCardinality(String) COMMENT 'known, merged (under another id by now), candidate (of a search), unknown, erased or restricted',
    batch_host LowCardinality(String) COMMENT 'Host whose spool it came from',
    batch_seq UInt64 COMMENT 'Number of the batch on that host'
)
ENGINE = @engine(profile_reads, ReplacingMergeTree)
PARTITION BY toYear(at)
ORDER BY (space_id, at, read_id)
TTL toDateTime(at) + toIntervalDay(1095)
SETTINGS @deduplication, default_compression_codec = 'ZSTD(1)'
COMMENT 'Every look at a profile: who asked for whom, when, and whether personal values were given';

@facade(profile_reads, cityHash64(key));

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(landing_to_profile_reads) @on_cluster TO @local(profile_reads) AS
SELECT
    space_id,
    fromUnixTimestamp64Milli(received_at_ms, 'UTC') AS at,
    item.read_id AS read_id,
    item.key AS key,
    item.person_id AS person_id,
    item.actor AS actor,
    item.way AS way,
    item.parts AS parts,
    item.personal AS personal,
    item.found AS found,
    batch_host,
    batch_seq
FROM @local(landing)
ARRAY JOIN reads AS item
WHERE NOT dictHas('@name(erased)', cityHash64(item.key), received_at_ms);

CREATE OR REPLACE VIEW @name(v_profile_reads) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    at DateTime64(3, 'UTC') COMMENT 'When it was asked for',
    key UUID COMMENT 'Own person id of the identifier that was asked for',
    person_id UUID COMMENT 'Person whose profile was given; all zeros: nobody''s',
    way LowCardinality(String) COMMENT 'By which request: customer, visitor, lookup, timeline, search or correction; privacy: the person, on the page of their own data',
    parts LowCardinality(String) COMMENT 'What of it was given, sorted, comma between',
    personal UInt8 COMMENT '1: personal values in clear',
    found LowCardinality(String) COMMENT 'known, merged (under another id by now), candidate (of a search), unknown, erased or restricted'
)
@security AS
SELECT space_id, at, key, person_id, way, parts, personal, found
FROM @name(profile_reads) FINAL
COMMENT 'Every look at a profile: at whose, when, and whether personal values were given';
