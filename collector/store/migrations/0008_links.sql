-- Tagged links: what was minted, what was taken back, and what people said about consent by a link or a list.
--
-- A minting is one row however many links it made: nothing is kept of a recipient, and links can be made with the store
-- away. Revocations are few rows that every web process polls, as it does sites and keys.
--
-- The consent ledger only grows: what holds is the entry of the latest time, but no list gives back what somebody took
-- back by a link, and what was said of a person (by a link, a list, an officer) counts before what a browser was told.
-- It names people and browsers by their own person ids.
--
-- What happened to a link stands in `events`, and the views for readers say it in the words of mailings. A link is
-- followed in two ways, and a click is counted once: by way of /l/ the request itself is the click, and the page behind
-- it is none (link_way = redirect); in a page's own address it is whatever came first on that page (sequence 1; 0 without script).
-- So no id of a token is needed to count, and there is none where nobody has consented to marketing.

CREATE TABLE IF NOT EXISTS @name(link_mintings) @on_cluster
(
    minting_id UUID COMMENT 'Id of the minting',
    space_id LowCardinality(String) COMMENT 'Identity space',
    minted_at DateTime64(3, 'UTC') COMMENT 'When the links were made',
    sent_at DateTime64(3, 'UTC') COMMENT 'When the mail was to go out; zero: not said',
    kind LowCardinality(String) COMMENT 'Kind of the links: message, recipient, unsubscribe or preferences',
    identifier_kind LowCardinality(String) COMMENT 'What the references were: customer, email (as pseudonyms) or another kind of the space',
    campaign LowCardinality(String) COMMENT 'Campaign of the links',
    message String COMMENT 'Message (mailing) of the links',
    links Array(String) COMMENT 'Links of the message, where more than one was named',
    made UInt64 COMMENT 'Links that were made: recipients, times links of each',
    recipients UInt64 COMMENT 'Recipients for whom links were made',
    refused UInt64 COMMENT 'Rows of the list for which none could be made',
    key_id LowCardinality(String) COMMENT 'Id of the key that signed them',
    expires_at DateTime64(3, 'UTC') COMMENT 'Until when they tie a visitor; zero: for ever',
    is_test UInt8 COMMENT '1: test mails, which tie nobody and are not counted',
    actor String COMMENT 'Who made them: operator:NAME for a command, key:ID for the API, page:NAME for the page',
    via LowCardinality(String) COMMENT 'How: command, api or page',
    sent Int64 DEFAULT -1 COMMENT 'Mails that went out, where somebody has told; -1: not told',
    version UInt64 COMMENT 'The highest wins'
)
ENGINE = @engine_everywhere(link_mintings, ReplacingMergeTree, version)
ORDER BY (space_id, minting_id)
SETTINGS @no_deduplication
COMMENT 'Who made tagged links, when, for which campaign, and how many';

CREATE TABLE IF NOT EXISTS @name(link_revocations) @on_cluster
(
    id String COMMENT 'Id of the revocation',
    row String COMMENT 'The revocation as JSON, see collector.links.revocations.Revocation',
    version UInt64 COMMENT 'The highest wins',
    changed_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this version was written'
)
ENGINE = @engine_everywhere(link_revocations, ReplacingMergeTree, version)
ORDER BY id
SETTINGS @no_deduplication
COMMENT 'Tagged links that tie nobody any more: by token, campaign, key, customer or time';

