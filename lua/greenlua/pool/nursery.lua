--- What makes a group a nursery: the methods that end it with its scope.
--
-- @module greenlua.pool.nursery

local core = require "greenlua.core"
local scope = require "greenlua.core.scope"
local greenlet = require "greenlua.greenlet"

local Group = {}

-- Kill the children of a nursery, and those that are about to come in.
function Group:_cancel()
  self._killer = {}
  self:_kill_all()
end

-- The first failure of a nursery's child.
function Group:_fail(g)
  self.failed = g
  self:_cancel()
  if self._closing then return end -- the end of the scope waits for us
  core.extra(self._creator, true).cause = g
  greenlet.kill(self._creator, g.exception)
end

-- The end of the scope -------------------------------------------------------

-- Kill the children and wait for their ends.
local function abandon(self)
  self:_cancel()
  while self:_taken() > 0 do self._empty:wait() end
end

-- Leave the scope with no error of its own.
local function leave(self)
  local ok, interrupt = pcall(self._wait, self)
  if not ok then
    abandon(self)
    error(interrupt, 0)
  end
  if self.failed then
    core.extra(core.current(), true).cause = self.failed
    error(self.failed.exception, 0)
  end
end

local function close(self, err)
  local failed = self.failed
  if err == nil and not failed and not scope.closing() then return leave(self) end
  -- Has the failure been raised where the scope's greenlet waited?
  local untold = failed and scope.take_back(self._creator, failed.exception)
  if untold and err ~= nil then greenlet._report(failed) end
  abandon(self)
  if untold and err == nil then error(failed.exception, 0) end
end

local function shut(closing)
  closing.group._closed, closing.group._closing = true, false
end

function Group:__close(err)
  local _ <close> = setmetatable({ group = self }, { __close = shut })
  self._closing = true
  close(self, err)
end

return Group
