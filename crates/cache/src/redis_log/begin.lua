-- KEYS[1]: the channel's hash. ARGV[1]: the server's run. ARGV[2]: milliseconds after which an idle channel is forgotten.
--
-- Fields of the hash: base, before (the number before the oldest event that is kept), last, bytes, run; under each event's
-- number its id and then the event; under each event's id its number.
local key, run, idle = KEYS[1], ARGV[1], tonumber(ARGV[2])

-- A number as text; Lua's own way would round it.
local function text(number)
  return string.format('%.0f', number)
end

-- The channel's base, before and last. One that is not there begins, with numbers above all that were given out before.
-- So does one that the server has loaded again after a restart: its last events may not be all that readers have seen.
local function begin()
  local kept = redis.call('HMGET', key, 'base', 'before', 'last', 'run')
  if kept[4] == run then
    if redis.call('PTTL', key) < idle / 2 then redis.call('PEXPIRE', key, idle) end
    return tonumber(kept[1]), tonumber(kept[2]), tonumber(kept[3])
  end
  local now = redis.call('TIME')
  local base = math.max((tonumber(now[1]) * 1000000 + tonumber(now[2])) * 2, tonumber(kept[3] or 0) + 1)
  redis.call('UNLINK', key)
  redis.call('HSET', key, 'base', text(base), 'before', text(base), 'last', text(base), 'bytes', 0, 'run', run)
  redis.call('PEXPIRE', key, idle)
  return base, base, base
end
