--- TLS within TLS: what a connection through a proxy needs that is itself reached by TLS.
-- For greenlua's own modules.
--
-- A socket has one TLS of its own, so the inner one gets a pair of sockets, and two
-- greenlets carry its bytes to the outer one and back. They run while the connection is
-- used only: one that is kept keeps no program going.
--
-- @module greenlua.http.client.relay

local core = require "greenlua.core.http"
local socket = require "greenlua.socket"
local spawn = require("greenlua").spawn

local M = {}

local Relay = { __name = "relay" }
Relay.__index = Relay

local function carry(self, from, to)
  local bytes = from:receive_some()
  while bytes do
    self.sending = self.sending + 1
    local ok = to:send(bytes)
    self.sending = self.sending - 1
    bytes = ok and from:receive_some()
  end
  self:close()
end

function Relay:_run()
  self.out = spawn(carry, self, self.far, self.outer)
  self.back = spawn(carry, self, self.outer, self.far)
end

--- Nobody uses the connection for now.
-- @treturn boolean can it be used again?
function Relay:rest()
  if self.sending > 0 then return false end
  self.out:close()
  self.back:close()
  return true
end

--- Somebody does again.
-- @treturn boolean false: the proxy has closed it, or said what it was not asked for
function Relay:resume()
  if not core.reader(self.outer, {}):rewind() then return false end
  self:_run()
  return true
end

--- End it; it may be done by a finalizer.
function Relay:close()
  self.far:close()
  self.outer:close()
end

--- Begin to carry.
-- @param outer the socket to the proxy
-- @treturn[1] table with `near`, the socket that stands for it
-- @treturn[2] nil
-- @treturn[2] string message
function M.new(outer)
  local near, far = socket.pair()
  if not near then return nil, far end
  outer:settimeout()
  local self = setmetatable({ near = near, far = far, outer = outer, sending = 0 }, Relay)
  self:_run()
  return self
end

return M
