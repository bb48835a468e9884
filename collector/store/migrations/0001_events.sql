-- The way of an event into the store: `landing` takes the loader's batches and keeps nothing; views on it fill
-- `events`. What depends on the request alone was decided at the edge; what follows from the event is computed here.
--
-- The columns of `landing` are the fields of collector.event.LandingRow, by name; a test compares them. Integers that
-- come from a tag are Int64 here and clamped on the way, so that one odd number cannot stop a batch or a reader.
--
-- Who was erased stays so: each view asks `erased` and leaves out what came late. Who came anew has another key by then.
--
-- Exactly once: every table that a view fills has a deduplication window, and a batch is one block under one token.
--
-- `props` keeps 32 names as columns of their own, and of each the first type alone; other types of one name share a
-- column. With the engine's own bound of 32 types, 15,000 events of one hostile client whose values changed their type
-- made parts of 9,600 files, and a merge opened more than 20,000; so they stay under 600.
--
-- ZSTD instead of ClickHouse's LZ4: 44 bytes of an event on disk where there were 73, for the same work of an insert.
--
-- The sorting key of `events` holds the time in milliseconds instead of `time` itself. With `time` in it ClickHouse
-- matches a time range to that late column and reads the whole month; so it uses toDate(time), and reads the days.

CREATE TABLE IF NOT EXISTS @name(tombstones) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    request_id UUID COMMENT 'Request that was carried out, see data_requests',
    mark String COMMENT 'What the edge knows it by: a hash of the identifier, see collector.privacy.tombstones',
    key_hash UInt64 COMMENT 'What the store knows it by: cityHash64 of the own person id that is no more; 0: none',
    is_whole UInt8 COMMENT '1: all that was ever said of it; 0: only what lies between the two moments, as on a shared device',
    from_ms Int64 COMMENT 'Begin of what was erased, milliseconds since 1970',
    to_ms Int64 COMMENT 'Its end, not included: nothing of that time is taken in any more',
    events LowCardinality(String) COMMENT 'Which events: all, unproved (visitor_proof is script) or proved (the others)',
    begins_anew UInt8 COMMENT '1: what comes later belongs to somebody new; 0: others go on with it',
    changed_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written; web processes ask what is new'
)
ENGINE = @engine_everywhere(tombstones, ReplacingMergeTree, changed_at)
ORDER BY (space_id, request_id, key_hash, mark, from_ms)
SETTINGS @no_deduplication
COMMENT 'What was erased, as hashes that lead back to nobody: so that it does not come in again';