CREATE TABLE IF NOT EXISTS @local(consent_ledger) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    key UUID COMMENT 'Own person id of the customer key or the visitor',
    purpose LowCardinality(String) COMMENT 'What it was about: analytics, identity, fingerprint, personalisation or marketing',
    time DateTime64(3, 'UTC') COMMENT 'When it was said; the latest entry holds',
    state LowCardinality(String) COMMENT 'granted, denied or withdrawn',
    source LowCardinality(String) COMMENT 'By which way: a page (tag, or what it calls itself), a consent tool (tcf, gpp, google), a signal of the browser (gpc, dnt), opt_out, privacy (the page of one''s own data), objection, unsubscribe, preferences, or list (a column of a list of recipients)',
    site_id LowCardinality(String) COMMENT 'Site on which it was said; empty: on none',
    policy_version UInt16 COMMENT 'Version of the policy that it was said to',
    page String COMMENT 'Address of the page on which it was said; empty: on none',
    actor String COMMENT 'Who wrote it down, where it was not the person',
    proof String COMMENT 'What proves it: the answer of a consent tool, the id of a page''s own record, of the tagged link''s token, or of the minting',
    consent_id String COMMENT 'Id of the entry; the same for every retry',
    received_at DateTime64(3, 'UTC') COMMENT 'When the collector received it',
    batch_host LowCardinality(String) COMMENT 'Host whose spool it came from; empty: written by a command',
    batch_seq UInt64 COMMENT 'Number of the batch on that host',
    loaded_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it came into the store; web processes ask what is new',
    INDEX by_loaded loaded_at TYPE minmax GRANULARITY 1
)
ENGINE = @engine(consent_ledger, ReplacingMergeTree, received_at)
ORDER BY (space_id, key, purpose, time, consent_id)
SETTINGS @deduplication
COMMENT 'What people granted, refused or took back, for each purpose; append-only';

@facade(consent_ledger, cityHash64(key));

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(landing_to_consent_ledger) @on_cluster TO @local(consent_ledger) AS
SELECT
    space_id,
    item.key AS key,
    item.purpose AS purpose,
    fromUnixTimestamp64Milli(greatest(0, least(item.time_ms, 10413791999000)), 'UTC') AS time,
    item.state AS state,
    item.source AS source,
    site_id,
    item.policy_version AS policy_version,
    item.page AS page,
    item.actor AS actor,
    item.proof AS proof,
    item.consent_id AS consent_id,
    fromUnixTimestamp64Milli(received_at_ms, 'UTC') AS received_at,
    batch_host,
    batch_seq
FROM @local(landing)
ARRAY JOIN consents AS item
WHERE NOT dictHas('@name(erased)', cityHash64(item.key), item.time_ms);

CREATE MATERIALIZED VIEW IF NOT EXISTS @local(consent_ledger_to_signal_withdrawals) @on_cluster TO @local(signal_withdrawals) AS
SELECT space_id, key, time FROM @local(consent_ledger) WHERE purpose = 'fingerprint' AND state = 'withdrawn';

CREATE OR REPLACE VIEW @name(v_link_clicks) @on_cluster
(
    time DateTime64(3, 'UTC') COMMENT 'When it happened',
    site_id LowCardinality(String) COMMENT 'Site that the link led to',
    what LowCardinality(String) COMMENT 'click (a link was followed, each click once), confirm (a human signal came after it, and it tied a visitor), open (the picture in a mail was fetched), unsubscribe or resubscribe',
    campaign LowCardinality(String) COMMENT 'Campaign: of the link, else utm_campaign',
    message String COMMENT 'Message (mailing) of the link',
    link LowCardinality(String) COMMENT 'Which link of the message it was',
    kind LowCardinality(String) COMMENT 'Kind of the link: message, recipient, unsubscribe or preferences; empty: not known, the token was no true one',
    class LowCardinality(String) COMMENT 'Who followed it: human, scanner, prefetch, preview or bot',
    reasons LowCardinality(String) COMMENT 'What spoke for that class, words with a comma between, see docs/marketers.md',
    status LowCardinality(String) COMMENT 'State of the link then: unconfirmed, confirmed, expired, early, revoked, unfilled, test, forged or bot',
    way LowCardinality(String) COMMENT 'redirect: by way of /l/; page: in the page''s own address',
    token_id String COMMENT 'Id of the link''s token; empty where nobody is known to have consented to marketing',
    visitor_id UUID COMMENT 'Visitor (one browser or app install); all zeros: none, it was no page with the tag',
    person_id UUID COMMENT 'Person of a confirm, by all that is known now; all zeros: a click alone is not a person',
    is_counted UInt8 COMMENT '1: of a true link of a mailing; 0: forged, unfilled, of a test mail, or a link for unsubscribing or preferences',
    event_id UUID COMMENT 'Event, see v_events and v_link_guards',
    space_id LowCardinality(String) COMMENT 'Identity space of the site'
)
@security AS
WITH
    toUUID('00000000-0000-0000-0000-000000000000') AS nobody,
    multiIf(
        event_name = 'link_confirm', if(link_status = 'confirmed' AND is_bot = 0, 'confirm', ''),
        link_way = 'page', if(sequence = 1 OR (sequence = 0 AND event_name = 'page_view'), 'click', ''),
        v_events.visitor_id != nobody, '',
        event_name = 'link_click', 'click',
        event_name = 'mail_open', 'open',
        event_name IN ('unsubscribe', 'resubscribe'), event_name,
        '') AS happened
