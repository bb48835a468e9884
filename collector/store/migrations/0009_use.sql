-- What is read of one person: the events to show, the facts to sum up, the identifiers, the traits.
--
-- `events` lies by site, day and visitor, for questions about many. Who asks for one person, at every page perhaps, must
-- find their rows side by side: so `timeline` holds the few columns that are shown, by the identifier's own person id,
-- and `visitor_facts` what is summed up. Neither knows who it was: a person's rows are those of its identifiers, put
-- together as they are read, so that a merge or its undoing rewrites nothing.
--
-- A look takes one granule of each part, and each part costs it a third of a millisecond, however little it gives. So
-- partitions are years and not months, granules are small, and parts are compact: all columns in one file. What has had
-- its days goes with a merge a day, because each of those rewrites a large part.
--
-- Replays and retries change nothing: events are rows by their id, facts are sets and never sums. Sets hold 32 bits of a
-- hash of a session: of 10,000 people with 1,000 sessions one has one too few.
--
-- The sets of `visitor_facts` are cut by month, so that they go with their events when the site's days are over. Robots
-- are in the timeline, and in no fact.

CREATE TABLE IF NOT EXISTS @local(timeline) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space of the site',
    own_person_id UUID COMMENT 'Person id of the visitor (else of the first customer key) taken alone',
    time DateTime64(3, 'UTC') COMMENT 'When it happened',
    event_id UUID COMMENT 'Id of the event',
    site_id LowCardinality(String) COMMENT 'Site that the event belongs to',
    event_name LowCardinality(String) COMMENT 'Name of the event',
    visitor_proof LowCardinality(String) COMMENT 'How the visitor id was proved: cookie, script, server, cookieless (of the day alone) or none',
    session_id UUID COMMENT 'Session; all zeros: none',
    channel LowCardinality(String) COMMENT 'How the visitor got to this page: direct, internal, search, social, referral, paid, email, link or campaign',
    touchpoint LowCardinality(String) COMMENT 'Where it happened: web, app, server, email, call_centre or shop; by the property `touchpoint` where it says one of these',
    host LowCardinality(String) COMMENT 'Host of the page',
    path String COMMENT 'Path of the page, without query',
    title String COMMENT 'Title of the page',
    campaign LowCardinality(String) COMMENT 'Campaign: of the tagged link, else utm_campaign',
    device LowCardinality(String) COMMENT 'Device class: desktop, mobile, tablet or other',
    browser LowCardinality(String) COMMENT 'Browser family',
    order_id String COMMENT 'Order that the event names (transaction_id, order_id or orderId); empty: none',
    value Float64 COMMENT 'Amount of money that the event names (value, revenue or total); 0: none',
    currency LowCardinality(String) COMMENT 'Currency of that amount, as the event says it',
    category LowCardinality(String) COMMENT 'Category of the product that the event is about (category, item_category, or that of its first item)',
    customer_key UUID COMMENT 'Own person id of the customer key in force when it happened; all zeros: nobody known',
    assurance UInt8 COMMENT 'How sure it was who it was when it happened, 0 to 4',
    consent LowCardinality(String) COMMENT 'Purposes consented to when it happened, sorted, comma between',
    is_bot UInt8 COMMENT '1: a robot, or an automated browser',
    keep_days UInt16 COMMENT 'Days that the event is kept, counted from its time; 0: for ever',
    precedence UInt32 COMMENT 'Of two rows of one event the one with the higher value stays: what was received first'
)
ENGINE = @engine(timeline, ReplacingMergeTree, precedence)
PARTITION BY toYear(time)
PRIMARY KEY (space_id, own_person_id, time)
ORDER BY (space_id, own_person_id, time, event_id)
TTL toDateTime(time) + toIntervalDay(keep_days) DELETE WHERE keep_days > 0
SETTINGS @deduplication, index_granularity = 512, min_bytes_for_wide_part = 1000000000000,
    merge_with_ttl_timeout = 86400, default_compression_codec = 'ZSTD(1)'
COMMENT 'Events as a person''s timeline shows them, by identifier: the few columns shown, never rewritten';

