-- In which mailings was the merge tag not replaced, so that nobody could be recognised?
--
-- Parameters
--   site: String; the site
--   first: Date = 29 days ago; first day
--   last: Date = today; last day, included
--   zone: String = UTC; time zone in which days begin
--
-- By utm_campaign, for such a link says nothing itself. `share`: of the campaign's clicks by people that were followed
-- with a link of any kind. `to_do` says what is likely to be wrong.
--
-- Costs: reads the days of one site: about 0.2 CPU-seconds per million events.
SELECT
    c.campaign AS campaign,
    countIf(status = 'unfilled') AS unfilled,
    countIf(is_counted = 1) AS filled,
    round(unfilled / (unfilled + filled), 4) AS share,
    minIf(time, status = 'unfilled') AS first_at,
    maxIf(time, status = 'unfilled') AS last_at,
    multiIf(
        filled = 0, 'No link of this campaign was filled: check how the merge tag is written, and that its column was uploaded',
        share >= 0.5, 'Most links were not filled: check that the column with the tokens was uploaded for the whole list',
        'Some recipients had no token: mint for those who joined the list since, and give the merge tag a default of nothing')
        AS to_do
FROM v_link_clicks AS c
WHERE site_id = {site:String} AND what = 'click' AND class = 'human' AND status NOT IN ('forged', 'test')
    AND time >= toDateTime({first:Date}, {zone:String}) AND time < toDateTime({last:Date} + 1, {zone:String})
GROUP BY campaign
HAVING unfilled > 0
ORDER BY unfilled DESC, campaign
