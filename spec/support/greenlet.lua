-- Runs the body of a test in a greenlet while main waits for it. Beside its own
-- assertions a test fails on
--
--   a deadlock                    (LoopExit reaches main)
--   more than 300 seconds         (a Timeout, raised where the body is parked)
--   a greenlet left behind        (after a few turns in which it may end)
--   a descriptor left behind      (after a full garbage collection)
--
-- A test that has "#main" in its name runs in main itself; the rest holds for it
-- too. before_each and after_each run in main; what they leave open is theirs.

local green = require "greenlua"
local core = require "greenlua.core"
local lfs = require "lfs"

local M = {}

local LIMIT = 300
local FOREIGN_FRAMES = { "/luassert/", "/busted/", "spec/support/" }

-- What loads or opens itself on first use is not a leak of the test that was
-- first: the event loop.
green.sleep(0.001)

local function descriptors()
  local found = {}
  for name in lfs.dir "/proc/self/fd" do
    local target = lfs.symlinkattributes("/proc/self/fd/" .. name, "target")
    -- the directory that is being read is itself a descriptor, gone afterwards
    if target and not target:find "^/proc/%d+/fd$" then found[name] = target end
  end
  return found
end

local function greenlets()
  local found = {}
  for _, g in ipairs(core.live()) do found[g] = true end
  return found
end

local function new_greenlets(before)
  local new = {}
  for _, g in ipairs(core.live()) do
    if not before[g] then new[#new + 1] = g end
  end
  return new
end

local function all_sleep(list)
  for _, g in ipairs(list) do
    if core.standing(g) ~= "sleep" then return false end
  end
  return true
end

-- Whoever is about to end may: a killed greenlet, in a few turns; the peer of a
-- closed socket, when it is told.  What is left then is ended, so that the next
-- test starts clean.
local function leftover_greenlets(before)
  local new = new_greenlets(before)
  for turn = 1, 1000 do
    if #new == 0 then return "" end
    if turn > 5 and all_sleep(new) then break end
    green.sleep(0.001)
    new = new_greenlets(before)
  end
  local names = {}
  for i, g in ipairs(new) do
    names[i] = "\n  " .. tostring(g)
    pcall(g.close, g)
  end
  return table.concat(names)
end

local function new_descriptors(before)
  local names = {}
  for name, target in pairs(descriptors()) do
    if before[name] ~= target then
      names[#names + 1] = ("\n  descriptor %s: %s"):format(name, target)
    end
  end
  table.sort(names)
  return table.concat(names)
end

-- What nobody holds is closed by a collection; in each test it would be most of
-- the work, so only where there is something. A thread that looks up a name for
-- somebody who has been killed has a descriptor until it is done.
local function leftover_descriptors(before)
  local left = new_descriptors(before)
  for turn = 1, 1500 do
    if left == "" then break end
    if turn <= 2 then -- what the first one finalizes may hold more
      collectgarbage()
    else
      green.sleep(0.01)
    end
    left = new_descriptors(before)
  end
  return left
end

local traces = setmetatable({}, { __mode = "k" })

local function place(element)
  local level = 3
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then return element.trace end
    local foreign = info.what == "C"
    for _, part in ipairs(FOREIGN_FRAMES) do
      foreign = foreign or info.source:find(part, 1, true)
    end
    if not foreign then
      info.traceback = debug.traceback("", level)
      return info
    end
    level = level + 1
  end
end

-- busted's own error objects keep their kind (an assertion failed, a test is
-- pending) and gain the position that strings have already.
local function located(element, err)
  local where = place(element)
  traces[element] = where
  local meta = debug.getmetatable(err)
  if type(err) ~= "string" and not (meta and meta.__tostring) then return err end
  local text = tostring(err)
  if not text:find "^[^\n]-:%d+: " then
    text = ("%s:%d: %s"):format(where.short_src, where.currentline, text)
  end
  if meta.__type == "failure" or meta.__type == "pending" then
    return setmetatable({ message = text }, meta)
  end
  return text
end

-- The body and its finally(), with errors caught: ok, error
local function perform(element, body)
  local finally
  element.env.finally = function(f) finally = f end
  local function handler(err) return located(element, err) end
  local ok, err = xpcall(body, handler)
  if finally then
    local clean, why = xpcall(finally, handler)
    if ok and not clean then ok, err = clean, why end
  end
  return ok, err
end

-- ref = false: or the deadlock of a test would show only when the time is up.
local function perform_limited(element, body)
  local limit <close> = -- luacheck: ignore 211
    green.Timeout(LIMIT, ("over %d seconds"):format(LIMIT), false)
  return perform(element, body)
end

local function in_greenlet(element, body)
  local g = green.spawn(perform_limited, element, body)
  local ended, ok, err = pcall(g.get, g)
  if not ended then -- a deadlock, mostly: its report shows where the body stands
    ok, err = false, tostring(ok)
    pcall(g.close, g)
  end
  return ok, err
end

local function run(element, body)
  local open, alive = descriptors(), greenlets()
  local perform_it = element.name:find("#main", 1, true) and perform or in_greenlet
  local ok, err = perform_it(element, body)
  local left = leftover_greenlets(alive) .. leftover_descriptors(open)
  if not ok then error(err, 0) end
  if left ~= "" then
    traces[element] = element.trace
    error(("%s:%d: left behind:%s"):format(element.trace.short_src, element.trace.currentline,
      left), 0)
  end
end

local wrapped = setmetatable({}, { __mode = "k" })

function M.wrap(element)
  local body = element.run
  traces[element] = nil
  if wrapped[body] then return end -- run before: busted --repeat
  element.run = function() run(element, body) end
  wrapped[element.run] = true
end

-- Where the last error of a test came about, in busted's form.
function M.trace(element) return traces[element] end

return M