SELECT
    time,
    site_id,
    happened AS what,
    if(link_campaign != '', link_campaign, utm_campaign) AS campaign,
    link_message AS message,
    link_name AS link,
    link_kind AS kind,
    multiIf(link_class != '', link_class, is_bot = 1, 'bot', 'human') AS class,
    link_reasons AS reasons,
    link_status AS status,
    link_way AS way,
    link_token_id AS token_id,
    v_events.visitor_id AS visitor_id,
    if(happened = 'confirm', v_events.person_id, nobody) AS person_id,
    link_status NOT IN ('forged', 'unfilled', 'test') AND link_kind NOT IN ('unsubscribe', 'preferences') AS is_counted,
    event_id,
    space_id
FROM @name(v_events)
WHERE link_status != '' AND happened != ''
COMMENT 'What happened to tagged links: one row for each click, however the link led here';

CREATE OR REPLACE VIEW @name(v_links) @on_cluster
(
    token_id String COMMENT 'Id of the link''s token',
    campaign LowCardinality(String) COMMENT 'Campaign; a recipient''s token has a row for each',
    message String COMMENT 'Message (mailing) of the link',
    link LowCardinality(String) COMMENT 'Which link of the message it is',
    kind LowCardinality(String) COMMENT 'Kind of the link: message, recipient, unsubscribe or preferences',
    clicks UInt64 COMMENT 'Clicks by people',
    first_click_at DateTime64(3, 'UTC') COMMENT 'First of them; 1970: none',
    last_click_at DateTime64(3, 'UTC') COMMENT 'Last of them; 1970: none',
    machine_clicks UInt64 COMMENT 'Clicks by scanners, prefetches, previews and bots',
    first_machine_at DateTime64(3, 'UTC') COMMENT 'First of those; 1970: none',
    last_machine_at DateTime64(3, 'UTC') COMMENT 'Last of those; 1970: none',
    opens UInt64 COMMENT 'How often the picture in the mail was fetched by a person''s own program',
    has_script UInt8 COMMENT '1: the tag on a page has told of it',
    visitors UInt64 COMMENT 'Visitors that it was confirmed on',
    confirmed_at DateTime64(3, 'UTC') COMMENT 'When a human signal first came after it; 1970: never',
    person_id UUID COMMENT 'Person of that first visitor, by all that is known now; all zeros: never confirmed',
    statuses Array(String) COMMENT 'States that it was met in, in the order of the alphabet',
    space_id LowCardinality(String) COMMENT 'Identity space'
)
@security AS
SELECT
    token_id,
    campaign,
    message,
    link,
    any(v_link_clicks.kind) AS kind,
    countIf(what = 'click' AND class = 'human') AS clicks,
    minIf(time, what = 'click' AND class = 'human') AS first_click_at,
    maxIf(time, what = 'click' AND class = 'human') AS last_click_at,
    countIf(what = 'click' AND class != 'human') AS machine_clicks,
    minIf(time, what = 'click' AND class != 'human') AS first_machine_at,
    maxIf(time, what = 'click' AND class != 'human') AS last_machine_at,
    countIf(what = 'open' AND class = 'human') AS opens,
    max(visitor_id != toUUID('00000000-0000-0000-0000-000000000000')) AS has_script,
    uniqExactIf(visitor_id, what = 'confirm') AS visitors,
    minIf(time, what = 'confirm') AS confirmed_at,
    argMinIf(v_link_clicks.person_id, time, what = 'confirm') AS person_id,
    arraySort(groupUniqArray(toString(status))) AS statuses,
    space_id
FROM @name(v_link_clicks)
WHERE token_id != ''
GROUP BY space_id, token_id, campaign, message, link
COMMENT 'Tagged links that were met and may be named, because their recipient has consented to marketing';

