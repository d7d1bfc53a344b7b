--- The connections of a client: so many to each place, so many in all, kept for a while.
-- For greenlua's own modules.
--
-- Who wants a connection takes a *lease*. It has a connection that has been used
-- before, or none: then the taker makes one. Whoever must wait is served in the order
-- of arrival. A lease that is closed takes its connection with it; `release(true)` puts
-- that back.
--
-- @module greenlua.http.client.pool

local green = require "greenlua"
local now = require("greenlua.core").now
local object = require "greenlua.object"
local waitlist = require "greenlua.core.waitlist"

local M = {}

local Lease = { __name = "lease" }
Lease.__index = Lease

--- Give it back.
-- @tparam boolean reusable false: its connection is closed
function Lease:release(reusable)
  local conn = self.conn
  if not self.live then return end
  self.live, self.conn = false, nil
  self.pool:_take_back(self.host, conn, reusable)
end

function Lease:__close() self:release(false) end

--- Connections to many hosts.
-- @type Pool
local Pool = object.class "Pool"
M.Pool = Pool

--- Is it a Pool?
-- @function Pool.is
-- @param value
-- @treturn boolean

function Pool:_init(options)
  self.max_per_host = options.max_per_host
  self.max = options.max_connections
  self.idle_timeout = options.idle_timeout
  self.hosts = {}   -- key -> host
  self.waiting = {} -- hosts with waiters
  self.total, self.idle, self.ticket = 0, 0, 0
end

function Pool:_host_of(key)
  local host = self.hosts[key]
  if not host then
    host = { key = key, idle = {}, count = 0 }
    self.hosts[key] = host
  end
  return host
end

-- A connection of the host is no more.
function Pool:_forget(host, conn)
  host.count, self.total = host.count - 1, self.total - 1
  if conn then conn:close() end
  if host.count == 0 and not self.waiting[host] then self.hosts[host.key] = nil end
end

-- The one at `i` of the idle ones, taken out.
function Pool:_pick(host, i)
  self.idle = self.idle - 1
  return table.remove(host.idle, i)
end

-- The last one used is the least likely to have been closed by the other side.
function Pool:_pick_living(host)
  while #host.idle > 0 do
    local conn = self:_pick(host, #host.idle)
    if conn:is_good() then return conn end
    self:_forget(host, conn)
    self.hosts[host.key] = host
  end
end

local function oldest(self)
  local found
  for _, host in pairs(self.hosts) do
    local conn = host.idle[1]
    if conn and (not found or conn.idle_since < found.idle[1].idle_since) then found = host end
  end
  return found
end

-- Make room for one more, at the cost of one that nobody uses.
function Pool:_make_room(host)
  if host.count >= self.max_per_host then
    if #host.idle == 0 then return false end
    self:_forget(host, self:_pick(host, 1))
    self.hosts[host.key] = host
  end
  if self.total >= self.max then
    local other = oldest(self)
    if not other then return false end
    self:_forget(other, self:_pick(other, 1))
  end
  return true
end

function Pool:_grant(host, fresh)
  local conn = not fresh and self:_pick_living(host) or nil
  if not conn then
    if not self:_make_room(host) then return nil end
    host.count, self.total = host.count + 1, self.total + 1
    self.hosts[host.key] = host
  end
  return setmetatable({ pool = self, host = host, conn = conn, live = true }, Lease)
end

local function has_room(self, host)
  return #host.idle > 0
    or (host.count < self.max_per_host and (self.total < self.max or self.idle > 0))
end

-- The host, among those that can have one, whose first waiter came first.
local function next_host(self)
  local best, earliest
  for host in pairs(self.waiting) do
    local ticket = host.waiters:first()
    if not ticket then
      self.waiting[host] = nil
      if host.count == 0 then self.hosts[host.key] = nil end
    elseif has_room(self, host) and (not best or ticket < earliest) then
      best, earliest = host, ticket
    end
  end
  return best
end

-- Something has become free.
function Pool:_pass_on()
  while next(self.waiting) do
    local host = next_host(self)
    local lease = host and self:_grant(host)
    if not lease then return end
    host.waiters:wake(lease)
  end
end

-- A waiter that goes away may have been what kept its host in the list.
local Leave = { __close = function(self) self[1]:_pass_on() end }

local function wait(self, host, timeout)
  host.waiters = host.waiters or waitlist.new("connection", function(lease)
    if lease then lease:release(false) end
  end)
  self.waiting[host], self.ticket = true, self.ticket + 1
  local _ <close> = setmetatable({ self }, Leave)
  local woken, lease = host.waiters:wait(timeout, self.ticket)
  if not woken then return nil, "timeout" end
  if not lease then return nil, "closed" end
  return lease
end

--- A lease for a place.
-- @tparam string key
-- @tparam[opt] number timeout seconds
-- @tparam[opt] boolean fresh not with a connection that has been used
-- @treturn[1] table lease, to be closed or released
-- @treturn[2] nil
-- @treturn[2] string `"timeout"`, `"closed"`
function Pool:acquire(key, timeout, fresh)
  if self.closed then return nil, "closed" end
  local host = self:_host_of(key)
  local waits = host.waiters and host.waiters:first()
  local lease = not waits and self:_grant(host, fresh)
  if lease then return lease end
  return wait(self, host, timeout)
end

function Pool:_take_back(host, conn, reusable)
  if conn and reusable and not self.closed and self.idle_timeout > 0 and conn:rest() then
    conn.idle_since = now()
    table.insert(host.idle, conn)
    self.idle = self.idle + 1
    self:_sweep_later()
  else
    self:_forget(host, conn)
  end
  self:_pass_on()
end

-- Close what has been idle too long: seconds until there will be more of it.
function Pool:_sweep()
  local limit, soonest = now() - self.idle_timeout, nil
  for _, host in pairs(self.hosts) do
    while host.idle[1] and host.idle[1].idle_since <= limit do
      self:_forget(host, self:_pick(host, 1))
    end
    local first = host.idle[1]
    if first and (not soonest or first.idle_since < soonest) then soonest = first.idle_since end
  end
  return soonest and math.max(soonest - limit, 0.001)
end

-- It runs while there is anything to sweep, and does not keep the program going.
local function sweep_on(self)
  local patience = self:_sweep()
  while patience do
    green.sleep(patience, false)
    patience = self:_sweep()
  end
  self.sweeper = nil
end

function Pool:_sweep_later()
  if self.idle_timeout == math.huge then return end
  if self.sweeper and not self.sweeper:ready() then return end -- unless it was killed
  self.sweeper = green.spawn(sweep_on, self)
end

--- Close what nobody uses; the others when they are given back.
function Pool:close()
  if self.closed then return end
  self.closed = true
  for _, host in pairs(self.hosts) do
    while #host.idle > 0 do self:_forget(host, self:_pick(host, #host.idle)) end
  end
  for host in pairs(self.waiting) do host.waiters:wake_all(nil) end
  if self.sweeper then self.sweeper:close() end
  self.sweeper = nil
end

return M