CREATE DICTIONARY IF NOT EXISTS @name(erased) @on_cluster
(
    key_hash UInt64,
    from_ms Int64,
    last_ms Int64,
    events String,
    request_id UUID
)
PRIMARY KEY key_hash
SOURCE(CLICKHOUSE(@dictionary_login QUERY '
    SELECT key_hash, from_ms, to_ms - 1 AS last_ms, events, request_id FROM @name(tombstones) FINAL WHERE key_hash != 0'))
LAYOUT(RANGE_HASHED())
RANGE(MIN from_ms MAX last_ms)
LIFETIME(MIN 30 MAX 60)
COMMENT 'tombstones in memory: whether an identifier was erased, for a moment in time; an erasure reloads it';

CREATE TABLE IF NOT EXISTS @local(signal_withdrawals) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    key UUID COMMENT 'Own person id of the visitor',
    time DateTime64(3, 'UTC') COMMENT 'When consent to the fingerprint was taken back: no fingerprint up to then is of use any more',
    loaded_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written'
)
ENGINE = @engine(signal_withdrawals, ReplacingMergeTree, time)
ORDER BY (space_id, key)
TTL toDateTime(loaded_at) + toIntervalDay(30)
SETTINGS @deduplication
COMMENT 'Who has taken back consent to the fingerprint, for as long as an event of theirs may still come in late';

@facade(signal_withdrawals, cityHash64(key));

CREATE DICTIONARY IF NOT EXISTS @name(withdrawn_signals) @on_cluster
(
    key_hash UInt64,
    last_ms Int64
)
PRIMARY KEY key_hash
SOURCE(CLICKHOUSE(@dictionary_login QUERY '
    SELECT cityHash64(key) AS key_hash, max(toUnixTimestamp64Milli(time)) AS last_ms FROM @name(signal_withdrawals) GROUP BY key'))
LAYOUT(HASHED())
LIFETIME(MIN 1 MAX 3)
COMMENT 'signal_withdrawals in memory; the role govern reloads it';

CREATE TABLE IF NOT EXISTS @local(landing) @on_cluster
(
    batch_host LowCardinality(String) COMMENT 'Host whose spool the batch came from',
    batch_seq UInt64 COMMENT 'Number of the batch on that host, counting up from 1',
    received_at_ms Int64 COMMENT 'When the collector received the beacon, milliseconds since 1970',
    site_id LowCardinality(String) COMMENT 'Site that the beacon belongs to',
    space_id LowCardinality(String) COMMENT 'Identity space of the site',
    wire_version UInt16 COMMENT 'Version of the wire format that the sender used',
    visitor_id UUID COMMENT 'Visitor (one browser or app install); all zeros: none',
    visitor_proof LowCardinality(String) COMMENT 'How the visitor id was proved: cookie, script, server, cookieless (of the day alone) or none',
    reset_from UUID COMMENT 'Visitor id before a reset (sign-out); all zeros: none',
    own_person_id UUID COMMENT 'Person id of the visitor (else of the first customer key) taken alone',
    session_id UUID COMMENT 'Session as the tag counts it; all zeros: none',
    session_number Int64 COMMENT 'How many sessions this visitor has had, this one included',
    session_started_ms Int64 COMMENT 'Start of the session by the tag''s clock, milliseconds since 1970',
    consent LowCardinality(String) COMMENT 'Purposes consented to, sorted, comma between',
    country LowCardinality(String) COMMENT 'Country by the address, ISO 3166-1 alpha-2; empty: unknown',
    network String COMMENT 'Truncated address, /24 or /48',
    browser LowCardinality(String) COMMENT 'Browser family',
    browser_version LowCardinality(String) COMMENT 'Browser version',
    os LowCardinality(String) COMMENT 'Operating system family',
    os_version LowCardinality(String) COMMENT 'Operating system version',
    device LowCardinality(String) COMMENT 'Device class: desktop, mobile, tablet or other',
    is_bot UInt8 COMMENT '1: a robot, or an automated browser',
    bot_reason LowCardinality(String) COMMENT 'What made it a bot',
    language LowCardinality(String) COMMENT 'Language of the browser',
    time_zone LowCardinality(String) COMMENT 'Time zone of the browser',
    viewport LowCardinality(String) COMMENT 'Size of the window, width x height in CSS pixels',
    fingerprint String COMMENT 'Device fingerprint; empty without consent to it',
    fingerprint_version UInt16 COMMENT 'Version of the fingerprint''s recipe',
    link_status LowCardinality(String) COMMENT 'State of the tagged link: unconfirmed, confirmed, expired, early, revoked, unfilled, test, forged or bot',
    link_kind LowCardinality(String) COMMENT 'Kind of the tagged link: message, recipient, unsubscribe or preferences',
    link_token_id String COMMENT 'Id of the tagged link''s token',
    link_campaign LowCardinality(String) COMMENT 'Campaign of the tagged link',
    link_message String COMMENT 'Message (mailing) of the tagged link',
    link_name LowCardinality(String) COMMENT 'Which link of the message it was',
    link_class LowCardinality(String) COMMENT 'Who followed the tagged link: human, scanner, prefetch, preview or bot',
    link_reasons LowCardinality(String) COMMENT 'What spoke for that class, words with a comma between, see docs/marketers.md',
    link_way LowCardinality(String) COMMENT 'How the tagged link led here: redirect (by way of /l/, whose own event is the click) or page (in the page''s address)',
    keep_days UInt16 COMMENT 'Days that the site keeps its events; 0: for ever',
    network_days UInt16 DEFAULT 30 COMMENT 'Days that its events have the truncated address; 0: never',
    rejected_days UInt16 DEFAULT 14 COMMENT 'Days that it keeps what was refused',
    events Array(Tuple(
        event_id UUID,
        name String,
        time_ms Int64,
        url String,
        referrer String,
        title String,
        props String,
        sequence Int64,
        customer_key UUID,
        assurance UInt8,
        mfa UInt8)) COMMENT 'Events of the beacon, see collector.event.EventRow',
    evidence Array(Tuple(
        evidence_id String,
        kind String,
        level UInt8,
        a_kind String,
        a_value String,
        a_key UUID,
        b_kind String,
        b_value String,
        b_key UUID,
        b_unique UInt8,
        source String,
        proof String,
        time_ms Int64,
        session_id UUID,
        session_started_ms Int64,
        event_id UUID,
        token_id String,
        campaign String,
        human String,
        consent String,
        policy_version UInt16,
        actor String,
        verification String,
        op Int8)) COMMENT 'Evidence of the beacon, see collector.event.EvidenceRow',
    rejected Array(Tuple(
        step String,
        reason String,
        field String,
        body_bytes UInt32,
        events UInt32,
        digest String,
        beacons UInt32)) COMMENT 'Refusals, see collector.event.RejectedRow',
    vault Array(Tuple(
        kind String,
        value String,
        key UUID,
        sealed String)) COMMENT 'Sealed clear values of identifiers, see collector.event.VaultRow',
    consents Array(Tuple(
        consent_id String,
        key UUID,
        purpose String,
        state String,
        source String,
        time_ms Int64,
        policy_version UInt16,
        actor String,
        proof String,
        page String)) COMMENT 'What people granted or took back, see collector.event.ConsentRow',
    reads Array(Tuple(
        read_id UUID,
        key UUID,
        person_id UUID,
        actor String,
        way String,
        parts String,
        personal UInt8,
        found String)) COMMENT 'Looks at profiles, see collector.event.ReadRow'
)
ENGINE = Null
COMMENT 'Takes the loader''s batches, keeps nothing: the views on it fill the other tables';

@facade(landing, cityHash64(own_person_id));

CREATE TABLE IF NOT EXISTS @local(events) @on_cluster
(
    event_id UUID COMMENT 'Id of the event, made by the sender (UUIDv7); the same for every retry',
    site_id LowCardinality(String) COMMENT 'Site that the event belongs to',
    space_id LowCardinality(String) COMMENT 'Identity space of the site',
    time DateTime64(3, 'UTC') COMMENT 'When it happened, by the sender''s clock set right by its own offset',
    received_at DateTime64(3, 'UTC') COMMENT 'When the collector received it',
    event_name LowCardinality(String) COMMENT 'Name of the event; page_view, identify, reset, link_confirm and fingerprint are the tag''s own, link_click, mail_open, unsubscribe and resubscribe the collector''s',
    visitor_id UUID COMMENT 'Visitor (one browser or app install); all zeros: none',
    visitor_proof LowCardinality(String) COMMENT 'How the visitor id was proved: cookie, script, server, cookieless (of the day alone) or none',
    own_person_id UUID COMMENT 'Person id of the visitor (else of the first customer key) taken alone',
    session_id UUID COMMENT 'Session; all zeros: none',
    session_number UInt32 COMMENT 'How many sessions this visitor has had, this one included',
    customer_key UUID COMMENT 'Own person id of the customer key in force when it happened; all zeros: nobody known',
    assurance UInt8 COMMENT 'How sure it was who it was when it happened, 0 to 4',
    mfa UInt8 COMMENT '1: the sign-in in force when it happened was by more than one factor',
    url String COMMENT 'Address of the page',
    host LowCardinality(String) COMMENT 'Host of the page',
    path String COMMENT 'Path of the page, without query',
    title String COMMENT 'Title of the page',
    referrer String COMMENT 'Address that the visitor came from',
    referrer_host LowCardinality(String) COMMENT 'Host that the visitor came from, without www.',
    channel LowCardinality(String) COMMENT 'How the visitor got to this page: direct, internal, search, social, referral, paid, email, link or campaign',
    utm_source LowCardinality(String) COMMENT 'utm_source of the address',
    utm_medium LowCardinality(String) COMMENT 'utm_medium of the address',
    utm_campaign LowCardinality(String) COMMENT 'utm_campaign of the address',
    utm_term String COMMENT 'utm_term of the address',
    utm_content String COMMENT 'utm_content of the address',
    click_id LowCardinality(String) COMMENT 'Name of the advertising click id in the address, such as gclid; never its value',
    props JSON(max_dynamic_types = 1, max_dynamic_paths = 32) COMMENT 'Properties that the site gave with the event',
    browser LowCardinality(String) COMMENT 'Browser family',
    browser_version LowCardinality(String) COMMENT 'Browser version',
    os LowCardinality(String) COMMENT 'Operating system family',
    os_version LowCardinality(String) COMMENT 'Operating system version',
    device LowCardinality(String) COMMENT 'Device class: desktop, mobile, tablet or other',
    is_bot UInt8 COMMENT '1: a robot, or an automated browser',
    bot_reason LowCardinality(String) COMMENT 'What made it a bot',
    language LowCardinality(String) COMMENT 'Language of the browser',
    time_zone LowCardinality(String) COMMENT 'Time zone of the browser',
    viewport LowCardinality(String) COMMENT 'Size of the window, width x height in CSS pixels',
    fingerprint String COMMENT 'Device fingerprint; empty without consent to it',
    fingerprint_version UInt16 COMMENT 'Version of the fingerprint''s recipe; 0: none',
    link_status LowCardinality(String) COMMENT 'State of the tagged link: unconfirmed, confirmed, expired, early, revoked, unfilled, test, forged or bot; empty: none',
    link_kind LowCardinality(String) COMMENT 'Kind of the tagged link: message, recipient, unsubscribe or preferences',
    link_token_id String COMMENT 'Id of the tagged link''s token',
    link_campaign LowCardinality(String) COMMENT 'Campaign of the tagged link',
    link_message String COMMENT 'Message (mailing) of the tagged link',
    link_name LowCardinality(String) COMMENT 'Which link of the message it was',
    link_class LowCardinality(String) COMMENT 'Who followed the tagged link: human, scanner, prefetch, preview or bot',
    link_reasons LowCardinality(String) COMMENT 'What spoke for that class, words with a comma between, see docs/marketers.md',
    link_way LowCardinality(String) COMMENT 'How the tagged link led here: redirect (by way of /l/, whose own event is the click) or page (in the page''s address)',
    consent LowCardinality(String) COMMENT 'Purposes consented to when it happened, sorted, comma between',
    country LowCardinality(String) COMMENT 'Country by the address, ISO 3166-1 alpha-2; empty: unknown',
    network String COMMENT 'Truncated address, /24 or /48; emptied when network_days are over' TTL toDateTime(received_at) + toIntervalDay(network_days),
    sequence UInt32 COMMENT 'Order in which the sender made the events of one page',
    wire_version UInt16 COMMENT 'Version of the wire format that the sender used',
    keep_days UInt16 COMMENT 'Days that the event is kept, counted from its time; 0: for ever',
    network_days UInt16 DEFAULT 30 COMMENT 'Days that the truncated address is kept, counted from when it was received',
    batch_host LowCardinality(String) COMMENT 'Host whose spool the event came from',
    batch_seq UInt64 COMMENT 'Number of the batch on that host',
    precedence UInt32 DEFAULT 4294967295 - toUnixTimestamp(received_at) COMMENT 'Of two rows of one event the one with the higher value stays: what was received first',
    INDEX own_person_index own_person_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX batch_index batch_seq TYPE minmax GRANULARITY 1
)
ENGINE = @engine(events, ReplacingMergeTree, precedence)
PARTITION BY toYYYYMM(time)
ORDER BY (site_id, toDate(time), visitor_id, toUnixTimestamp64Milli(time), event_id)
TTL toDateTime(time) + toIntervalDay(keep_days) DELETE WHERE keep_days > 0
SETTINGS @deduplication, default_compression_codec = 'ZSTD(1)'
COMMENT 'One row per event, never rewritten: who it was is read through the identity map, see v_events';

@facade(events, cityHash64(own_person_id));

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(landing_to_events) @on_cluster TO @local(events) AS
WITH
    lower(domain(event.url)) AS page_host,
    replaceRegexpOne(lower(domain(event.referrer)), '^www\\.', '') AS from_host,
    toValidUTF8(decodeURLFormComponent(extractURLParameter(event.url, 'utm_source'))) AS source,
    toValidUTF8(decodeURLFormComponent(extractURLParameter(event.url, 'utm_medium'))) AS medium,
    extractURLParameterNames(event.url) AS names,
    arrayFirst(name -> has(names, name),
        ['gclid', 'gbraid', 'wbraid', 'dclid', 'msclkid', 'fbclid', 'ttclid', 'twclid', 'li_fat_id', 'epik', 'rdt_cid', 'yclid']) AS click
SELECT
    event.event_id AS event_id,
    site_id,
    space_id,
    fromUnixTimestamp64Milli(greatest(0, least(event.time_ms, 10413791999000)), 'UTC') AS time,
    fromUnixTimestamp64Milli(received_at_ms, 'UTC') AS received_at,
    event.name AS event_name,
    visitor_id,
    visitor_proof,
    own_person_id,
    session_id,
    toUInt32(greatest(0, least(session_number, 4294967295))) AS session_number,
    event.customer_key AS customer_key,
    event.assurance AS assurance,
    event.mfa AS mfa,
    event.url AS url,
    page_host AS host,
    path(event.url) AS path,
    event.title AS title,
    event.referrer AS referrer,
    from_host AS referrer_host,
    multiIf(
        (medium != '' AND match(lower(medium), '^(cpc|ppc|cpm|cpv|cpa|cpp|paid.*|retargeting|display|banner|ads?)$'))
            OR click IN ('gclid', 'gbraid', 'wbraid', 'dclid', 'msclkid', 'yclid'), 'paid',
        (medium != '' AND match(lower(medium), '^(e-?mail|newsletter)$'))
            OR (source != '' AND match(lower(source), '^(e-?mail|newsletter)$')), 'email',
        (medium != '' AND match(lower(medium), '^(social.*|sm)$')) OR click IN ('fbclid', 'ttclid', 'twclid', 'li_fat_id', 'epik', 'rdt_cid'), 'social',
        lower(medium) = 'organic', 'search',
        lower(medium) = 'referral', 'referral',
        link_status NOT IN ('', 'unfilled', 'forged'), 'link',
        source != '' OR medium != '', 'campaign',
        from_host = '', 'direct',
        from_host = replaceRegexpOne(page_host, '^www\\.', ''), 'internal',
        match(from_host, '(^|\\.)(google|bing|yahoo|baidu|yandex|ecosia|qwant|startpage|duckduckgo|naver|seznam|sogou|ask|aol)\\.[a-z.]{2,6}$|^search\\.brave\\.com$|^kagi\\.com$'), 'search',
        match(from_host, '(^|\\.)(facebook|instagram|linkedin|twitter|pinterest|reddit|youtube|tiktok|xing|threads|snapchat|tumblr|mastodon)\\.[a-z.]{2,6}$|^(x\\.com|t\\.co|lnkd\\.in|bsky\\.app|vk\\.com|wa\\.me|t\\.me|news\\.ycombinator\\.com|mastodon\\.social)$'), 'social',
        match(from_host, '^(mail|webmail|outlook)\\.'), 'email',
        'referral') AS channel,
    source AS utm_source,
    medium AS utm_medium,
    toValidUTF8(decodeURLFormComponent(extractURLParameter(event.url, 'utm_campaign'))) AS utm_campaign,
    toValidUTF8(decodeURLFormComponent(extractURLParameter(event.url, 'utm_term'))) AS utm_term,
    toValidUTF8(decodeURLFormComponent(extractURLParameter(event.url, 'utm_content'))) AS utm_content,
    click AS click_id,
    CAST(if(isValidJSON(event.props) AND startsWith(event.props, '{'), event.props, '{}'), 'JSON(max_dynamic_types = 1, max_dynamic_paths = 32)') AS props,
    browser,
    browser_version,
    os,
    os_version,
    device,
    is_bot,
    bot_reason,
    language,
    time_zone,
    viewport,
    if(fingerprint != ''
        AND dictGetOrDefault('@name(withdrawn_signals)', 'last_ms', cityHash64(own_person_id), toInt64(0)) >= event.time_ms,
        '', fingerprint) AS fingerprint,
    if(fingerprint = '', 0, fingerprint_version) AS fingerprint_version,
    link_status,
    link_kind,
    link_token_id,
    link_campaign,
    link_message,
    link_name,
    link_class,
    link_reasons,
    link_way,
    consent,
    country,
    network,
    toUInt32(greatest(0, least(event.sequence, 4294967295))) AS sequence,
    wire_version,
    keep_days,
    network_days,
    batch_host,
    batch_seq
FROM @local(landing)
ARRAY JOIN events AS event
WHERE dictGetOrDefault('@name(erased)', 'events', cityHash64(own_person_id), event.time_ms, '')
    NOT IN ('all', if(visitor_proof = 'script', 'unproved', 'proved'))
    AND NOT dictHas('@name(erased)', cityHash64(event.customer_key), event.time_ms);
