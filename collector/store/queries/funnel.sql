-- How many people go through these steps one after the other, and where do they stop?
--
-- Parameters
--   site: String; the site
--   steps: Array(String) = ['page_view', 'add_to_basket', 'purchase']; two to eight steps: the name of an event, or a path that begins with /
--   first: Date = 29 days ago; first day
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which days begin
--   window_hours: UInt32 = 24; time in which all steps must happen, counted from the first
--
-- Followed are people, over all their browsers. Other events may lie between two steps.
--
-- Costs: reads the days of one site, about 0.4 CPU-seconds per million events; memory grows with the people.
WITH reached AS
(
    SELECT
        person_id,
        windowFunnel({window_hours:UInt32} * 3600000)(
            toUInt64(toUnixTimestamp64Milli(time)),
            is_step[1], is_step[2], is_step[3], is_step[4], is_step[5], is_step[6], is_step[7], is_step[8]) AS level
    FROM
    (
        SELECT
            person_id,
            time,
            arrayMap(
                step -> if(startsWith(step, '/'), event_name = 'page_view' AND path = step, step != '' AND event_name = step),
                arrayResize({steps:Array(String)}, 8, '')) AS is_step
        FROM v_events
        WHERE site_id = {site:String} AND is_bot = 0
            AND own_person_id != toUUID('00000000-0000-0000-0000-000000000000')
            AND time >= toDateTime({first:Date}, {zone:String}) AND time < toDateTime({last:Date} + 1, {zone:String})
            AND (event_name = 'page_view' OR has({steps:Array(String)}, event_name))
    )
    GROUP BY person_id
)
SELECT
    step,
    {steps:Array(String)}[step] AS name,
    counts[step] AS people,
    round(people / greatest(counts[1], 1), 4) AS of_first,
    round(people / greatest(counts[greatest(step - 1, 1)], 1), 4) AS of_previous
FROM (SELECT sumForEach(arrayMap(number -> toUInt64(level >= number), range(1, 9))) AS counts FROM reached)
ARRAY JOIN range(1, least(length({steps:Array(String)}), 8) + 1) AS step
ORDER BY step
