-- What did an offer bring: of the people who were shown it, and of those held out, how many reached the goal?
--
-- Parameters
--   offer: String; the offer
--   space: String = main; identity space
--   goal: String = purchase; name of the event that the offer is to bring about
--   window_days: UInt16 = 14; how long after the first exposure the goal may be reached
--   first: Date = 29 days ago; first day
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which days begin
--
-- A row is an arm: `shown` or `held_out`. Each person is counted once, in the arm of their very first exposure and if it
-- lies in these days, by all that is known now of who is who; an exposure is that the offer, or its place, was in view
-- for a second. `converted`: people who reached the goal within the window; `value`: what their goals add up to, an
-- order that came twice taken once; `value_mean` and `value_deviation`: mean and standard deviation over all people of
-- the arm, those without any included. `clicked`: people who have ever clicked it. `waiting`: people whose window goes
-- beyond the last day. `currencies` of those values: with more than one, do not add them up.
--
-- Costs: reads the offer's exposures, and the space's timeline in these days for the goal: about a second on two cores
-- for two million events and 400,000 exposures of 200,000 people.
WITH
exposed AS
(
    SELECT
        person_id,
        minIf(time, action != 'clicked') AS since,
        argMinIf(action, (time, event_id), action != 'clicked') AS arm,
        max(action = 'clicked') AS has_clicked
    FROM v_offer_exposures
    WHERE space_id = {space:String} AND offer = {offer:String} AND is_bot = 0
        AND time < toDateTime({last:Date} + 1, {zone:String})
    GROUP BY person_id
    HAVING countIf(action != 'clicked') > 0 AND since >= toDateTime({first:Date}, {zone:String})
),
goals AS
(
    SELECT person_id, time, if(order_id != '', order_id, toString(event_id)) AS goal_id, value, currency
    FROM v_timeline
    WHERE space_id = {space:String} AND event_name = {goal:String} AND is_bot = 0
        AND time >= toDateTime({first:Date}, {zone:String})
        AND time < toDateTime({last:Date} + 1 + {window_days:UInt16}, {zone:String})
),
reached AS
(
    SELECT person_id, 1 AS has_reached, sum(once.1) AS value, groupUniqArray(once.2) AS currencies
    FROM
    (
        SELECT e.person_id AS person_id, g.goal_id AS goal_id, argMin((g.value, g.currency), g.time) AS once
        FROM exposed AS e
        INNER JOIN goals AS g ON e.person_id = g.person_id
        WHERE g.time >= e.since AND g.time < e.since + toIntervalDay({window_days:UInt16})
        GROUP BY person_id, goal_id
    )
    GROUP BY person_id
)
SELECT
    e.arm AS arm,
    count() AS people,
    countIf(r.has_reached = 1) AS converted,
    round(converted / people, 6) AS rate,
    round(sum(r.value), 2) AS value,
    avg(r.value) AS value_mean,
    if(count() > 1, stddevSampStable(r.value), 0) AS value_deviation,
    countIf(e.has_clicked = 1) AS clicked,
    countIf(e.since + toIntervalDay({window_days:UInt16}) > toDateTime({last:Date} + 1, {zone:String})) AS waiting,
    arraySort(arrayFilter(one -> one != '', groupUniqArrayArray(r.currencies))) AS currencies
FROM exposed AS e
LEFT JOIN reached AS r ON e.person_id = r.person_id
GROUP BY arm
ORDER BY arm DESC
