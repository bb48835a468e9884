-- Which pages are seen most, and by how many people?
--
-- Parameters
--   site: String; the site
--   first: Date = 29 days ago; first day
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which days begin
--   rows: UInt32 = 20; most rows
--
-- Costs: reads the days of one site, about 0.2 CPU-seconds per million events; memory grows with the number of pages.
SELECT
    host,
    path,
    count() AS page_views,
    uniqExactIf(visitor_id, visitor_id != toUUID('00000000-0000-0000-0000-000000000000')) AS visitors,
    uniqExact(person_id) AS people,
    uniqExactIf(customer_id, customer_id != '') AS customers
FROM v_events
WHERE site_id = {site:String} AND is_bot = 0 AND event_name = 'page_view'
    AND time >= toDateTime({first:Date}, {zone:String}) AND time < toDateTime({last:Date} + 1, {zone:String})
GROUP BY host, path
ORDER BY page_views DESC, host, path
LIMIT {rows:UInt32}
