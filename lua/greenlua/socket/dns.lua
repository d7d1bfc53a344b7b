--- LuaSocket's face of the resolver: `socket.dns`. `greenlua.dns` is the full one.
--
-- @module greenlua.socket.dns

local core = require "greenlua.core.socket"

local M = {}

--- The name of this machine.
-- @function gethostname
-- @treturn string
M.gethostname = core.gethostname

return M
