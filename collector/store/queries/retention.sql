-- Of the people who came first in a week, how many came again in the weeks after?
--
-- Parameters
--   site: String; the site
--   first: Date = 83 days ago; first day
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which weeks begin, on Monday
--
-- A cohort are the people whose first event in this range lies in that week: begin the range early enough.
-- Row for week 0: the cohort itself. Weeks in which nobody came again have no row.
--
-- Costs: reads the days of one site, about 0.3 CPU-seconds per million events; memory grows with the people.
WITH came AS
(
    SELECT person_id, groupUniqArray(toMonday(toDate(time, {zone:String}))) AS weeks
    FROM v_events
    WHERE site_id = {site:String} AND is_bot = 0
        AND own_person_id != toUUID('00000000-0000-0000-0000-000000000000')
        AND time >= toDateTime({first:Date}, {zone:String}) AND time < toDateTime({last:Date} + 1, {zone:String})
    GROUP BY person_id
)
SELECT
    arrayMin(weeks) AS cohort,
    intDiv(toUInt32(arrayJoin(weeks) - cohort), 7) AS week,
    count() AS people,
    round(people / max(people) OVER (PARTITION BY cohort), 4) AS share
FROM came
GROUP BY cohort, week
ORDER BY cohort, week
