-- Which channel and campaign began, and which closed, the way of the people who reached the goal?
--
-- Parameters
--   site: String; the site
--   goal: String = purchase; name of the event that counts as a conversion
--   first: Date = 29 days ago; first day of conversions
--   last: Date = today; last day of conversions, included
--   zone: String = UTC; time zone in which days begin
--   look_back_days: UInt16 = 90; how long before the conversion a session may lie
--
-- Counted are people, by their first conversion in these days, over all their browsers: what somebody did before the
-- first sign-in is theirs. A touch is a session that began before the conversion. Somebody without one counts nowhere.
--
-- Costs: reads the sessions of the look-back and the goal's events; memory grows with the converting people.
WITH touched AS
(
    SELECT
        c.person_id AS person_id,
        argMin((s.channel, s.campaign), (s.started_at, s.session_id)) AS first_touch,
        argMax((s.channel, s.campaign), (s.started_at, s.session_id)) AS last_touch
    FROM
    (
        SELECT person_id, min(time) AS at
        FROM v_events
        WHERE site_id = {site:String} AND is_bot = 0 AND event_name = {goal:String}
            AND time >= toDateTime({first:Date}, {zone:String}) AND time < toDateTime({last:Date} + 1, {zone:String})
        GROUP BY person_id
    ) AS c
    INNER JOIN
    (
        SELECT person_id, session_id, started_at, channel, if(link_campaign != '', link_campaign, utm_campaign) AS campaign
        FROM v_sessions
        WHERE site_id = {site:String} AND is_bot = 0
            AND started_at >= toDateTime({first:Date} - {look_back_days:UInt16}, {zone:String})
            AND started_at < toDateTime({last:Date} + 1, {zone:String})
    ) AS s ON c.person_id = s.person_id
    WHERE s.started_at <= c.at AND s.started_at >= c.at - toIntervalDay({look_back_days:UInt16})
    GROUP BY person_id
)
SELECT
    touch.1 AS channel,
    touch.2 AS campaign,
    countIf(place = 'first') AS first_touches,
    countIf(place = 'last') AS last_touches
FROM
(
    SELECT first_touch AS touch, 'first' AS place FROM touched
    UNION ALL
    SELECT last_touch AS touch, 'last' AS place FROM touched
)
GROUP BY channel, campaign
ORDER BY last_touches DESC, first_touches DESC, channel, campaign
