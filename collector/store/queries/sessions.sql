-- How many sessions were there on each day by channel, how long, how deep, how many left at once?
--
-- Parameters
--   site: String; the site
--   first: Date = 29 days ago; first day
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which days begin
--
-- A session counts on the day on which it began. Medians are exact.
--
-- Costs: reads the site's sessions, not its events: about 0.5 CPU-seconds per million sessions.
SELECT
    toDate(started_at, {zone:String}) AS day,
    channel,
    count() AS sessions,
    uniqExact(person_id) AS people,
    round(avg(page_views), 2) AS pages_per_session,
    quantileExactLow(0.5)(duration_s) AS median_duration_s,
    round(avg(is_bounce), 4) AS bounce_rate
FROM v_sessions
WHERE site_id = {site:String} AND is_bot = 0
    AND started_at >= toDateTime({first:Date}, {zone:String}) AND started_at < toDateTime({last:Date} + 1, {zone:String})
GROUP BY day, channel
ORDER BY day, sessions DESC, channel
