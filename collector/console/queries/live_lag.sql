-- How long did the last batch take from the last acknowledged beacon in it to the store, in milliseconds?
--
-- No row before the first batch. Costs nothing to speak of.
SELECT toUnixTimestamp64Milli(loaded_at) - toUnixTimestamp64Milli(last_received_at) AS lag_ms
FROM v_batches
WHERE events > 0
ORDER BY loaded_at DESC
LIMIT 1