CREATE OR REPLACE VIEW @name(v_link_guards) @on_cluster
(
    at DateTime64(3, 'UTC') COMMENT 'When the link was confirmed',
    site_id LowCardinality(String) COMMENT 'Site on which it was',
    reason LowCardinality(String) COMMENT 'What was noted: forwarded, other_customer or disowned (the visitor turned out to be somebody else), second_device (counts all the same), replayed, shared_device, unproved, ...',
    is_forwarded UInt8 COMMENT '1: the visitor turned out to be somebody else than the recipient',
    campaign LowCardinality(String) COMMENT 'Campaign of the link',
    event_id UUID COMMENT 'Event link_confirm that carried it, see v_link_clicks',
    evidence_id String COMMENT 'Evidence, see v_identity_evidence',
    a_person_id UUID COMMENT 'Own person id of the visitor',
    b_person_id UUID COMMENT 'Own person id of the recipient''s customer key',
    space_id LowCardinality(String) COMMENT 'Identity space'
)
@security AS
SELECT
    g.at AS at,
    e.site_id AS site_id,
    g.reason AS reason,
    g.reason IN ('forwarded', 'other_customer', 'disowned') AS is_forwarded,
    e.campaign AS campaign,
    e.event_id AS event_id,
    g.evidence_id AS evidence_id,
    g.a_key AS a_person_id,
    g.b_key AS b_person_id,
    g.space_id AS space_id
FROM
(
    SELECT DISTINCT space_id, at, reason, evidence_id, a_key, b_key
    FROM @name(guard_log) FINAL
) AS g
INNER JOIN
(
    SELECT
        space_id,
        a_key,
        evidence_id,
        any(site_id) AS site_id,
        any(campaign) AS campaign,
        any(event_id) AS event_id
    FROM @name(identity_evidence) FINAL
    WHERE kind = 'link' AND (space_id, a_key) IN (SELECT space_id, a_key FROM @name(guard_log))
    GROUP BY space_id, a_key, evidence_id
    HAVING min(op) = 1
) AS e ON e.space_id = g.space_id AND e.a_key = g.a_key AND e.evidence_id = g.evidence_id
COMMENT 'What the guards noted about tagged links: forwarded, on a second device, passed on; a note stays where what stood against the link has gone';

CREATE OR REPLACE VIEW @name(v_link_mintings) @on_cluster
(
    minting_id UUID COMMENT 'Id of the minting',
    space_id LowCardinality(String) COMMENT 'Identity space',
    site_ids Array(String) COMMENT 'Sites of that space',
    minted_at DateTime64(3, 'UTC') COMMENT 'When the links were made',
    sent_at DateTime64(3, 'UTC') COMMENT 'When the mail was to go out; 1970: not said',
    kind LowCardinality(String) COMMENT 'Kind of the links: message, recipient, unsubscribe or preferences',
    identifier_kind LowCardinality(String) COMMENT 'What the references were: customer, email (as pseudonyms) or another kind of the space',
    campaign LowCardinality(String) COMMENT 'Campaign of the links',
    message String COMMENT 'Message (mailing) of the links',
    links Array(String) COMMENT 'Links of the message, where they were named',
    made UInt64 COMMENT 'Links that were made: recipients, times links of each',
    recipients UInt64 COMMENT 'Recipients for whom links were made',
    refused UInt64 COMMENT 'Rows of the list for which none could be made',
    key_id LowCardinality(String) COMMENT 'Id of the key that signed them, not secret',
    expires_at DateTime64(3, 'UTC') COMMENT 'Until when they tie a visitor; 1970: for ever',
    is_test UInt8 COMMENT '1: test mails, which tie nobody and are not counted',
    actor String COMMENT 'Who made them: operator:NAME for a command, key:ID for the API, page:NAME for the page',
    via LowCardinality(String) COMMENT 'How: command, api or page',
    sent Int64 COMMENT 'Mails that went out, where somebody has told; -1: not told'
)
@security AS
SELECT
    m.minting_id AS minting_id,
    m.space_id AS space_id,
    s.site_ids AS site_ids,
    m.minted_at AS minted_at,
    m.sent_at AS sent_at,
    m.kind AS kind,
    m.identifier_kind AS identifier_kind,
    m.campaign AS campaign,
    m.message AS message,
    m.links AS links,
    m.made AS made,
    m.recipients AS recipients,
    m.refused AS refused,
    m.key_id AS key_id,
    m.expires_at AS expires_at,
    m.is_test AS is_test,
    m.actor AS actor,
    m.via AS via,
    m.sent AS sent