@facade(timeline, cityHash64(own_person_id));

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(events_to_timeline) @on_cluster TO @local(timeline) AS
WITH
    lower(ifNull(e.props.touchpoint.:String, '')) AS said_where,
    upper(ifNull(e.props.currency.:String, '')) AS said_currency,
    coalesce(
        toFloat64(e.props.value.:Int64), e.props.value.:Float64, toFloat64OrNull(e.props.value.:String),
        toFloat64(e.props.revenue.:Int64), e.props.revenue.:Float64, toFloat64OrNull(e.props.revenue.:String),
        toFloat64(e.props.total.:Int64), e.props.total.:Float64, toFloat64OrNull(e.props.total.:String),
        0) AS amount
SELECT
    space_id,
    own_person_id,
    time,
    event_id,
    site_id,
    event_name,
    visitor_proof,
    session_id,
    channel,
    multiIf(
        said_where IN ('web', 'app', 'server', 'email', 'call_centre', 'shop'), said_where,
        visitor_id = toUUID('00000000-0000-0000-0000-000000000000') AND event_name IN ('link_click', 'mail_open', 'unsubscribe', 'resubscribe'), 'email',
        event_name = 'screen_view', 'app',
        visitor_proof IN ('server', 'none'), 'server',
        'web') AS touchpoint,
    host,
    path,
    title,
    if(link_campaign != '', link_campaign, utm_campaign) AS campaign,
    device,
    browser,
    substringUTF8(coalesce(
        e.props.transaction_id.:String, toString(e.props.transaction_id.:Int64),
        e.props.order_id.:String, toString(e.props.order_id.:Int64),
        e.props.orderId.:String, toString(e.props.orderId.:Int64),
        ''), 1, 100) AS order_id,
    if(isFinite(amount), amount, 0) AS value,
    if(match(said_currency, '^[A-Z]{3}$'), said_currency, '') AS currency,
    substringUTF8(coalesce(
        e.props.category.:String,
        e.props.item_category.:String,
        JSONExtractString(toJSONString(e.props.items), 1, 'item_category'),
        ''), 1, 100) AS category,
    customer_key,
    assurance,
    consent,
    is_bot,
    keep_days,
    4294967295 - toUnixTimestamp(received_at) AS precedence
FROM @local(events) AS e
WHERE own_person_id != toUUID('00000000-0000-0000-0000-000000000000');

CREATE TABLE IF NOT EXISTS @local(visitor_facts) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    own_person_id UUID COMMENT 'Person id of the visitor (else of the first customer key) taken alone',
    month Date COMMENT 'First day of the month in which it happened',
    keep_days SimpleAggregateFunction(max, UInt16) COMMENT 'Days that the month is kept after its last event; 0: for ever',
    first_time SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'Time of the first event',
    last_time SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'Time of the last event',
    orders AggregateFunction(groupUniqArrayIf, Tuple(UInt64, Int64, Float64, String, Int8), UInt8) COMMENT 'Orders: hash of the order, milliseconds since 1970, value, currency, and 1, or -1 for what was paid back (state)',
    seen AggregateFunction(groupUniqArrayArray, Array(Tuple(UInt8, String, UInt32))) COMMENT 'What was seen (1 a session, 2 a category of products, 3 a channel of arrival, 4 a class of device), its word, and in which visit: hash of the session, or else the day (state)'
)
ENGINE = @engine(visitor_facts, AggregatingMergeTree)
PARTITION BY toYear(month)
ORDER BY (space_id, own_person_id, month)
TTL toDateTime(last_time) + toIntervalDay(keep_days) DELETE WHERE keep_days > 0
SETTINGS @deduplication, index_granularity = 256, min_bytes_for_wide_part = 1000000000000,
    merge_with_ttl_timeout = 86400, default_compression_codec = 'ZSTD(1)'
COMMENT 'What is summed up of an identifier, month by month, as mergeable states; robots left out';

@facade(visitor_facts, cityHash64(own_person_id));

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(timeline_to_visitor_facts) @on_cluster TO @local(visitor_facts) AS
WITH
    t.session_id != toUUID('00000000-0000-0000-0000-000000000000') AS has_session,
    if(has_session, toUInt32(bitAnd(cityHash64(t.session_id), 4294967295)), toYYYYMMDD(t.time)) AS visit,
    lower(replaceAll(toString(t.event_name), ' ', '_')) AS happened,
    happened IN ('purchase', 'order', 'order_completed') AS is_order,
    happened IN ('refund', 'order_refunded') AS is_refund
