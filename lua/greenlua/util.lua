--- Looking at a running program, and ending it.
-- @module greenlua.util

local core = require "greenlua.core"

local GreenletExit = require("greenlua.greenlet").GreenletExit

local M = {}

local function describe(thread)
  -- What a blocking method waits on is the first argument of its call.
  local _, object = debug.getlocal(thread, 0, 1)
  local t = type(object)
  if t ~= "userdata" and t ~= "table" then return "" end
  local ok, text = pcall(tostring, object)
  return ok and " (" .. text .. ")" or ""
end

local function traceback(threads)
  local lines = {}
  for i = #threads, 1, -1 do
    local trace = debug.traceback(threads[i])
    for line in trace:gmatch "\n\t*([^\n]+)" do
      lines[#lines + 1] = "      " .. line
    end
    if i > 1 then lines[#lines + 1] = "      (in the coroutine of)" end
  end
  return table.concat(lines, "\n")
end

--- Who waits where, and for what: a line for each living greenlet, with the
-- traceback of each that is parked.
-- @tparam[opt] integer limit tell of so many, and count the rest
-- @treturn string
function M.tree(limit)
  if limit ~= nil and (math.type(limit) ~= "integer" or limit < 0) then
    error(("bad argument #1 to 'tree' (number of greenlets or nil expected, got %s)")
      :format(tostring(limit)), 2)
  end
  local lines, live = {}, core.live()
  local function add(g)
    local what, threads = core.standing(g)
    if what then
      local where = describe(threads[#threads])
      lines[#lines + 1] = ("  %s waits in %s%s"):format(g.name, what, where)
      lines[#lines + 1] = traceback(threads)
    else
      lines[#lines + 1] = ("  %s"):format(tostring(g))
    end
  end
  for i = 1, math.min(#live, limit or #live) do add(live[i]) end
  if limit and #live > limit then
    lines[#lines + 1] = ("  and %d more"):format(#live - limit)
  end
  return table.concat(lines, "\n")
end

--- What main is raised when nothing is left that could ever end its wait.
-- `message` says so, `tree` tells who waits where (of a hundred, and counts the
-- rest: `green.util.tree()` tells all).
-- @type LoopExit
local LoopExit = { __name = "LoopExit" }
LoopExit.__index = LoopExit
M.LoopExit = LoopExit

--- Is it a LoopExit?
-- @param value
-- @treturn boolean
function LoopExit.is(value)
  return type(value) == "table" and getmetatable(value) == LoopExit
end

function LoopExit:__tostring()
  return self.message .. "\n" .. self.tree
end

setmetatable(LoopExit, {
  __call = function(class)
    local where = debug.traceback("", 2):gsub("^\n[^\n]*\n", "")
    local tree = M.tree(100)
    return setmetatable({
      message = "LoopExit: this operation would block forever",
      tree = (tree == "" and "  no other greenlet is alive"
        or "greenlets that wait:\n" .. tree),
      where = where,
    }, class)
  end,
  __tostring = function() return "class LoopExit" end,
})

--- @section end

--- Close every greenlet but the calling one (see `Greenlet:close`), and wait for
-- that. Greenlets that are made meanwhile live on.
function M.close_all()
  local me, others = core.current(), {}
  for _, g in ipairs(core.live()) do
    if g ~= me then others[#others + 1] = g end
  end
  -- All at once: who has not begun shall not while the others close.
  for _, g in ipairs(others) do core.close(g, GreenletExit()) end
  for _, g in ipairs(others) do g:join() end
end

--- End the program: close every greenlet, main's `<close>` variables too. Inside
-- a host program, which owns the process, it ends the calling greenlet as well,
-- and has `green_run` return.
-- @tparam[opt=0] integer code exit code
function M.shutdown(code)
  if code ~= nil and type(code) ~= "boolean" and math.type(code) ~= "integer" then
    error(("bad argument #1 to 'shutdown' (exit code or nil expected, got %s)")
      :format(tostring(code)), 2)
  end
  M.close_all()
  if core.stop_host() then error(GreenletExit()) end
  os.exit(code or 0, true)
end

return M
