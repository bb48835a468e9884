-- What was refused, and why?
--
-- Parameters
--   site: String; the site; empty: beacons that named no site of ours
--   first: Date = 29 days ago; first day, at most 90 days back
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which days begin
--
-- `beacons` are refusals of a whole beacon or of a part of it, `events` the events in them where that is known,
-- `senders_repeated` how many came with the same bytes as another one. docs/wire-format.md explains the reasons.
--
-- Costs: next to nothing.
SELECT
    reason,
    step,
    sum(v_rejected.beacons) AS beacons,
    sum(events) AS refused_events,
    sumIf(v_rejected.beacons, digest != '') - uniqExactIf(digest, digest != '') AS senders_repeated,
    topK(3)(field) AS fields,
    max(received_at) AS last_at
FROM v_rejected
WHERE site_id = {site:String} AND is_bot = 0
    AND received_at >= toDateTime({first:Date}, {zone:String}) AND received_at < toDateTime({last:Date} + 1, {zone:String})
GROUP BY reason, step
ORDER BY beacons DESC, reason, step