SELECT
    space_id,
    own_person_id,
    toStartOfMonth(t.time) AS month,
    max(t.keep_days) AS keep_days,
    min(t.time) AS first_time,
    max(t.time) AS last_time,
    groupUniqArrayIfState(
        CAST((if(t.order_id != '', cityHash64(t.order_id), cityHash64(t.event_id)), toUnixTimestamp64Milli(t.time), t.value, toString(t.currency), if(is_refund, -1, 1)),
            'Tuple(UInt64, Int64, Float64, String, Int8)'),
        is_order OR is_refund) AS orders,
    groupUniqArrayArrayState(arrayFilter(one -> one.2 != '', CAST(
        [(1, if(has_session, '1', ''), visit), (2, toString(t.category), visit), (3, if(t.host != '' AND t.channel != 'internal', toString(t.channel), ''), visit), (4, toString(t.device), visit)],
        'Array(Tuple(UInt8, String, UInt32))'))) AS seen
FROM @local(timeline) AS t
WHERE t.is_bot = 0
GROUP BY space_id, own_person_id, month;

-- Only ever a way to find what to look up: whether an identifier is still that person's the map itself says. Rows are
-- only added, so it does no harm that a block that was there already is recognised.
CREATE TABLE IF NOT EXISTS @name(person_keys) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    person_id UUID COMMENT 'Person',
    key UUID COMMENT 'Own person id of an identifier that is this person''s, or once was',
    INDEX by_key key TYPE bloom_filter(0.001) GRANULARITY 16
)
ENGINE = @engine_everywhere(person_keys, ReplacingMergeTree)
ORDER BY (space_id, person_id, key)
SETTINGS @deduplication, index_granularity = 128, min_compress_block_size = 4096, max_compress_block_size = 16384
COMMENT 'Identifiers by person: the way back of identity_map and identity_intervals, whatever they have ever said';

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(identity_map_to_person_keys) @on_cluster TO @name(person_keys) AS
SELECT space_id, person_id, key
FROM @name(identity_map) AS map
WHERE is_deleted = 0 AND map.person_id != map.key;

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(identity_intervals_to_person_keys) @on_cluster TO @name(person_keys) AS
SELECT DISTINCT space_id, person_id, key
FROM @name(identity_intervals) AS held
WHERE is_deleted = 0 AND held.person_id != held.key;

-- The values that pages and servers give with an identify come by the view, everything else is written as rows. The
-- sorting key holds source and level, so that nothing overwrites what another source said, or the same more surely.
CREATE TABLE IF NOT EXISTS @local(traits) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    key UUID COMMENT 'Own person id of the customer key, or of the visitor, that it was said of',
    name LowCardinality(String) COMMENT 'Name of the trait',
    source LowCardinality(String) COMMENT 'Who said so: identify (a page), server, adapter:NAME or correction',
    level UInt8 COMMENT 'How sure it was of whom: 1 claimed (stays with the visitor), 2 linked, 3 signed, 4 server',
    value String COMMENT 'The value as JSON; where sealed is 1: nonce, AES-256-GCM cipher text and tag, base64, bound to space, key and name',
    sealed UInt8 COMMENT '1: sealed',
    time DateTime64(3, 'UTC') COMMENT 'When it was said',
    actor String COMMENT 'Who wrote it, of a correction: operator:NAME for a command, key:ID for the API',
    keep_days UInt16 COMMENT 'Days that it is kept, counted from its time; 0: for ever',
    version UInt64 COMMENT 'The highest wins: milliseconds since 1970, when it was said',
    is_deleted UInt8 COMMENT '1: this source has none any more'
)
ENGINE = @engine(traits, ReplacingMergeTree, version)
ORDER BY (space_id, key, name, source, level)
TTL toDateTime(time) + toIntervalDay(keep_days) DELETE WHERE keep_days > 0
SETTINGS @deduplication, index_granularity = 256, min_bytes_for_wide_part = 1000000000000,
    merge_with_ttl_timeout = 86400, default_compression_codec = 'ZSTD(1)'
COMMENT 'Named values about people, as each source last said them; for the collector alone, v_traits shows what is not personal';

@facade(traits, cityHash64(key));

-- A page''s word at a sign-in that it has signed is said of that customer. Without a signature it is said of the visitor,
-- whoever is signed in there: anybody who can run a script on the page could say it of whomever they name.
CREATE MATERIALIZED VIEW IF NOT EXISTS @local(landing_to_traits) @on_cluster TO @local(traits) AS
WITH
    assurance >= 4 AS is_server,
    is_server OR (is_signed AND assurance >= 3 AND customer_key != toUUID('00000000-0000-0000-0000-000000000000')) AS is_sure,
    lower(replaceRegexpAll(replaceRegexpAll(trait.1, '([a-z0-9])([A-Z])', '\\1_\\2'), '[^A-Za-z0-9]+', '_')) AS plain_name
