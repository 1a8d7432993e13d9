-- ARGV[3]: the number after which to read. ARGV[4]: events at most.
-- Answers 1, the first event's number and the events; or 0 and the last number when the reader has missed something.
local after, limit = tonumber(ARGV[3]), tonumber(ARGV[4])
-- So many values fit Lua's stack.
local PIECE = 1000

local base, before, last = begin()
if after == 0 then after = base end
if after < before or after > last then return { 0, last, {} } end

local events = {}
local to = math.min(after + limit, last)
for from = after + 1, to, PIECE do
  local numbers = {}
  for number = from, math.min(from + PIECE - 1, to) do numbers[#numbers + 1] = text(number) end
  local piece = redis.call('HMGET', key, unpack(numbers))
  for i = 1, #piece do events[#events + 1] = piece[i] end
end
return { 1, after + 1, events }
