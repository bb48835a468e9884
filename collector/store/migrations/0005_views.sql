-- What readers see: stable names, a comment on every column, pseudonyms instead of personal values.
--
-- The person of an event is looked up when the view is read: one lookup by the visitor's own person id in a dictionary
-- that holds only identifiers whose person is not their own. For one with several people valid_from never comes, and
-- the interval is looked up. Where that is not proved, whoever signed in there knew the visitor's id and proved no more:
-- what the visitor's cookie proves stays the visitor's own. A person's id is that of one of its keys: the customer id
-- is looked up by it, in a dictionary of customer keys alone. A column that a query does not name costs nothing, its
-- lookup included; docs/benchmarks.md says what the others cost.
--
-- In a view for readers stands no value of an identifier but the customer id (in clear only where its kind is declared
-- not personal), no actor, no network address.

CREATE DATABASE IF NOT EXISTS @analytics @on_cluster;

CREATE OR REPLACE VIEW @name(v_events) @on_cluster
(
    event_id UUID COMMENT 'Id of the event, made by the sender; the same for every retry',
    site_id LowCardinality(String) COMMENT 'Site that the event belongs to',
    time DateTime64(3, 'UTC') COMMENT 'When it happened, by the sender''s clock set right by its own offset',
    received_at DateTime64(3, 'UTC') COMMENT 'When the collector received it',
    event_name LowCardinality(String) COMMENT 'Name of the event; page_view, identify, reset, link_confirm and fingerprint are the tag''s own, link_click, mail_open, unsubscribe and resubscribe the collector''s',
    visitor_id UUID COMMENT 'Visitor (one browser or app install); all zeros: none',
    visitor_proof LowCardinality(String) COMMENT 'How the visitor id was proved: cookie, script, server, cookieless (of the day alone) or none',
    session_id UUID COMMENT 'Session (30 minutes idle or a new campaign ends it); all zeros: none',
    session_number UInt32 COMMENT 'How many sessions this visitor has had, this one included',
    person_id UUID COMMENT 'Person whose event it was, by all that is known now; for an anonymous visitor its own id',
    customer_id String COMMENT 'Customer whose event it was, by all that is known now; empty: not known',
    customer_id_then String COMMENT 'Customer it was known to be when it happened; never changes by later knowledge',
    assurance UInt8 COMMENT 'How sure it was who it was when it happened: 0 not, 1 claimed, 2 linked, 3 signed, 4 server; at most what ties the visitor to the customer',
    mfa UInt8 COMMENT '1: the sign-in in force when it happened was by more than one factor',
    provisional UInt8 COMMENT '1: a tagged link alone names the customer, no sign-in has confirmed it',
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
    props JSON(max_dynamic_types = 1, max_dynamic_paths = 32) COMMENT 'Properties that the site gave with the event: props.name, or props.name.:Float64 for one type',
    browser LowCardinality(String) COMMENT 'Browser family',
    browser_version LowCardinality(String) COMMENT 'Browser version',
    os LowCardinality(String) COMMENT 'Operating system family',
    os_version LowCardinality(String) COMMENT 'Operating system version',
    device LowCardinality(String) COMMENT 'Device class: desktop, mobile, tablet or other',
    is_bot UInt8 COMMENT '1: a robot, or an automated browser: leave it out of what you count',
    bot_reason LowCardinality(String) COMMENT 'What made it a bot',
    language LowCardinality(String) COMMENT 'Language of the browser',
    time_zone LowCardinality(String) COMMENT 'Time zone of the browser',
    viewport LowCardinality(String) COMMENT 'Size of the window, width x height in CSS pixels',
    country LowCardinality(String) COMMENT 'Country by the address, ISO 3166-1 alpha-2; empty: unknown',
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
    own_person_id UUID COMMENT 'Person id of the visitor taken alone: finds the events of a person quickly, see v_identity_map',
    space_id LowCardinality(String) COMMENT 'Identity space of the site: people are shared inside it and never across',
    sequence UInt32 COMMENT 'Order in which the sender made the events of one page',
    wire_version UInt16 COMMENT 'Version of the wire format that the sender used',
    batch_host LowCardinality(String) COMMENT 'Host whose spool the event came from, see v_batches',
    batch_seq UInt64 COMMENT 'Number of the batch on that host, see v_batches'
)
@security AS
WITH
    dictGetOrDefault('@name(identity)', ('person_id', 'valid_from'), cityHash64(own_person_id),
        (own_person_id, toDateTime64(0, 3, 'UTC'))) AS tie,
    tie.2 = toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AS is_shared,
    visitor_proof = 'script' OR dictGet('@name(identity_intervals_dict)', 'proved', cityHash64(own_person_id), time) = 1 AS is_theirs