SELECT
    space_id,
    if(is_sure, customer_key, own_person_id) AS key,
    plain_name AS name,
    if(visitor_proof IN ('server', 'none'), 'server', 'identify') AS source,
    multiIf(is_server, 4, is_sure, 3, 1) AS level,
    trait.2 AS value,
    0 AS sealed,
    fromUnixTimestamp64Milli(time_ms, 'UTC') AS time,
    '' AS actor,
    keep_days,
    toUInt64(time_ms) AS version,
    trait.2 = 'null' AS is_deleted
FROM
(
    SELECT
        space_id,
        own_person_id,
        visitor_proof,
        keep_days,
        event.customer_key AS customer_key,
        event.assurance AS assurance,
        greatest(0, least(event.time_ms, 10413791999000)) AS time_ms,
        arrayExists(said -> said.event_id = event.event_id AND said.level >= 3 AND said.op > 0, evidence) AS is_signed,
        arraySlice(JSONExtractKeysAndValuesRaw(event.props), 1, 100) AS said_traits
    FROM @local(landing)
    ARRAY JOIN arrayFilter(one -> one.name IN ('identify', 'alias'), events) AS event
)
ARRAY JOIN said_traits AS trait
WHERE match(plain_name, '^[a-z][a-z0-9_]{0,62}$') AND trait.2 != '"[removed]"'
    AND NOT dictHas('@name(erased)', cityHash64(own_person_id), time_ms) AND NOT dictHas('@name(erased)', cityHash64(customer_key), time_ms)
    AND key != toUUID('00000000-0000-0000-0000-000000000000');

CREATE TABLE IF NOT EXISTS @name(trait_definitions) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    name LowCardinality(String) COMMENT 'Name of the trait',
    type LowCardinality(String) COMMENT 'What its value is: text, number, integer, boolean, date, time or json',
    personal UInt8 COMMENT '1: seen in clear by those alone who may see personal values',
    min_assurance UInt8 COMMENT 'How sure it must be who asks, before a page is given it, 0 to 4',
    sentence String COMMENT 'What it means',
    version UInt64 COMMENT 'The highest wins',
    is_deleted UInt8 COMMENT '1: no longer declared'
)
ENGINE = @engine_everywhere(trait_definitions, ReplacingMergeTree, version, is_deleted)
ORDER BY (space_id, name)
SETTINGS @no_deduplication
COMMENT 'Traits as the configuration declares them; what is declared not personal may be seen by readers';

-- Of few people, and read with every profile: by the identifiers that are theirs, and by the person's own id.
CREATE TABLE IF NOT EXISTS @name(person_states) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    key UUID COMMENT 'Own person id of an identifier of whom it is said, or a person id',
    state LowCardinality(String) COMMENT 'erased: what was known is gone; restricted: it is kept, and must not be used',
    since DateTime64(3, 'UTC') COMMENT 'From when on',
    version UInt64 COMMENT 'The highest wins: milliseconds since 1970',
    is_deleted UInt8 COMMENT '1: it holds no longer'
)
ENGINE = @engine_everywhere(person_states, ReplacingMergeTree, version)
ORDER BY (space_id, key)
SETTINGS @no_deduplication, index_granularity = 256
COMMENT 'Who was erased or restricted, so that no profile, page or search tells of them; for the collector alone';

CREATE TABLE IF NOT EXISTS @local(touched_people) @on_cluster
(
    host LowCardinality(String) COMMENT 'Host whose spool the batch came from',
    seq UInt64 COMMENT 'Number of the batch on that host',
    space_id LowCardinality(String) COMMENT 'Identity space',
    own_person_id UUID COMMENT 'Person id of the visitor (else of the first customer key) taken alone',
    loaded_at DateTime DEFAULT now() COMMENT 'When it came into the store; kept for a day'
)
ENGINE = @engine(touched_people, ReplacingMergeTree)
PARTITION BY toDate(loaded_at)
ORDER BY (host, seq, space_id, own_person_id)
TTL loaded_at + toIntervalDay(1)
SETTINGS @deduplication, index_granularity = 1024, ttl_only_drop_parts = 1, default_compression_codec = 'ZSTD(1)'
COMMENT 'Who had events in which batch, so that audiences look at these alone; kept for a day';