FROM (SELECT * FROM @name(link_mintings) FINAL) AS m
LEFT JOIN
(
    SELECT JSONExtractString(row, 'space_id') AS space, arraySort(groupArray(id)) AS site_ids
    FROM @name(sites) FINAL
    WHERE NOT JSONExtractBool(row, 'deleted')
    GROUP BY space
) AS s ON s.space = m.space_id
COMMENT 'Who made tagged links, when, for which campaign, and how many';

CREATE OR REPLACE VIEW @name(v_consent_history) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    own_person_id UUID COMMENT 'Own person id of the customer key or the visitor that it is about, see v_identity_map',
    purpose LowCardinality(String) COMMENT 'What it was about: analytics, identity, fingerprint, personalisation or marketing',
    time DateTime64(3, 'UTC') COMMENT 'When it was said',
    state LowCardinality(String) COMMENT 'granted, denied or withdrawn',
    source LowCardinality(String) COMMENT 'By which way: a page (tag, or what it calls itself), a consent tool (tcf, gpp, google), a signal of the browser (gpc, dnt), opt_out, privacy (the page of one''s own data), objection, unsubscribe, preferences, or list (a column of a list of recipients)',
    site_id LowCardinality(String) COMMENT 'Site on which it was said; empty: on none',
    policy_version UInt16 COMMENT 'Version of the policy that it was said to',
    page String COMMENT 'Address of the page on which it was said; empty: on none',
    proof String COMMENT 'What proves it: the answer of a consent tool, the id of a page''s own record, of the tagged link''s token, or of the minting',
    consent_id String COMMENT 'Id of the entry; the same for every retry',
    received_at DateTime64(3, 'UTC') COMMENT 'When the collector received it'
)
@security AS
SELECT space_id, key AS own_person_id, purpose, time, state, source, site_id, policy_version, page, proof, consent_id,
    received_at
FROM @name(consent_ledger) FINAL
COMMENT 'Everything that was granted, refused or taken back: on pages, by links and lists, and by signals of browsers';

CREATE OR REPLACE VIEW @name(v_consents) @on_cluster
(
    space_id LowCardinality(String) COMMENT 'Identity space',
    own_person_id UUID COMMENT 'Own person id of the customer key or the visitor that it is about',
    person_id UUID COMMENT 'Person that it belongs to, by all that is known now',
    customer_id String COMMENT 'Customer id of that person; empty: not known',
    purpose LowCardinality(String) COMMENT 'What it is about: analytics, identity, fingerprint, personalisation or marketing',
    state LowCardinality(String) COMMENT 'What holds: granted, denied or withdrawn',
    since DateTime64(3, 'UTC') COMMENT 'When that was said',
    source LowCardinality(String) COMMENT 'By which way: a page (tag, or what it calls itself), a consent tool (tcf, gpp, google), a signal of the browser (gpc, dnt), opt_out, privacy (the page of one''s own data), objection, unsubscribe, preferences, or list (a column of a list of recipients)',
    policy_version UInt16 COMMENT 'Version of the policy that it was said to',
    entries UInt64 COMMENT 'How often anything was said about it'
)
@security AS
SELECT
    space_id,
    own_person_id,
    dictGetOrDefault('@name(identity)', 'person_id', cityHash64(own_person_id), own_person_id) AS person_id,
    dictGet('@name(identity_customers)', 'customer_id', cityHash64(person_id)) AS customer_id,
    purpose,
    last.2 AS state,
    last.1 AS since,
    last.3 AS source,
    last.4 AS policy_version,
    entries
FROM
(
    SELECT
        space_id,
        key AS own_person_id,
        purpose,
        argMaxIf((time, state, source, policy_version), (time, received_at, state != 'granted', consent_id),
            source != 'list' AND source IN ('list', 'objection', 'preferences', 'privacy', 'unsubscribe')) AS own,
        argMax((time, state, source, policy_version),
            (source IN ('list', 'objection', 'preferences', 'privacy', 'unsubscribe'), time, received_at, state != 'granted', consent_id)) AS latest,
        if(own.2 = 'withdrawn', own, latest) AS last,
        uniqExact(consent_id) AS entries
    FROM @name(consent_ledger)
    GROUP BY space_id, key, purpose
)
COMMENT 'What holds now of everybody''s consent: one row for each key and purpose; what was said of a person, by a link or a list, counts before what a browser was told';
