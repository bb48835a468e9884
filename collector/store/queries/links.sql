-- How did a mailing do: how many mails went out, who followed their links, and what came of it?
--
-- Parameters
--   site: String; the site
--   level: String = link; what a row is: campaign, message or link
--   goal: String = purchase; name of the event that counts as a conversion
--   window_days: UInt16 = 7; how long after a confirmed click the goal may be reached
--   first: Date = 29 days ago; first day
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which days begin
--
-- `sent`: mails as told, else recipients for whom links were made, of all mailings of that name, however long ago; of a
-- link, the mails that hold it. Clicks stand by who followed: `clicks` are people's. `recipients`: different links among
-- those, where consent lets them be known. `confirmed`: visitors on whom a human signal came after the click; `people`:
-- the persons behind them, who do not add up over rows. `converted`: people who reached the goal within the window,
-- `value` what its property `value` adds up to; of one person at most 1,000 clicks and 10,000 goals are looked at.
-- `forwarded`: visitors who turned out to be somebody else.
-- `private_opens` were fetched by a mail program's proxy, and say nothing of a reader. `revoked`, `expired` and `early`
-- are clicks too; `unfilled`, `test` and `forged` are not. An empty campaign: nobody vouches for any.
--
-- Costs: reads the days of one site and the goal's events: about 0.6 CPU-seconds per million events. What guards noted of
-- links takes about 0.2 per million pieces of evidence.
WITH
happened AS
(
    SELECT
        c.campaign AS campaign,
        if({level:String} = 'campaign', '', c.message) AS message,
        if({level:String} IN ('campaign', 'message'), '', toString(c.link)) AS link,
        c.what AS what,
        if(c.what = 'click' AND c.is_counted, toString(c.class), '') AS click,
        c.class AS class, c.status AS status, c.is_counted AS is_counted,
        c.token_id AS token_id, c.visitor_id AS visitor_id, c.person_id AS person_id, c.event_id AS event_id, c.time AS time,
        toUInt64(0) AS mails, 0 AS is_told, 1 AS is_recent
    FROM v_link_clicks AS c
    WHERE c.site_id = {site:String}
        AND c.time >= toDateTime({first:Date}, {zone:String}) AND c.time < toDateTime({last:Date} + 1, {zone:String})
),
minted AS
(
    SELECT
        m.campaign AS campaign,
        if({level:String} = 'campaign', '', m.message) AS message,
        arrayJoin(if({level:String} IN ('campaign', 'message') OR empty(m.links), [''], m.links)) AS link,
        'minted' AS what,
        '' AS click, '' AS class, '' AS status, 0 AS is_counted,
        '' AS token_id, toUUID('00000000-0000-0000-0000-000000000000') AS visitor_id, visitor_id AS person_id,
        visitor_id AS event_id, if(m.sent_at > toDateTime64(0, 3, 'UTC'), m.sent_at, m.minted_at) AS time,
        if(m.sent >= 0, toUInt64(m.sent), m.recipients) AS mails, m.sent >= 0 AS is_told,
        time >= toDateTime({first:Date}, {zone:String}) AND time < toDateTime({last:Date} + 1, {zone:String}) AS is_recent
    FROM v_link_mintings AS m
    WHERE has(m.site_ids, {site:String}) AND m.kind = 'message' AND m.is_test = 0
),
confirmed_clicks AS
(
    SELECT campaign, message, link, person_id, groupArray(1000)(time) AS times
    FROM happened
    WHERE what = 'confirm'
    GROUP BY campaign, message, link, person_id
),
goals AS
(
    SELECT person_id, groupArray(10000)((time, toFloat64OrZero(toString(props.value)))) AS reached
    FROM v_events
    WHERE site_id = {site:String} AND is_bot = 0 AND event_name = {goal:String}
        AND time >= toDateTime({first:Date}, {zone:String})
        AND time < toDateTime({last:Date} + 1 + {window_days:UInt16}, {zone:String})
    GROUP BY person_id
),
came AS
(
    SELECT campaign, message, link, count() AS converted, sum(arraySum(hit -> hit.2, hits)) AS value
    FROM
    (
        SELECT
            c.campaign AS campaign,
            c.message AS message,
            c.link AS link,
            arrayFilter(
                goal -> arrayExists(at -> goal.1 >= at AND goal.1 < at + toIntervalDay({window_days:UInt16}), c.times),
                g.reached) AS hits
        FROM confirmed_clicks AS c
        INNER JOIN goals AS g ON c.person_id = g.person_id
    )
    WHERE notEmpty(hits)
    GROUP BY campaign, message, link
),
noted AS
(
    SELECT
        h.campaign AS campaign,
        h.message AS message,
        h.link AS link,
        uniqExactIf(h.visitor_id, g.is_forwarded = 1) AS forwarded,
        uniqExactIf(h.visitor_id, g.reason = 'second_device') AS second_devices,
        uniqExactIf(h.visitor_id, g.reason = 'replayed') AS replayed
    FROM happened AS h
    INNER JOIN v_link_guards AS g ON h.event_id = g.event_id
    WHERE h.what = 'confirm'
    GROUP BY campaign, message, link
),
counted AS
(
    SELECT
        campaign,
        message,
        link,
        sum(mails) AS sent,
        minIf(is_told, what = 'minted') AS sent_is_told,
        countIf(click = 'human') AS clicks,
        uniqExactIf(token_id, click = 'human' AND token_id != '') AS recipients,
        countIf(click = 'scanner') AS scanners,
        countIf(click = 'prefetch') AS prefetches,
        countIf(click = 'preview') AS previews,
        countIf(click = 'bot') AS bots,
        uniqExactIf(visitor_id, what = 'confirm') AS confirmed,
        uniqExactIf(person_id, what = 'confirm') AS people,
        countIf(what = 'open' AND is_counted = 1 AND class = 'human') AS opens,
        countIf(what = 'open' AND is_counted = 1 AND class = 'preview') AS private_opens,
        countIf(click = 'human' AND status = 'revoked') AS revoked,
        countIf(click = 'human' AND status = 'expired') AS expired,
        countIf(click = 'human' AND status = 'early') AS early,
        countIf(what = 'click' AND status = 'unfilled' AND class = 'human') AS unfilled,
        countIf(what = 'click' AND status = 'test') AS test,
        countIf(what = 'click' AND status = 'forged') AS forged,
        uniqExactIf(event_id, what = 'unsubscribe' AND status != 'test') AS unsubscribed
    FROM (SELECT * FROM happened UNION ALL SELECT * FROM minted)
    GROUP BY campaign, message, link
    HAVING max(is_recent) = 1
)
SELECT
    c.campaign AS campaign,
    c.message AS message,
    c.link AS link,
    c.sent AS sent,
    c.sent_is_told AS sent_is_told,
    c.clicks AS clicks,
    c.recipients AS recipients,
    c.scanners AS scanners,
    c.prefetches AS prefetches,
    c.previews AS previews,
    c.bots AS bots,
    c.confirmed AS confirmed,
    c.people AS people,
    came.converted AS converted,
    round(came.value, 2) AS value,
    c.opens AS opens,
    c.private_opens AS private_opens,
    noted.forwarded AS forwarded,
    noted.second_devices AS second_devices,
    noted.replayed AS replayed,
    c.revoked AS revoked,
    c.expired AS expired,
    c.early AS early,
    c.unfilled AS unfilled,
    c.test AS test,
    c.forged AS forged,
    c.unsubscribed AS unsubscribed
FROM counted AS c
LEFT JOIN came USING (campaign, message, link)
LEFT JOIN noted USING (campaign, message, link)
ORDER BY clicks DESC, campaign, message, link