SELECT
    event_id,
    site_id,
    time,
    received_at,
    event_name,
    visitor_id,
    visitor_proof,
    session_id,
    session_number,
    if(tie.2 <= time, tie.1, if(is_shared AND is_theirs,
        dictGetOrDefault('@name(identity_intervals_dict)', 'person_id', cityHash64(own_person_id), time, own_person_id),
        own_person_id)) AS person_id,
    dictGet('@name(identity_customers)', 'customer_id', cityHash64(person_id)) AS customer_id,
    if(customer_key = toUUID('00000000-0000-0000-0000-000000000000'), '',
        dictGet('@name(identity_customers)', 'customer_id', cityHash64(customer_key))) AS customer_id_then,
    multiIf(
        assurance = 0, 0,
        customer_id = '', assurance,
        tie.2 <= time, least(assurance, bitAnd(dictGetOrDefault('@name(identity)', 'marks', cityHash64(own_person_id), toUInt8(7)), 7)),
        least(assurance, dictGet('@name(identity_intervals_dict)', 'level', cityHash64(own_person_id), time))) AS assurance,
    if(mfa = 1 AND assurance >= 3, 1, 0) AS mfa,
    multiIf(
        customer_id = '', 0,
        tie.2 <= time, bitShiftRight(dictGetOrDefault('@name(identity)', 'marks', cityHash64(own_person_id), toUInt8(7)), 3),
        dictGet('@name(identity_intervals_dict)', 'provisional', cityHash64(own_person_id), time)) AS provisional,
    url,
    host,
    path,
    title,
    referrer,
    referrer_host,
    channel,
    utm_source,
    utm_medium,
    utm_campaign,
    utm_term,
    utm_content,
    click_id,
    props,
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
    country,
    if(fingerprint != '' AND dictGetOrDefault('@name(withdrawn_signals)', 'last_ms', cityHash64(own_person_id), toInt64(0))
        >= toUnixTimestamp64Milli(time), '', fingerprint) AS fingerprint,
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
    own_person_id,
    space_id,
    sequence,
    wire_version,
    batch_host,
    batch_seq
FROM @name(events) FINAL
COMMENT 'Every event, once, with the person and the customer it belongs to by all that is known now';

