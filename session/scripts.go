package session

import "github.com/redis/rueidis"

// The scripts are the only way sessions are written. Each runs as one step on the server: no
// crash leaves a half, no other client comes between, and a compare stands before every write, so
// nothing brings a revoked session back (GET and SET apart from each other did so in 1,310 of
// 3,000 races, measured).
//
// What they have in common:
//   - Every key they touch is declared, and all keys of a call carry one hash tag, for Cluster and
//     for ACLs. Where a script cannot know the keys beforehand (sessions to evict or revoke) it answers
//     "need" and the IDs, and is called again with these declared.
//   - They never write JSON of their own: Lua makes floats of 17-digit IDs and {} of [].
//   - They answer a list of strings, the first of which says what happened.
//   - A session goes before its index entry: should Redis refuse the DEL (an ACL), what is asked for again
//     still finds it.
//   - TIME is the server's clock, the only one that decides when a session ends.

// luaClock gives `now` in milliseconds with the microseconds as fraction, so that sessions made in
// one millisecond still have an order. "%.3f" because Lua's own tostring rounds to 14 digits.
const luaClock = `
local t = redis.call('TIME')
local now = t[1] * 1000 + t[2] / 1000
local function ms(x) return string.format('%.3f', x) end
`

// luaIndex files a session in its user's index, whose own end comes after its last member's. Also when somebody has
// taken the index's end away, and other members may live longer than the one filed now.
const luaIndex = luaClock + `
local function file(index, id, ttl)
  redis.call('ZADD', index, ms(now + ttl), id)
  if redis.call('PTTL', index) < ttl then
    local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')
    redis.call('PEXPIRE', index, string.format('%d', math.max(ttl, tonumber(last[2]) - now) + 1000))
  end
end
`

// luaNeed answers that the keys of these sessions must be declared.
const luaNeed = `
local function need(ids)
  local answer = {'need'}
  for _, id in ipairs(ids) do answer[#answer + 1] = id end
  return answer
end
`

// luaBatch bounds how many of a user's sessions one call deals with. A script stops everybody else, and an answer that
// takes longer than redis.timeout is none: an index of 100,000 entries, made by a client that logs in for each
// request, could be neither healed nor revoked.
const luaBatch = `
local batch = 2000
`

// KEYS: session, index, generation, sessions that may end for it...
// ARGV: record, ttl, epoch, limit, evict|reject, ID, ID it replaces or "", IDs of KEYS[4]...
//
// Of more sessions over the limit than luaBatch, as after the limit was lowered, so many end, and others with the
// next logins.
//
// The first write beside the clearing of dead entries is the SET of the new session: at maxmemory Redis refuses that
// one, before anything has changed; after a first write it would let the script go on.
const sourceCreate = luaIndex + luaNeed + luaBatch + `
local generation = redis.call('GET', KEYS[3])
if generation and tonumber(generation) > tonumber(ARGV[3]) then return {'superseded', generation} end
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return {'exists'} end

local ttl, limit, new, replaced = tonumber(ARGV[2]), tonumber(ARGV[4]), ARGV[6], ARGV[7]
local key_of = {}
for i = 8, #ARGV do key_of[ARGV[i]] = KEYS[i - 4] end

local over, live, dead = 0, {}, {}
if limit > 0 then
  local count = redis.call('ZCOUNT', KEYS[2], '(' .. ms(now), '+inf')
  local function uncount(id)
    local score = redis.call('ZSCORE', KEYS[2], id)
    if score and tonumber(score) > now then count = count - 1 end
  end
  uncount(new)
  if replaced ~= '' and replaced ~= new then uncount(replaced) end
  -- The index's order is that of expiry: the first has gone unused for longest.
  local first = math.max(batch, limit + 2)
  local function read() return redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ms(now), '+inf', 'LIMIT', 0, first) end
  local ids, undeclared = read(), false
  for _, id in ipairs(ids) do
    if id ~= new and id ~= replaced then
      if key_of[id] and redis.call('EXISTS', key_of[id]) == 0 then
        dead[#dead + 1] = id
      else
        live[#live + 1] = id
        if not key_of[id] then undeclared = true end
      end
    end
  end
  -- What lies behind those that were read counts as sessions.
  over = count - #dead + 1 - limit
  if over > 0 then
    local reject = ARGV[5] == 'reject'
    -- Entries whose session is gone must not lock a user out: look at all of them before.
    if reject and undeclared then return need(ids) end
    if #dead > 0 and count > #dead + #live then
      for _, id in ipairs(dead) do redis.call('ZREM', KEYS[2], id) end
      return need(read())
    end
    if reject then return {'limit'} end
    over = math.min(over, #live)
    for i = 1, over do
      if not key_of[live[i]] then return need(ids) end
    end
  end
end

if not held then redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ms(now))
for _, id in ipairs(dead) do redis.call('ZREM', KEYS[2], id) end
local answer = {'ok'}
local function finish(id)
  if redis.call('DEL', key_of[id]) == 1 then answer[#answer + 1] = id end
  redis.call('ZREM', KEYS[2], id)
end
for i = 1, over do finish(live[i]) end
if replaced ~= '' then finish(replaced) end
file(KEYS[2], new, ttl)
return answer
`

// KEYS: session, index. ARGV: record as read, next record, ttl, ID.
const sourceReplace = luaIndex + `
local held = redis.call('GET', KEYS[1])
if not held then
  redis.call('ZREM', KEYS[2], ARGV[4])
  return {'gone'}
end
if held ~= ARGV[1] then return {'conflict', held} end
redis.call('SET', KEYS[1], ARGV[2], 'XX', 'PX', ARGV[3])
file(KEYS[2], ARGV[4], tonumber(ARGV[3]))
return {'ok'}
`