@facade(touched_people, cityHash64(own_person_id));

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(landing_to_touched_people) @on_cluster TO @local(touched_people) AS
SELECT DISTINCT batch_host AS host, batch_seq AS seq, space_id, own_person_id
FROM @local(landing)
WHERE notEmpty(events) AND own_person_id != toUUID('00000000-0000-0000-0000-000000000000');

CREATE OR REPLACE VIEW @name(v_timeline) @on_cluster
(
    person_id UUID COMMENT 'Person, by all that is known now',
    time DateTime64(3, 'UTC') COMMENT 'When it happened',
    event_id UUID COMMENT 'Id of the event, see v_events',
    site_id LowCardinality(String) COMMENT 'Site that the event belongs to',
    event_name LowCardinality(String) COMMENT 'Name of the event',
    touchpoint LowCardinality(String) COMMENT 'Where it happened: web, app, server, email, call_centre or shop',
    channel LowCardinality(String) COMMENT 'How the visitor got to this page: direct, internal, search, social, referral, paid, email, link or campaign',
    host LowCardinality(String) COMMENT 'Host of the page',
    path String COMMENT 'Path of the page, without query',
    title String COMMENT 'Title of the page',
    campaign LowCardinality(String) COMMENT 'Campaign: of the tagged link, else utm_campaign',
    device LowCardinality(String) COMMENT 'Device class: desktop, mobile, tablet or other',
    browser LowCardinality(String) COMMENT 'Browser family',
    order_id String COMMENT 'Order that the event names; empty: none',
    value Float64 COMMENT 'Amount of money that the event names; 0: none',
    currency LowCardinality(String) COMMENT 'Currency of that amount',
    category LowCardinality(String) COMMENT 'Category of the product that the event is about',
    session_id UUID COMMENT 'Session; all zeros: none',
    is_bot UInt8 COMMENT '1: a robot, or an automated browser',
    own_person_id UUID COMMENT 'Person id of the visitor (else of the first customer key) taken alone: what the rows are sorted by',
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
    time, event_id, site_id, event_name, touchpoint, channel, host, path, title, campaign, device, browser, order_id,
    value, currency, category, session_id, is_bot, own_person_id, space_id
FROM @name(timeline) FINAL
COMMENT 'Events as a person''s timeline shows them; quick where own_person_id is named, by v_identity_map';

CREATE OR REPLACE VIEW @name(v_traits) @on_cluster
(
    person_id UUID COMMENT 'Person, by all that is known now',
    customer_id String COMMENT 'Customer id of that person; empty: not known',
    name LowCardinality(String) COMMENT 'Name of the trait',
    value String COMMENT 'The value as JSON',
    source LowCardinality(String) COMMENT 'Who said so: identify (a page), server, adapter:NAME or correction',
    level UInt8 COMMENT 'How sure it was of whom: 1 claimed, 2 linked, 3 signed, 4 server',
    time DateTime64(3, 'UTC') COMMENT 'When it was said',
    own_person_id UUID COMMENT 'Own person id of the customer key, or of the visitor, that it was said of',
    space_id LowCardinality(String) COMMENT 'Identity space'
)
@security AS
WITH
    dictGetOrDefault('@name(identity)', ('person_id', 'valid_from'), cityHash64(key), (key, toDateTime64(0, 3, 'UTC'))) AS tie,
    tie.2 = toDateTime64('2299-12-31 00:00:00', 3, 'UTC')
        AND dictGet('@name(identity_intervals_dict)', 'proved', cityHash64(key), time) = 1 AS is_in_turn
SELECT
    if(tie.2 <= time, tie.1, if(is_in_turn,
        dictGetOrDefault('@name(identity_intervals_dict)', 'person_id', cityHash64(key), time, key),
        key)) AS person_id,
    dictGet('@name(identity_customers)', 'customer_id', cityHash64(person_id)) AS customer_id,
    name, value, source, level, time, key AS own_person_id, space_id
FROM @name(traits) FINAL
WHERE sealed = 0 AND is_deleted = 0 AND (space_id, name) GLOBAL IN
    (SELECT space_id, name FROM @name(trait_definitions) FINAL WHERE personal = 0)
COMMENT 'Traits that the configuration declares not personal, as each source last said them; no others are in it';
