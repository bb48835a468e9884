-- Who follows tagged links, people or machines, and what told them apart?
--
-- Parameters
--   site: String; the site
--   campaign: String = ; one campaign; empty: all
--   first: Date = 29 days ago; first day
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which days begin
--
-- A row is a class with one set of reasons: docs/marketers.md says what the words mean. Opens stand apart from clicks,
-- by `what`.
--
-- Costs: reads the days of one site: about 0.2 CPU-seconds per million events.
SELECT
    what,
    class,
    reasons,
    count() AS times,
    uniqExactIf(c.campaign, c.campaign != '') AS campaigns,
    round(times / sum(times) OVER (PARTITION BY what), 4) AS share,
    min(time) AS first_at,
    max(time) AS last_at
FROM v_link_clicks AS c
WHERE site_id = {site:String} AND ({campaign:String} = '' OR c.campaign = {campaign:String})
    AND is_counted = 1 AND what IN ('click', 'open')
    AND time >= toDateTime({first:Date}, {zone:String}) AND time < toDateTime({last:Date} + 1, {zone:String})
GROUP BY what, class, reasons
ORDER BY what, times DESC, class, reasons
