-- Which campaigns bring sessions, and how many of those reach the goal?
--
-- Parameters
--   site: String; the site
--   goal: String = purchase; name of the event that counts as a conversion
--   first: Date = 29 days ago; first day
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which days begin
--
-- A session belongs to the campaign that it began with: of the tagged link, else utm_campaign. A conversion belongs to
-- the session in which it happened; `value` is the sum of the property `value` of the goal's events.
--
-- Costs: reads the sessions of these days, and of events only the goal's; about 0.5 CPU-seconds per million sessions.
SELECT
    s.channel AS channel,
    if(s.link_campaign != '', s.link_campaign, s.utm_campaign) AS campaign,
    s.utm_source AS source,
    count() AS sessions,
    uniqExact(s.person_id) AS people,
    countIf(g.conversions > 0) AS converting_sessions,
    sum(g.conversions) AS conversions,
    round(converting_sessions / sessions, 4) AS conversion_rate,
    round(sum(g.value), 2) AS value
FROM
(
    SELECT session_id, person_id, channel, link_campaign, utm_campaign, utm_source
    FROM v_sessions
    WHERE site_id = {site:String} AND is_bot = 0
        AND started_at >= toDateTime({first:Date}, {zone:String}) AND started_at < toDateTime({last:Date} + 1, {zone:String})
) AS s
LEFT JOIN
(
    SELECT session_id, count() AS conversions, sum(toFloat64OrZero(toString(props.value))) AS value
    FROM v_events
    WHERE site_id = {site:String} AND is_bot = 0 AND event_name = {goal:String}
        AND time >= toDateTime({first:Date}, {zone:String}) AND time < toDateTime({last:Date} + 2, {zone:String})
    GROUP BY session_id
) AS g ON s.session_id = g.session_id
GROUP BY channel, campaign, source
ORDER BY conversions DESC, sessions DESC, channel, campaign, source
