-- Lets requests in: each nonce once, each operator within its rate. All requests of one exchange, in their order.
-- KEYS: the nonce of each request, then the bucket of each operator.
-- ARGV: how many requests; for each its nonce's time to live (ms), its bucket (from 1) and its cost; for each bucket the time to refill by
--       one and the time to fill an empty one (us).
-- Returns for each request: 0 let in, 1 nonce used before, 2 over the rate; then what remains in its bucket, when that is full, and how long
-- to wait (us). The clock is this server's, the same for all gateways.
local requests = tonumber(ARGV[1])
local buckets = #KEYS - requests
local time = redis.call('TIME')
-- Since 2025, so that a fraction of a microsecond fits into a double.
local now = (time[1] - 1735689600) * 1000000 + time[2]
local interval, window, full, changed = {}, {}, {}, {}
for i = 1, buckets do
    local at = 1 + 3 * requests + 2 * (i - 1)
    interval[i], window[i] = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local stored, latest = tonumber(redis.call('GET', KEYS[requests + i]) or 0), now + window[i]
    -- No bucket is emptier than empty: what is owed at a lower rate takes up to a thousand seconds, and a raised one holds at once.
    full[i], changed[i] = math.min(math.max(stored, now), latest), stored > latest
end
local answers = {}
for i = 1, requests do
    local bucket, outcome, wait = tonumber(ARGV[3 * i]), 1, 0
    if redis.call('SET', KEYS[i], '', 'NX', 'PX', ARGV[3 * i - 1]) then
        local after = full[bucket] + ARGV[3 * i + 1] * interval[bucket]
        wait = math.max(after - now - window[bucket], 0)
        if wait < 0.5 then
            outcome, wait, full[bucket], changed[bucket] = 0, 0, after, true
        else
            outcome = 2
        end
    end
    local owed = full[bucket] - now
    answers[4 * i - 3], answers[4 * i - 2] = outcome, math.floor((window[bucket] - owed) / interval[bucket] + 0.001)
    answers[4 * i - 1], answers[4 * i] = math.ceil(owed), math.ceil(wait)
end
for i = 1, buckets do
    if changed[i] then
        redis.call('SET', KEYS[requests + i], string.format('%.3f', full[i]), 'PX', math.ceil((full[i] - now) / 1000) + 1)
    end
end
return answers
