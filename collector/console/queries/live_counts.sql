-- How many events, visitors, persons and customers has a site had since a moment?
--
-- Bots are counted: the live page shows them too. What the collector itself notes of a tagged link is nobody's. Costs: as live_events.sql.
SELECT
    count() AS events,
    uniqExactIf(visitor_id, visitor_id != toUUID('00000000-0000-0000-0000-000000000000')) AS visitors,
    uniqExactIf(person_id, person_id != toUUID('00000000-0000-0000-0000-000000000000')) AS persons,
    uniqExactIf(customer_id, customer_id != '') AS customers
FROM v_events
WHERE site_id = {site:String} AND time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
