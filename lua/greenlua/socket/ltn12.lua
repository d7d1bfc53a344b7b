--- Sockets as sources and sinks of LTN12, as LuaSocket has them: objects that one
-- calls, with `getfd` and `dirty` for `select`.
--
-- `sourcet` and `sinkt` are the tables that `source` and `sink` choose from;
-- programs (`socket.http` is one) add their own kinds to them.
--
-- @usage ltn12.pump.all(ltn12.source.file(io.open "a file"), socket.sink("close-when-done", conn))
-- @module greenlua.socket.ltn12

local M = { sourcet = {}, sinkt = {} }

local sourcet, sinkt = M.sourcet, M.sinkt

-- An object for `select` that is the function `f`, too.
local function callable(sock, f)
  return setmetatable({
    getfd = function() return sock:getfd() end,
    dirty = function() return sock:dirty() end,
  }, { __call = function(_, ...) return f(...) end })
end

sinkt["close-when-done"] = function(sock)
  return callable(sock, function(chunk)
    if chunk then return sock:send(chunk) end
    sock:close()
    return 1
  end)
end

sinkt["keep-open"] = function(sock)
  return callable(sock, function(chunk)
    if chunk then return sock:send(chunk) end
    return 1
  end)
end

sinkt.default = sinkt["keep-open"]

local function block_size()
  return require("greenlua.socket").BLOCKSIZE -- programs set it
end

sourcet["by-length"] = function(sock, length)
  return callable(sock, function()
    if length <= 0 then return nil end
    local chunk, err = sock:receive(math.min(block_size(), length))
    if err then return nil, err end
    length = length - #chunk
    return chunk
  end)
end

sourcet["until-closed"] = function(sock)
  local done = false
  return callable(sock, function()
    if done then return nil end
    local chunk, err, partial = sock:receive(block_size())
    if not err then return chunk end
    if err ~= "closed" then return nil, err end
    sock:close()
    done = true
    return partial
  end)
end

sourcet.default = sourcet["until-closed"]

--- Makes a function that calls the member of a table that its first argument
-- names; `"default"` if that is no string.
-- @tparam table table
-- @treturn function
function M.choose(table)
  return function(name, first, second)
    if type(name) ~= "string" then name, first, second = "default", name, first end
    local f = table[name]
    if f then return f(first, second) end
    error(("unknown key (%s)"):format(name), 3)
  end
end

--- Makes a sink of a socket.
-- @function sink
-- @tparam[opt="keep-open"] string mode `"keep-open"` or `"close-when-done"`
-- @tparam client socket
-- @treturn function

--- Makes a source of a socket.
-- @function source
-- @tparam[opt="until-closed"] string mode `"until-closed"`, or `"by-length"`
-- @tparam client socket
-- @tparam[opt] integer length of `"by-length"`: bytes
-- @treturn function
M.sink, M.source = M.choose(sinkt), M.choose(sourcet)

return M