CREATE OR REPLACE VIEW @name(v_sessions) @on_cluster
(
    session_id UUID COMMENT 'Session',
    site_id LowCardinality(String) COMMENT 'Site',
    visitor_id UUID COMMENT 'Visitor (one browser or app install)',
    session_number UInt32 COMMENT 'How many sessions this visitor has had, this one included',
    person_id UUID COMMENT 'Person whose session it was when it ended, by all that is known now',
    customer_id String COMMENT 'Customer whose session it was when it ended, by all that is known now; empty: not known',
    provisional UInt8 COMMENT '1: a tagged link alone names the customer, no sign-in has confirmed it',
    started_at DateTime64(3, 'UTC') COMMENT 'Time of the first event',
    ended_at DateTime64(3, 'UTC') COMMENT 'Time of the last event',
    duration_s Float64 COMMENT 'Seconds between the two',
    events UInt64 COMMENT 'Events in it',
    page_views UInt64 COMMENT 'Page views in it',
    is_bounce UInt8 COMMENT '1: one page view at most',
    assurance UInt8 COMMENT 'Highest assurance of an event when it happened',
    entry_url String COMMENT 'Address of the first event''s page',
    entry_host String COMMENT 'Host of the first event''s page',
    entry_path String COMMENT 'Path of the first event''s page',
    exit_url String COMMENT 'Address of the last event''s page',
    exit_path String COMMENT 'Path of the last event''s page',
    referrer_host String COMMENT 'Host that the visitor came from, without www.',
    channel String COMMENT 'How the visitor came: direct, internal, search, social, referral, paid, email, link or campaign',
    utm_source String COMMENT 'utm_source of the first event',
    utm_medium String COMMENT 'utm_medium of the first event',
    utm_campaign String COMMENT 'utm_campaign of the first event',
    utm_term String COMMENT 'utm_term of the first event',
    utm_content String COMMENT 'utm_content of the first event',
    link_campaign String COMMENT 'Campaign of the tagged link that the session began with; empty also for a test mail''s',
    browser String COMMENT 'Browser family',
    os String COMMENT 'Operating system family',
    device String COMMENT 'Device class: desktop, mobile, tablet or other',
    country String COMMENT 'Country by the address, ISO 3166-1 alpha-2; empty: unknown',
    language String COMMENT 'Language of the browser',
    is_bot UInt8 COMMENT '1: a robot, or an automated browser: leave it out of what you count',
    space_id LowCardinality(String) COMMENT 'Identity space of the site'
)
@security AS
WITH
    dictGetOrDefault('@name(identity)', ('person_id', 'valid_from'), cityHash64(own), (own, toDateTime64(0, 3, 'UTC'))) AS tie,
    tie.2 = toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AS is_shared,
    is_proved = 0 OR dictGet('@name(identity_intervals_dict)', 'proved', cityHash64(own), ended_at) = 1 AS is_theirs
SELECT
    session_id,
    site_id,
    visitor_id,
    session_number,
    if(tie.2 <= ended_at, tie.1, if(is_shared AND is_theirs,
        dictGetOrDefault('@name(identity_intervals_dict)', 'person_id', cityHash64(own), ended_at, own),
        own)) AS person_id,
    dictGet('@name(identity_customers)', 'customer_id', cityHash64(person_id)) AS customer_id,
    multiIf(
        customer_id = '', 0,
        tie.2 <= ended_at, bitShiftRight(dictGetOrDefault('@name(identity)', 'marks', cityHash64(own), toUInt8(7)), 3),
        dictGet('@name(identity_intervals_dict)', 'provisional', cityHash64(own), ended_at)) AS provisional,
    started_at,
    ended_at,
    (toUnixTimestamp64Milli(ended_at) - toUnixTimestamp64Milli(started_at)) / 1000 AS duration_s,
    events,
    page_views,
    page_views <= 1 AS is_bounce,
    assurance,
    entry.url AS entry_url,
    lower(domain(entry.url)) AS entry_host,
    path(entry.url) AS entry_path,
    exit_url,
    path(exit_url) AS exit_path,
    entry.referrer_host AS referrer_host,
    entry.channel AS channel,
    entry.utm_source AS utm_source,
    entry.utm_medium AS utm_medium,
    entry.utm_campaign AS utm_campaign,
    entry.utm_term AS utm_term,
    entry.utm_content AS utm_content,
    entry.link_campaign AS link_campaign,
    entry.browser AS browser,
    entry.os AS os,
    entry.device AS device,
    entry.country AS country,
    entry.language AS language,
    is_bot,
    space_id
