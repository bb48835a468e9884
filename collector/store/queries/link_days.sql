-- How many people and machines followed tagged links on each day?
--
-- Parameters
--   site: String; the site
--   campaign: String = ; one campaign; empty: all
--   first: Date = 29 days ago; first day
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which days begin
--
-- Counts as in `links`. Days without a row: nothing happened.
--
-- Costs: reads the days of one site: about 0.2 CPU-seconds per million events.
SELECT
    toDate(time, {zone:String}) AS day,
    c.campaign AS campaign,
    countIf(what = 'click' AND is_counted = 1 AND class = 'human') AS clicks,
    countIf(what = 'click' AND is_counted = 1 AND class = 'scanner') AS scanners,
    countIf(what = 'click' AND is_counted = 1 AND class = 'prefetch') AS prefetches,
    countIf(what = 'click' AND is_counted = 1 AND class = 'preview') AS previews,
    countIf(what = 'click' AND is_counted = 1 AND class = 'bot') AS bots,
    uniqExactIf(visitor_id, what = 'confirm') AS confirmed,
    uniqExactIf(person_id, what = 'confirm') AS people,
    countIf(what = 'open' AND is_counted = 1 AND class = 'human') AS opens,
    countIf(what = 'open' AND is_counted = 1 AND class = 'preview') AS private_opens,
    countIf(what = 'click' AND status = 'unfilled' AND class = 'human') AS unfilled,
    uniqExactIf(event_id, what = 'unsubscribe' AND status != 'test') AS unsubscribed
FROM v_link_clicks AS c
WHERE site_id = {site:String} AND ({campaign:String} = '' OR c.campaign = {campaign:String})
    AND time >= toDateTime({first:Date}, {zone:String}) AND time < toDateTime({last:Date} + 1, {zone:String})
GROUP BY day, campaign
ORDER BY day, clicks DESC, campaign
