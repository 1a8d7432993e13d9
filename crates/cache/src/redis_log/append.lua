-- ARGV[3]: the event's id. ARGV[4]: its id and then the event. ARGV[5]: events per channel. ARGV[6]: bytes per channel.
-- Answers the event's number, and the event as it stands when it was there already.
local id, event, most_events, most_bytes = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
-- What an event takes beside its own bytes.
local OVERHEAD = 256

local _, before, last = begin()
local place = redis.call('HGET', key, id)
if place then return { tonumber(place), redis.call('HGET', key, place) } end

last = last + 1
redis.call('HSET', key, 'last', text(last), text(last), event, id, text(last))
local bytes = redis.call('HINCRBY', key, 'bytes', #event + OVERHEAD)
local oldest = before
while oldest + 1 < last and (last - oldest > most_events or bytes > most_bytes) do
  oldest = oldest + 1
  local forgotten = redis.call('HGET', key, text(oldest))
  redis.call('HDEL', key, text(oldest), string.sub(forgotten, 1, #id))
  bytes = bytes - #forgotten - OVERHEAD
end
if oldest > before then redis.call('HSET', key, 'before', text(oldest), 'bytes', text(bytes)) end
return { last, false }
