-- Who has which id, for all brokers: compares, sets and leases in one step, on the clock of Redis.
-- `cluster/model.rs` is the same in Rust, and a test compares the two.
--
-- KEYS: the epoch of this bucket of ids, then one record per id, all in one slot.
-- ARGV: what to do, the run of this server, the lease in ms, the name of the broker, then three words per id.
-- The answer: from when on this bucket takes new claims, and what time it is; then one text per id.
local time = redis.call('TIME')
local us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(us / 1000)
local op, run, lease, broker = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local function text(number)
  return string.format('%.0f', number)
end

-- Quarantine: a registry that was just born, wiped or restarted knows of no claim, or not of the last ones. For one
-- lease it takes no new ones, so that the holders assert theirs first.
local born, settled = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%d+)$')
settled = tonumber(settled)
if born ~= run then
  settled = now + lease
  redis.call('SET', KEYS[1], run .. ' ' .. text(settled))
end

-- A record: holder ('-' for nobody), generation, granted at (us), leased until, held until, hash of the secret ('-').
local function read(key)
  local holder, generation, since, till, hold, secret =
    string.match(redis.call('GET', key) or '', '^(%S+) (%d+) (%d+) (%d+) (%d+) (%S+)$')
  if not holder then return nil end
  till, hold = tonumber(till), tonumber(hold)
  if till <= now then
    if hold <= now then return nil end
    holder = '-'
  end
  return { holder = holder, generation = generation, since = tonumber(since), till = till, hold = hold, secret = secret }
end

local function write(key, holder, generation, since, till, hold, secret)
  local record = table.concat({ holder, generation, text(since), text(till), text(hold), secret }, ' ')
  redis.call('SET', key, record, 'PXAT', text(math.max(till, hold)))
end

local function take(key, generation, since, hold, secret)
  write(key, broker, generation, since, now + lease, hold, secret)
end

-- Until when somebody else may believe to have the id: he that loses it now may not hear of it.
local function hold_of(record)
  if record.holder == '-' or record.holder == broker then return record.hold end
  return math.max(record.hold, record.till)
end

local function claim(key, generation, secret)
  local record = read(key)
  if not record then
    if settled > now then return 'wait ' .. text(settled - now) end
    take(key, generation, us, 0, secret)
    return 'granted ' .. text(us) .. ' - 0'
  end
  if record.holder == broker and record.generation == generation then
    if secret == '-' then secret = record.secret end
    take(key, generation, record.since, record.hold, secret)
    return 'granted ' .. text(record.since) .. ' - 0'
  end
  if secret == '-' or secret ~= record.secret then return 'taken' end
  local since = math.max(us, record.since + 1)
  take(key, generation, since, hold_of(record), secret)
  return 'granted ' .. text(since) .. ' ' .. record.holder .. ' ' .. record.generation
end

-- `since` is 0 where the broker's own lease has run out: then it claims anew.
local function renew(key, generation, since, secret)
  since = tonumber(since)
  local record = read(key)
  if not record then
    if since == 0 then
      if settled > now then return 'wait ' .. text(settled - now) end
      since = us
    end
    take(key, generation, since, 0, secret)
    return 'granted ' .. text(since) .. ' - 0'
  end
  if record.holder == broker and record.generation == generation then
    take(key, generation, record.since, record.hold, record.secret)
    return 'granted ' .. text(record.since) .. ' - 0'
  end
  -- Two assert themselves at a registry that was wiped: an earlier holder who was not told, and the later one.
  if since > record.since then
    take(key, generation, since, hold_of(record), secret)
    return 'granted ' .. text(since) .. ' ' .. record.holder .. ' ' .. record.generation
  end
  if secret ~= '-' and secret == record.secret then return 'moved' end
  return 'lost'
end

local function release(key, generation)
  local record = read(key)
  if not record or record.holder ~= broker or record.generation ~= generation then return 'other' end
  if record.hold > now then
    write(key, '-', '0', record.since, now, record.hold, record.secret)
  else
    redis.call('DEL', key)
  end
  return 'free'
end

local function find(key)
  local record = read(key)
  if record and record.holder ~= '-' then return 'at ' .. record.holder .. ' ' .. record.generation end
  if settled > now then return 'wait ' .. text(settled - now) end
  return 'none'
end

local answer = { text(settled) .. ' ' .. text(now) }
for i = 2, #KEYS do
  local at = 5 + (i - 2) * 3
  local key, one, two, three = KEYS[i], ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if op == 'claim' then
    answer[i] = claim(key, one, three)
  elseif op == 'renew' then
    answer[i] = renew(key, one, two, three)
  elseif op == 'release' then
    answer[i] = release(key, one)
  else
    answer[i] = find(key)
  end
end
return answer