// KEYS: session, and the index if the user is known. ARGV: ID.
const sourceRevoke = `
local there = redis.call('DEL', KEYS[1])
if KEYS[2] then redis.call('ZREM', KEYS[2], ARGV[1]) end
if there == 1 then return {'ok', ARGV[1]} end
return {'ok'}
`

// KEYS: index, generation, sessions... ARGV: sequence number, the generation's ttl, how many
// sessions are declared, their IDs..., IDs to spare... "more": it is to be called again for the others.
//
// Deleting comes before the SET of the generation: a script that has written is not refused at
// maxmemory, and revoking must work there.
const sourceRevokeUser = luaClock + luaNeed + luaBatch + `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms(now))
local generation = redis.call('GET', KEYS[2])
if generation and tonumber(generation) >= tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
else
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
end
local count = tonumber(ARGV[3])
local key_of, spared, spares = {}, {}, 0
for i = 1, count do key_of[ARGV[3 + i]] = KEYS[2 + i] end
for i = 4 + count, #ARGV do
  if not spared[ARGV[i]] and redis.call('ZSCORE', KEYS[1], ARGV[i]) then spares = spares + 1 end
  spared[ARGV[i]] = true
end
local ids, missing = {}, false
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, batch + spares - 1)) do
  if not spared[id] then
    ids[#ids + 1] = id
    if not key_of[id] then missing = true end
  end
end
if missing then return need(ids) end
local answer = {'ok'}
for _, id in ipairs(ids) do
  if redis.call('DEL', key_of[id]) == 1 then answer[#answer + 1] = id end
  redis.call('ZREM', KEYS[1], id)
end
if redis.call('ZCARD', KEYS[1]) > spares then answer[1] = 'more' end
return answer
`

// KEYS: index. ARGV: score to begin at, how many entries from there on to skip, the last of these. They are skipped only if it
// still stands there. It answers how many were skipped, then IDs and scores in turn; "more": the page is full.
const sourceList = luaClock + luaBatch + `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms(now))
local skip = tonumber(ARGV[2])
if skip > 0 and redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'LIMIT', skip - 1, 1)[1] ~= ARGV[3] then skip = 0 end
local page = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', skip, batch)
local answer = {#page == 2 * batch and 'more' or 'ok', string.format('%d', skip)}
for _, text in ipairs(page) do answer[#answer + 1] = text end
return answer
`

// KEYS: the login sequence. PERSIST changes nothing, the key has no end; but it is a write that
// maxmemory does not refuse, and after it neither is the INCR, without which nobody could
// revoke all sessions of a user on a full server.
const sourceAdvance = `
redis.call('PERSIST', KEYS[1])
return {'ok', string.format('%d', redis.call('INCR', KEYS[1]))}
`

// KEYS: the login sequence. ARGV: what it must be at least.
const sourceRaise = `
local sequence = redis.call('GET', KEYS[1])
if not sequence or tonumber(sequence) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return {'ok'}
`

// KEYS: a limit's bucket. ARGV: microseconds from one event to the next, events at once.
//
// The bucket is one number, the time at which it would be full again (GCRA, the generic cell rate
// algorithm), so it needs no refilling, and a bucket that is full is no key at all.
const sourceTake = `
local t = redis.call('TIME')
local now, every, burst = t[1] * 1000000 + t[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + every
local wait = full - now - every * burst
if wait > 0 then return {'wait', string.format('%d', math.ceil(wait))} end
redis.call('SET', KEYS[1], string.format('%d', full), 'PX', string.format('%d', math.ceil((full - now) / 1000)))
return {'ok'}
`

// KEYS: session, session under its new ID, index. ARGV: record as read, next record, ttl, ID, new ID.
//
// The new one is written before the old one goes: at maxmemory Redis refuses the SET, before anything has changed.
const sourceRotate = luaIndex + `
local held = redis.call('GET', KEYS[1])
if not held then return {'gone'} end
if held ~= ARGV[1] then return {'conflict', held} end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[3], ARGV[4])
file(KEYS[3], ARGV[5], tonumber(ARGV[3]))
return {'ok'}
`

// KEYS: an alias. ARGV: what it holds, "" for nothing; what it shall hold; ttl.
const sourceAlias = `
local held = redis.call('GET', KEYS[1])
if (held or '') ~= ARGV[1] then return {'conflict', held or ''} end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {'ok'}
`

// scripts are sent by their hash, and in full when the server does not know it.
type scripts struct {
	create, replace, revoke, revokeUser, list, advance, raise, take, rotate, alias *rueidis.Lua
	auditSession, auditIndex, drop                                                 *rueidis.Lua // operator_scripts.go
}

func newScripts() scripts {
	return scripts{
		create: rueidis.NewLuaScript(sourceCreate), replace: rueidis.NewLuaScript(sourceReplace),
		revoke: rueidis.NewLuaScript(sourceRevoke), revokeUser: rueidis.NewLuaScript(sourceRevokeUser),
		list: rueidis.NewLuaScript(sourceList), advance: rueidis.NewLuaScript(sourceAdvance),
		raise: rueidis.NewLuaScript(sourceRaise), take: rueidis.NewLuaScript(sourceTake),
		rotate: rueidis.NewLuaScript(sourceRotate), alias: rueidis.NewLuaScript(sourceAlias),
		auditSession: rueidis.NewLuaScript(sourceAuditSession), auditIndex: rueidis.NewLuaScript(sourceAuditIndex),
		drop: rueidis.NewLuaScript(sourceDrop),
	}
}
