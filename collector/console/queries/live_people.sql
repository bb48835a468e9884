-- What is known of a site's customers of late that decides what its pages show them: audiences, traits, offers?
--
-- One row for each fact, customers in the order of their last event, the latest first. `since_ms`: of an audience when they
-- entered it, of a trait when it was said, of an offer when it was last in view. Costs: as live_events.sql.
WITH customers AS
(
    SELECT e.person_id AS person_id, any(e.customer_id) AS customer_id, max(e.received_at) AS last_at
    FROM v_events AS e
    WHERE e.site_id = {site:String} AND e.time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') AND e.customer_id != ''
    GROUP BY e.person_id
    ORDER BY last_at DESC
    LIMIT {people:UInt16}
)
SELECT
    toString(c.person_id) AS person_id,
    c.customer_id AS customer_id,
    f.part AS part,
    f.name AS name,
    f.value AS value,
    f.source AS source,
    f.level AS level,
    f.times AS times,
    f.since_ms AS since_ms
FROM customers AS c
LEFT JOIN
(
    SELECT person_id, 'audience' AS part, audience AS name, '' AS value, '' AS source, 0 AS level, 1 AS times,
        toUnixTimestamp64Milli(since) AS since_ms
    FROM v_audience_members
    WHERE space_id = {space:String}
    UNION ALL
    SELECT t.person_id, 'trait', t.name, argMax(t.value, (t.level, t.time)), argMax(t.source, (t.level, t.time)),
        max(t.level), 1, toUnixTimestamp64Milli(argMax(t.time, (t.level, t.time)))
    FROM v_traits AS t
    WHERE t.space_id = {space:String}
    GROUP BY t.person_id, t.name
    UNION ALL
    SELECT person_id, 'offer', offer, if(max(action = 'clicked'), 'clicked', argMax(action, time)), any(slot), 0, countIf(action != 'clicked'),
        toUnixTimestamp64Milli(max(time))
    FROM v_offer_exposures
    WHERE space_id = {space:String} AND site_id = {site:String}
        AND time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    GROUP BY person_id, offer
) AS f ON c.person_id = f.person_id
ORDER BY c.last_at DESC, part, since_ms, name
