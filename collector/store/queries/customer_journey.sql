-- What did one customer do, on all browsers, before and after the first sign-in?
--
-- Parameters
--   customer: String; the customer id
--   first: Date = 3650 days ago; first day
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which days begin
--   provisional: UInt8 = 0; 1: also of visitors that a tagged link alone names: the link may have been forwarded
--   rows: UInt32 = 1000; most rows, the latest
--
-- Over all sites of all spaces that this credential sees. `customer_id_then` tells what was known at the time.
--
-- Costs: finds the customer's identifiers in the map first, then reads only what an index says may hold them.
SELECT
    time,
    site_id,
    event_name,
    channel,
    if(link_campaign != '', link_campaign, utm_campaign) AS campaign,
    host,
    path,
    title,
    props,
    browser,
    os,
    device,
    customer_id_then,
    assurance,
    provisional,
    visitor_id,
    session_id,
    event_id
FROM v_events
WHERE own_person_id IN (SELECT own_person_id FROM v_identity_map WHERE customer_id = {customer:String})
    AND customer_id = {customer:String} AND is_bot = 0 AND provisional <= {provisional:UInt8}
    AND time >= toDateTime({first:Date}, {zone:String}) AND time < toDateTime({last:Date} + 1, {zone:String})
ORDER BY time DESC, sequence DESC, event_id
LIMIT {rows:UInt32}
