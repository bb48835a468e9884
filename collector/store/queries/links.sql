-- How do tagged links do: how many were opened, by people or scanners, and what came of it?
--
-- Parameters
--   site: String; the site
--   goal: String = purchase; name of the event that counts as a conversion
--   first: Date = 29 days ago; first day
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which days begin
--
-- A link is counted once however often it is opened. `confirmed`: a human signal came after it. `scanners`: opened by
-- a robot only, never counted as opened. `converted`: confirmed links whose person reached the goal afterwards, in
-- these days. Forged links carry a campaign that nobody vouches for.
--
-- Costs: reads the days of one site, a few columns: about 0.2 CPU-seconds per million events.
SELECT
    l.link_campaign AS campaign,
    l.link_message AS message,
    countIf(l.is_opened) AS opened,
    countIf(l.is_confirmed) AS confirmed,
    countIf(l.is_expired) AS expired,
    countIf(l.is_forged) AS forged,
    countIf(NOT l.is_opened) AS scanners,
    uniqExactIf(l.person_id, l.is_confirmed) AS people,
    countIf(l.is_confirmed AND g.last_goal >= l.confirmed_at) AS converted
FROM
(
    SELECT
        link_campaign,
        link_message,
        link_token_id,
        countIf(is_bot = 0 AND link_status != 'bot') > 0 AS is_opened,
        countIf(is_bot = 0 AND link_status = 'confirmed') > 0 AS is_confirmed,
        countIf(is_bot = 0 AND link_status = 'expired') > 0 AS is_expired,
        countIf(is_bot = 0 AND link_status = 'forged') > 0 AS is_forged,
        minIf(time, is_bot = 0 AND link_status = 'confirmed') AS confirmed_at,
        argMinIf(person_id, time, is_bot = 0 AND link_status = 'confirmed') AS person_id
    FROM v_events
    WHERE site_id = {site:String} AND link_status != ''
        AND time >= toDateTime({first:Date}, {zone:String}) AND time < toDateTime({last:Date} + 1, {zone:String})
    GROUP BY link_campaign, link_message, link_token_id
) AS l
LEFT JOIN
(
    SELECT person_id, max(time) AS last_goal
    FROM v_events
    WHERE site_id = {site:String} AND is_bot = 0 AND event_name = {goal:String}
        AND time >= toDateTime({first:Date}, {zone:String}) AND time < toDateTime({last:Date} + 1, {zone:String})
    GROUP BY person_id
) AS g ON l.person_id = g.person_id
GROUP BY campaign, message
ORDER BY opened DESC, campaign, message
