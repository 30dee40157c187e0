-- Takes what requests cost out of buckets, each request from all of its buckets or from none. All requests of one exchange, in their order.
-- KEYS: the buckets.
-- ARGV: for each bucket the time to refill by one and the time to fill an empty one (us); then for each request what it costs, how many
--       buckets it has, and their places (from 1).
-- Returns for each request and each of its buckets: what remains in it, when it is full, and how long until it has what the request costs (us).
-- The clock is this server's, the same for all who ask.
local time = redis.call('TIME')
-- Since 2025, so that a fraction of a microsecond fits into a double.
local now = (time[1] - 1735689600) * 1000000 + time[2]
local interval, window, full, taken = {}, {}, {}, {}
for i = 1, #KEYS do
    interval[i], window[i] = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    full[i] = math.max(tonumber(redis.call('GET', KEYS[i]) or 0), now)
end
local answers, at = {}, 2 * #KEYS + 1
while at <= #ARGV do
    local cost, buckets, wait, allowed = tonumber(ARGV[at]), {}, {}, true
    for i = 1, tonumber(ARGV[at + 1]) do
        local bucket = tonumber(ARGV[at + 1 + i])
        buckets[i] = bucket
        wait[i] = math.max(full[bucket] + cost * interval[bucket] - now - window[bucket], 0)
        allowed = allowed and wait[i] < 0.5
    end
    for i, bucket in ipairs(buckets) do
        if allowed then
            full[bucket], taken[bucket], wait[i] = full[bucket] + cost * interval[bucket], true, 0
        end
        local owed = full[bucket] - now
        answers[#answers + 1] = math.floor((window[bucket] - owed) / interval[bucket] + 0.001)
        answers[#answers + 1] = math.ceil(owed)
        answers[#answers + 1] = wait[i] < 0.5 and 0 or math.ceil(wait[i])
    end
    at = at + 2 + #buckets
end
for bucket in pairs(taken) do
    redis.call('SET', KEYS[bucket], string.format('%.3f', full[bucket]), 'PX', math.ceil((full[bucket] - now) / 1000) + 1)
end
return answers
