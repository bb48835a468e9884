-- Offers: who was shown what, who was held out, and who clicked.
--
-- The events say it; here are the few columns that the choice of an offer and the report about it need, by identifier,
-- as in `timeline`. Events are rows by their id, so that replays and retries change nothing. Whose an exposure is, who
-- reads it finds out: a merge counts those of both, and rewrites nothing.

CREATE TABLE IF NOT EXISTS @local(offer_exposures) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space of the site',
    own_person_id UUID COMMENT 'Person id of the visitor taken alone',
    time DateTime64(3, 'UTC') COMMENT 'When it happened',
    event_id UUID COMMENT 'Id of the event',
    site_id LowCardinality(String) COMMENT 'Site that the event belongs to',
    visitor_proof LowCardinality(String) COMMENT 'How the visitor id was proved: cookie, script, server, cookieless (of the day alone) or none',
    offer LowCardinality(String) COMMENT 'Name of the offer',
    slot LowCardinality(String) COMMENT 'Place on the page',
    action LowCardinality(String) COMMENT 'shown, held_out or clicked',
    is_bot UInt8 COMMENT '1: a robot, or an automated browser',
    keep_days UInt16 COMMENT 'Days that the event is kept, counted from its time; 0: for ever',
    precedence UInt32 COMMENT 'Of two rows of one event the one with the higher value stays: what was received first'
)
ENGINE = @engine(offer_exposures, ReplacingMergeTree, precedence)
PARTITION BY toYear(time)
PRIMARY KEY (space_id, own_person_id, time)
ORDER BY (space_id, own_person_id, time, event_id)
TTL toDateTime(time) + toIntervalDay(keep_days) DELETE WHERE keep_days > 0
SETTINGS @deduplication, index_granularity = 512, min_bytes_for_wide_part = 1000000000000,
    merge_with_ttl_timeout = 86400, default_compression_codec = 'ZSTD(1)'
COMMENT 'Offers that were shown, held out or clicked, by identifier';

@facade(offer_exposures, cityHash64(own_person_id));

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(events_to_offer_exposures) @on_cluster TO @local(offer_exposures) AS
SELECT
    space_id,
    own_person_id,
    time,
    event_id,
    site_id,
    visitor_proof,
    substringUTF8(ifNull(e.props.offer.:String, ''), 1, 100) AS offer,
    substringUTF8(ifNull(e.props.slot.:String, ''), 1, 100) AS slot,
    substring(event_name, 7) AS action,
    is_bot,
    keep_days,
    4294967295 - toUnixTimestamp(received_at) AS precedence
FROM @local(events) AS e
WHERE event_name IN ('offer_shown', 'offer_held_out', 'offer_clicked') AND offer != ''
    AND own_person_id != toUUID('00000000-0000-0000-0000-000000000000');

CREATE OR REPLACE VIEW @name(v_offer_exposures) @on_cluster
(
    person_id UUID COMMENT 'Person, by all that is known now',
    time DateTime64(3, 'UTC') COMMENT 'When it happened',
    event_id UUID COMMENT 'Id of the event, see v_events',
    site_id LowCardinality(String) COMMENT 'Site that the event belongs to',
    offer LowCardinality(String) COMMENT 'Name of the offer',
    slot LowCardinality(String) COMMENT 'Place on the page',
    action LowCardinality(String) COMMENT 'shown (in view for a second), held_out (in the share without an offer, its place was in view for a second) or clicked',
    is_bot UInt8 COMMENT '1: a robot, or an automated browser',
    own_person_id UUID COMMENT 'Person id of the visitor taken alone: what the rows are sorted by',
    space_id LowCardinality(String) COMMENT 'Identity space of the site'
)
@security AS
WITH
    dictGetOrDefault('@name(identity)', ('person_id', 'valid_from'), cityHash64(own_person_id),
        (own_person_id, toDateTime64(0, 3, 'UTC'))) AS tie,
    tie.2 = toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AS is_shared,
    visitor_proof = 'script' OR dictGet('@name(identity_intervals_dict)', 'proved', cityHash64(own_person_id), time) = 1 AS is_theirs
SELECT
    if(tie.2 <= time, tie.1, if(is_shared AND is_theirs,
        dictGetOrDefault('@name(identity_intervals_dict)', 'person_id', cityHash64(own_person_id), time, own_person_id),
        own_person_id)) AS person_id,
    time, event_id, site_id, offer, slot, action, is_bot, own_person_id, space_id
FROM @name(offer_exposures) FINAL
COMMENT 'Offers that people were shown, that were held out, and that they clicked';
