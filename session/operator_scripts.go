package session

// The scripts of an audit. Each looks again, in one step, at what seemed wrong, and heals it in the same step if it
// still is: between looking and healing nothing can be revoked, made or renewed. None of them writes a record, so
// none can bring a session back. See scripts.go for what all scripts have in common.

// luaExtend makes an index outlive its last entry. A time far off, which no gateway writes, is cut: Redis refuses it.
const luaExtend = luaClock + `
local function extend(index)
  local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')
  if #last == 0 then return end
  local ttl = math.min(math.max(tonumber(last[2]) - now, 0) + 1000, 2^42)
  local held = redis.call('PTTL', index)
  if held == -1 or held < ttl then redis.call('PEXPIRE', index, string.format('%d', ttl)) end
end
`

// KEYS: session, index. ARGV: repair|look, ID, record as read, time to live for one that has none, by how much expiries
// may differ.
//
// Answers the kinds of what is wrong, each with healed or left.
const sourceAuditSession = luaExtend + `
local held = redis.call('GET', KEYS[1])
if not held then return {'gone'} end
if held ~= ARGV[3] then return {'changed', held} end
local repair, id, slack = ARGV[1] == 'repair', ARGV[2], tonumber(ARGV[5])
local answer = {'ok'}
local function found(kind, healed)
  answer[#answer + 1] = kind
  answer[#answer + 1] = healed and 'healed' or 'left'
end

local left = redis.call('PTTL', KEYS[1])
if left == -1 then
  left = tonumber(ARGV[4])
  if repair then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
  found('record_endless', repair)
end
local kind = redis.call('TYPE', KEYS[2])['ok']
if kind ~= 'zset' and kind ~= 'none' then
  found('unindexed', false)
  return answer
end
local score = redis.call('ZSCORE', KEYS[2], id)
if not score then
  found('unindexed', repair)
elseif tonumber(score) < now + left - slack then
  found('entry_early', repair)
else
  local index = redis.call('PTTL', KEYS[2])
  if index ~= -1 and index < left - slack then
    found('index_early', repair)
    if repair then extend(KEYS[2]) end
  end
  return answer
end
if repair then
  redis.call('ZADD', KEYS[2], ms(now + left), id)
  extend(KEYS[2])
end
return answer
`

// KEYS: index, sessions... ARGV: repair|look, IDs of these sessions...
//
// Answers the kinds of what is wrong, each with the ID or "". An entry without a record whose time is over is left by a
// session that has expired.
const sourceAuditIndex = luaExtend + `
local repair, answer = ARGV[1] == 'repair', {'ok'}
local function found(kind, id)
  answer[#answer + 1] = kind
  answer[#answer + 1] = id
end
local kind = redis.call('TYPE', KEYS[1])['ok']
if kind == 'none' then return answer end
if kind ~= 'zset' then
  found('index_type', '')
  if repair then redis.call('DEL', KEYS[1]) end
  return answer
end
for i = 2, #ARGV do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and redis.call('EXISTS', KEYS[i]) == 0 then
    if tonumber(score) <= now + 1000 then found('expired', ARGV[i]) else found('dead_entry', ARGV[i]) end
    if repair then redis.call('ZREM', KEYS[1], ARGV[i]) end
  end
end
if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('PTTL', KEYS[1]) == -1 then
  found('index_endless', '')
  if repair then extend(KEYS[1]) end
end
return answer
`

// KEYS: a key nobody uses. ARGV: its type, and its value if it is a string.
const sourceDrop = `
if redis.call('TYPE', KEYS[1])['ok'] ~= ARGV[1] then return {'changed'} end
if ARGV[1] == 'string' and redis.call('GET', KEYS[1]) ~= ARGV[2] then return {'changed'} end
redis.call('DEL', KEYS[1])
return {'ok'}
`
