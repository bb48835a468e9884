-- Sessions, kept as mergeable states: replays and retries change nothing, for events are counted by their id.
-- The view stands behind `events`, not behind `landing`, so that the parts of an address are taken apart once.
--
-- The states hold 32 bits of a hash of each event id. Whole ids cost 15 bytes of an event where these cost 4, and of a
-- session with 50 events one in three million counts one too few. What follows from an address is left to v_sessions.
-- The place of an event (time, sequence, hash) is one number, because a tuple is compared ten times as slowly.

CREATE TABLE IF NOT EXISTS @local(sessions) @on_cluster
(
    site_id LowCardinality(String) COMMENT 'Site',
    space_id SimpleAggregateFunction(any, String) COMMENT 'Identity space of the site',
    visitor_id UUID COMMENT 'Visitor',
    session_id UUID COMMENT 'Session',
    own_person_id SimpleAggregateFunction(any, UUID) COMMENT 'Person id of the visitor taken alone',
    day Date COMMENT 'Day of the first event of an insert; partitions only, the time is first_time',
    keep_days SimpleAggregateFunction(max, UInt16) COMMENT 'Days that the session is kept; 0: for ever',
    first_time SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'Time of the first event',
    last_time SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'Time of the last event',
    session_number SimpleAggregateFunction(max, UInt32) COMMENT 'How many sessions this visitor has had, this one included',
    is_bot SimpleAggregateFunction(max, UInt8) COMMENT '1: a robot, or an automated browser',
    assurance SimpleAggregateFunction(max, UInt8) COMMENT 'Highest assurance of an event when it happened',
    is_proved SimpleAggregateFunction(max, UInt8) COMMENT '1: of some event a cookie or a server proved the visitor',
    events AggregateFunction(uniqExact, UInt32) COMMENT 'Hashes of the events'' ids (state)',
    page_views AggregateFunction(uniqExactIf, UInt32, UInt8) COMMENT 'Hashes of the page views'' ids (state)',
    entry AggregateFunction(argMin, Tuple(url String, referrer_host String, channel String, utm_source String, utm_medium String, utm_campaign String, utm_term String, utm_content String, link_campaign String, browser String, os String, device String, country String, language String), UInt128) COMMENT 'Where the first event stood and came from, with its browser, system, device, country and language (state)',
    exit AggregateFunction(argMax, String, UInt128) COMMENT 'Address of the last event (state)'
)
ENGINE = @engine(sessions, AggregatingMergeTree)
PARTITION BY toYYYYMM(day)
ORDER BY (site_id, visitor_id, session_id)
TTL day + toIntervalDay(keep_days) DELETE WHERE keep_days > 0
SETTINGS @deduplication, default_compression_codec = 'ZSTD(1)'
COMMENT 'Sessions as mergeable states, read through v_sessions; an event without a session is in none';

@facade(sessions, cityHash64(own_person_id));

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(events_to_sessions) @on_cluster TO @local(sessions) AS
WITH
    toUInt32(bitAnd(cityHash64(e.event_id), 4294967295)) AS id_hash,
    bitOr(bitShiftLeft(toUInt128(toUnixTimestamp64Milli(e.time)), 64), toUInt128(bitOr(bitShiftLeft(toUInt64(e.sequence), 32), toUInt64(id_hash)))) AS place
SELECT
    site_id,
    any(e.space_id) AS space_id,
    visitor_id,
    session_id,
    any(e.own_person_id) AS own_person_id,
    toDate(min(e.time)) AS day,
    max(e.keep_days) AS keep_days,
    min(e.time) AS first_time,
    max(e.time) AS last_time,
    max(e.session_number) AS session_number,
    max(e.is_bot) AS is_bot,
    max(e.assurance) AS assurance,
    max(e.visitor_proof != 'script') AS is_proved,
    uniqExactState(id_hash) AS events,
    uniqExactIfState(id_hash, e.event_name = 'page_view') AS page_views,
    argMinState(
        CAST((e.url, e.referrer_host, e.channel, e.utm_source, e.utm_medium, e.utm_campaign, e.utm_term, e.utm_content, if(e.link_status IN ('unfilled', 'test', 'forged'), '', e.link_campaign), e.browser, e.os, e.device, e.country, e.language),
            'Tuple(url String, referrer_host String, channel String, utm_source String, utm_medium String, utm_campaign String, utm_term String, utm_content String, link_campaign String, browser String, os String, device String, country String, language String)'),
        place) AS entry,
    argMaxState(e.url, place) AS exit
FROM @local(events) AS e
WHERE session_id != toUUID('00000000-0000-0000-0000-000000000000')
GROUP BY site_id, visitor_id, session_id;

CREATE TABLE IF NOT EXISTS @local(rejected_events) @on_cluster
(
    received_at DateTime64(3, 'UTC') COMMENT 'When the collector received it',
    site_id LowCardinality(String) COMMENT 'Site; empty where it named none that we know',
    step LowCardinality(String) COMMENT 'Step of the pipeline that refused it',
    reason LowCardinality(String) COMMENT 'Why',
    field String COMMENT 'Path of the field that it was refused for, never its value',
    body_bytes UInt32 COMMENT 'Size of the body in bytes, or of all bodies together',
    events UInt32 COMMENT 'How many events were refused; 0: not known',
    beacons UInt32 COMMENT 'How many beacons are counted in this row: equal refusals of one second are one',
    digest String COMMENT 'Keyed digest of the body, to recognise a repeated one; empty: several bodies',
    is_bot UInt8 COMMENT '1: a robot, or an automated browser',
    keep_days UInt16 DEFAULT 14 COMMENT 'Days that the row is kept',
    batch_host LowCardinality(String) COMMENT 'Host whose spool it came from',
    batch_seq UInt64 COMMENT 'Number of the batch on that host'
)
ENGINE = @engine(rejected_events, MergeTree)
PARTITION BY toYYYYMM(received_at)
ORDER BY (site_id, received_at)
TTL toDateTime(received_at) + toIntervalDay(keep_days)
SETTINGS @deduplication, default_compression_codec = 'ZSTD(1)'
COMMENT 'Every refusal with its reason, without what was refused; kept for the site''s rejected_days';

@facade(rejected_events, rand());

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(landing_to_rejected_events) @on_cluster TO @local(rejected_events) AS
SELECT
    fromUnixTimestamp64Milli(received_at_ms, 'UTC') AS received_at,
    site_id,
    refusal.step AS step,
    refusal.reason AS reason,
    refusal.field AS field,
    refusal.body_bytes AS body_bytes,
    refusal.events AS events,
    refusal.beacons AS beacons,
    refusal.digest AS digest,
    is_bot,
    rejected_days AS keep_days,
    batch_host,
    batch_seq
FROM @local(landing)
ARRAY JOIN rejected AS refusal;