FROM
(
    SELECT
        s.session_id AS session_id,
        s.site_id AS site_id,
        s.visitor_id AS visitor_id,
        any(s.space_id) AS space_id,
        any(s.own_person_id) AS own,
        max(s.session_number) AS session_number,
        min(s.first_time) AS started_at,
        max(s.last_time) AS ended_at,
        max(s.is_bot) AS is_bot,
        max(s.assurance) AS assurance,
        max(s.is_proved) AS is_proved,
        uniqExactMerge(s.events) AS events,
        uniqExactIfMerge(s.page_views) AS page_views,
        argMinMerge(s.entry) AS entry,
        argMaxMerge(s.exit) AS exit_url
    FROM @name(sessions) AS s
    GROUP BY s.site_id, s.visitor_id, s.session_id
)
COMMENT 'Every session with where it began, what happened in it, and whose it was';

CREATE OR REPLACE VIEW @name(v_customers) @on_cluster
(
    customer_id String COMMENT 'Customer id: the organisation''s own, or a pseudonym where its kind is personal',
    customer_kind LowCardinality(String) COMMENT 'Kind of that id',
    person_id UUID COMMENT 'Person, as in v_events',
    since DateTime64(3, 'UTC') COMMENT 'When the customer was first seen',
    assurance UInt8 COMMENT 'Highest assurance of any tie to that customer: 1 claimed, 2 linked, 3 signed, 4 server',
    provisional UInt8 COMMENT '1: tagged links alone say so, no sign-in has confirmed it',
    space_id LowCardinality(String) COMMENT 'Identity space'
)
@security AS
SELECT
    customer_id,
    customer_kind,
    person_id,
    since,
    level AS assurance,
    provisional,
    space_id
FROM @name(customers) FINAL
COMMENT 'People known to the organisation, once each';

CREATE OR REPLACE VIEW @name(v_rejected) @on_cluster
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
    is_bot UInt8 COMMENT '1: a robot, or an automated browser'
)
@security AS
SELECT received_at, site_id, step, reason, field, body_bytes, events, beacons, digest, is_bot
FROM @name(rejected_events)
COMMENT 'Every refusal with its reason, without what was refused';

CREATE OR REPLACE VIEW @name(v_identity_evidence) @on_cluster
(
    evidence_id String COMMENT 'Id of the evidence; a retraction carries the same, and a retry that says it otherwise',
    space_id LowCardinality(String) COMMENT 'Identity space',
    site_id LowCardinality(String) COMMENT 'Site on which it was seen',
    time DateTime64(3, 'UTC') COMMENT 'When it was seen',
    received_at DateTime64(3, 'UTC') COMMENT 'When the collector received it',
    kind LowCardinality(String) COMMENT 'identify, link, disown (not whom a link named), handover, reset, group, server, alias, block, or rekey: two pseudonyms of one value',
    level UInt8 COMMENT 'Assurance: 1 claimed, 2 linked, 3 signed, 4 server',
    op Int8 COMMENT '1: stands; -1: takes back what has the same evidence_id',
    a_kind LowCardinality(String) COMMENT 'Kind of the first identifier, visitor where there is one',
    a_person_id UUID COMMENT 'Own person id of the first identifier',
    b_kind LowCardinality(String) COMMENT 'Kind of the second identifier',
    b_person_id UUID COMMENT 'Own person id of the second identifier',
    source LowCardinality(String) COMMENT 'Who said so: tag, capture (found on the page or in a cookie), link, server, import, operator, or edge: the collector itself',
    proof LowCardinality(String) COMMENT 'How the visitor id was proved: cookie, fresh (a new visitor, whose cookie the answer set), script or server',
    visitor_id UUID COMMENT 'Visitor of the beacon; all zeros: none',
    session_id UUID COMMENT 'Session in which it was seen; all zeros: none',
    event_id UUID COMMENT 'Event that carried it; all zeros: none',
    campaign LowCardinality(String) COMMENT 'Campaign of the tagged link',
    human LowCardinality(String) COMMENT 'Human signal behind a link: pointer, key, touch or dwell',
    consent LowCardinality(String) COMMENT 'Purposes consented to then, sorted, comma between',
    policy_version UInt16 COMMENT 'Version of the rules under which it was taken',
    verification LowCardinality(String) COMMENT 'How whoever vouched had made sure: methods of a sign-in (amr), or how an agent verified the caller; empty: not said'
)
@security AS
SELECT
    evidence_id, space_id, site_id, time, received_at, kind, level, op,
    a_kind, a_key AS a_person_id, b_kind, b_key AS b_person_id,
    source, proof, visitor_id, session_id, event_id, campaign, human, consent, policy_version, verification
