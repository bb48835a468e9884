-- Which events of a site landed last, and who do they belong to now?
--
-- Newest first, by arrival; events of one beacon by the order in which the tag made them.
-- Costs: one day of one site through v_events with FINAL; the live page asks only while somebody watches.
SELECT
    toString(event_id) AS event_id,
    toUnixTimestamp64Milli(time) AS time_ms,
    toUnixTimestamp64Milli(received_at) AS received_at_ms,
    event_name,
    toString(visitor_id) AS visitor_id,
    visitor_proof,
    toString(person_id) AS person_id,
    customer_id,
    customer_id_then,
    assurance,
    provisional,
    path,
    title,
    channel,
    if(link_campaign != '', link_campaign, utm_campaign) AS campaign,
    link_status,
    link_name,
    link_class,
    browser,
    os,
    is_bot,
    toJSONString(props) AS props
FROM v_events
WHERE site_id = {site:String} AND time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
ORDER BY received_at DESC, time DESC, sequence DESC
LIMIT {rows:UInt16}
