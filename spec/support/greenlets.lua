-- What specs of greenlets share: greenlets that wait, and what becomes of errors.

local green = require "greenlua"
local waitlist = require "greenlua.core.waitlist"

local M = {}

-- Lets everybody run who is ready, n times.
function M.turn(n)
  for _ = 1, n or 1 do green.sleep(0) end
end

-- Three by itself: enough for who is woken by somebody who is woken.
function M.turns(n) M.turn(n or 3) end

-- A greenlet that waits until it is ended.
function M.parked(f)
  local g = green.spawn(f or function() waitlist.new("for ever"):wait() end)
  M.turn()
  return g
end

-- What a `<close>` variable does at its end.
function M.closing(f)
  return setmetatable({}, { __close = function(_, err) f(err) end })
end

-- What is written to stderr while f runs.
function M.stderr_of(f)
  local written, real = {}, io.stderr
  local function set(stream) rawset(io, "stderr", stream) end
  local restore <close> = M.closing(function() set(real) end)
  set { write = function(self, ...)
    written[#written + 1] = table.concat { ... }
    return self
  end }
  f()
  assert(restore)
  return table.concat(written)
end

-- Errors that f makes on purpose, instead of their report: { greenlet, error }
function M.reports_of(f)
  local reports = {}
  local before = green.on_error(function(g, err) reports[#reports + 1] = { g, err } end)
  local restore <close> = M.closing(function() green.on_error(before) end)
  f()
  M.turn(3)
  assert(restore)
  return reports
end

-- A list to which, until the test ends, each error is added that nobody is there
-- for. `finally` is the test's.
function M.unclaimed_errors(finally)
  local list = {}
  local before = green.on_error(function(_, err) list[#list + 1] = err end)
  finally(function() green.on_error(before) end)
  return list
end

return M