FROM @name(identity_evidence) FINAL
COMMENT 'Every observation that two identifiers belong together, by pseudonymous ids: why somebody is who they are';

CREATE OR REPLACE VIEW @name(v_identity_map) @on_cluster
(
    own_person_id UUID COMMENT 'Person id of the identifier taken alone, as in v_events',
    kind LowCardinality(String) COMMENT 'Kind of the identifier: visitor, customer, ...',
    person_id UUID COMMENT 'Person that it belongs to',
    customer_id String COMMENT 'Customer id of that person; empty: not known',
    valid_from DateTime64(3, 'UTC') COMMENT 'From when on it belongs to that person',
    valid_to DateTime64(3, 'UTC') COMMENT 'Until when, not included; 2299-12-31: it still does',
    assurance UInt8 COMMENT 'Assurance of the tie: 1 claimed, 2 linked, 3 signed, 4 server',
    provisional UInt8 COMMENT '1: a tagged link alone says so, no sign-in has confirmed it',
    proved UInt8 COMMENT '0: only scripts have named the visitor, so only events that nothing proves either are that person''s',
    space_id LowCardinality(String) COMMENT 'Identity space'
)
@security AS
SELECT key AS own_person_id, key_kind AS kind, person_id, customer_id, valid_from,
    toDateTime64('2299-12-31 00:00:00', 3, 'UTC') AS valid_to, level AS assurance, provisional, proved, space_id
FROM @name(identity_map) FINAL
WHERE several = 0
UNION ALL
SELECT key AS own_person_id, 'visitor' AS kind, person_id, customer_id, valid_from, valid_to,
    level AS assurance, provisional, proved, space_id
FROM @name(identity_intervals) FINAL
COMMENT 'Which identifier belongs to whom, where it is not simply its own: one row for each, several for a shared device';

CREATE OR REPLACE VIEW @name(v_guard_log) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    at DateTime64(3, 'UTC') COMMENT 'When the evidence was seen',
    reason LowCardinality(String) COMMENT 'Which guard refused it',
    evidence_id String COMMENT 'Evidence that was refused, see v_identity_evidence',
    a_person_id UUID COMMENT 'Own person id of the first identifier',
    b_person_id UUID COMMENT 'Own person id of the second identifier'
)
@security AS
SELECT space_id, at, reason, evidence_id, a_key AS a_person_id, b_key AS b_person_id
FROM @name(guard_log) FINAL
COMMENT 'Evidence that a guard refused, with its reason';

CREATE OR REPLACE VIEW @name(v_batches) @on_cluster
(
    host LowCardinality(String) COMMENT 'Host whose spool the batch came from',
    seq UInt64 COMMENT 'Number of the batch on that host, counting up from 1',
    events UInt32 COMMENT 'Events in it, retries included',
    evidence UInt32 COMMENT 'Pieces of evidence in it',
    rejected UInt32 COMMENT 'Refusals in it',
    first_received_at DateTime64(3, 'UTC') COMMENT 'Earliest beacon in it',
    last_received_at DateTime64(3, 'UTC') COMMENT 'Latest beacon in it',
    loaded_at DateTime64(3, 'UTC') COMMENT 'When the loader had put it into the store'
)
@security AS
SELECT host, seq, events, evidence, rejected, first_received_at, last_received_at, loaded_at
FROM @name(batches) FINAL
COMMENT 'What was loaded and when: how fresh the data is';
