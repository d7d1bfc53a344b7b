--- Opening what servers listen on.
--
-- @module greenlua.server.listener

local native = require "greenlua.core.server"
local names = require "greenlua.core.dns"
local sockets = require "greenlua.core.socket"
local address = require "greenlua.server.address"
local systemd = require "greenlua.server.systemd"

local M = {}

--- How many connections may wait to be accepted. The kernel's own limit is often
-- 4096. A full backlog costs a client a second until it tries again; an empty one
-- costs nothing.
M.BACKLOG = 1024

-- How each kind is opened: sockets of a family, and what makes them ready.
local kinds = {
  stream = {
    inet = sockets.tcp4, inet6 = sockets.tcp6, unix = sockets.unix,
    listen = function(sock, options) return sock:listen(options.backlog or M.BACKLOG) end,
    bind = function(sock, ...) return sock:bind(...) end,
    accepts = true,
  },
  datagram = {
    inet = sockets.udp4, inet6 = sockets.udp6, unix = sockets.unixdgram,
    listen = function() return true end,
    bind = function(sock, ...) return sock:setsockname(...) end,
  },
}

local function prepare(kind, sock, host, port, options, dual)
  local ok, err = true, nil
  if kind.accepts then ok, err = sock:setoption("reuseaddr", true) end
  if ok and dual then ok, err = sock:setoption("ipv6-v6only", false) end
  if ok and options.reuse_port then ok, err = sock:setoption("reuseport", true) end
  if ok then ok, err = kind.bind(sock, host, port) end
  if ok then ok, err = kind.listen(sock, options) end
  return ok, err
end

-- A socket of a family that is bound and listens, or nil and why.
local function open(kind, family, ...)
  local sock, err = kind[family]()
  if not sock then return nil, err end
  local ok
  ok, err = prepare(kind, sock, ...)
  if ok then return sock end
  sock:close()
  return nil, err
end

-- Both families by one socket; IPv4 alone where there is no IPv6.
local function open_dual(kind, port, options)
  local sock, err = open(kind, "inet6", "::", port, options, true)
  if sock or err == "address already in use" or err == "permission denied" then
    return sock, err
  end
  local fallback, why = open(kind, "inet", "0.0.0.0", port, options)
  return fallback, fallback and nil or why
end

local function open_host(kind, at, options)
  local host, port = at.host, at.port
  if host == "" then return open_dual(kind, port, options) end
  if host == "*" then host = "0.0.0.0" end
  local addresses, err = names.lookup(nil, host)
  for _, a in ipairs(addresses or {}) do
    local sock
    sock, err = open(kind, a.family == "inet6" and "inet6" or "inet", a.addr, port, options)
    if sock then return sock end
  end
  return nil, err
end

-- UNIX sockets ---------------------------------------------------------------------

-- Is somebody there?  A socket's file stays when its server dies.
local function answers(path)
  local probe <close> = sockets.unix()
  probe:settimeout(0)
  local ok, err = probe:connect(path)
  return ok or err ~= "connection refused"
end

local function unlink_stale(path)
  if native.socket_file(path) and not answers(path) then os.remove(path) end
end

local function open_path(kind, at, options)
  local path, mode = at.path, options.mode
  local named = path:byte() ~= 0
  if named and kind.accepts then unlink_stale(path) end
  local sock, err = kind.unix()
  if not sock then return nil, err end
  local ok
  ok, err = kind.bind(sock, path)
  if ok and mode and named then ok, err = native.set_mode(path, mode) end
  if ok then ok, err = kind.listen(sock, options) end
  if ok then return sock, nil, named and native.socket_file(path) end
  sock:close()
  return nil, err
end

--- Take the file of a UNIX socket away, if it still is that one.
-- @tparam string path
-- @tparam string identity as `open` gave it
function M.unlink(path, identity)
  if native.socket_file(path) == identity then os.remove(path) end
end

-- Sockets that are there -------------------------------------------------------------

local function check_kind(sock, name)
  local kind, listens = native.kind(sock:getfd())
  if not kind then return nil, listens end
  if kind == name then return true, listens end
  return nil, ("a %s socket cannot be served as %s"):format(kind, name)
end

-- One that is given belongs to its giver until it is known to do.
local function adopt(kind, name, sock, options)
  if sock:getfd() < 0 then return nil, "closed" end
  local ok, listens = check_kind(sock, name)
  if not ok then return nil, listens end
  if name == "datagram" or listens and sock.class and sock.class:find "{server}" then
    return sock
  end
  if sock.class and sock.class:find "{client}" then return nil, "it is connected" end
  local listening, err = kind.listen(sock, options)
  return listening and sock, err
end

local function adopt_fd(kind, name, fd, options)
  local actual, err = native.kind(fd)
  if not actual then return nil, err end
  if actual ~= name then
    return nil, ("a %s socket cannot be served as %s"):format(actual, name)
  end
  local sock
  sock, err = sockets.fromfd(fd)
  if not sock then return nil, err end
  local ok
  ok, err = adopt(kind, name, sock, options)
  if ok then return sock end
  sock:detach()
  return nil, err
end

local function adopt_inherited(kind, name, at, options)
  local fd, err = systemd.take(at.name, name)
  if not fd then return nil, err end
  return adopt_fd(kind, name, fd, options)
end

--- Open what an address means.
-- @tparam string name `"stream"` or `"datagram"`
-- @tparam table at as `greenlua.server.address` parses it
-- @tparam table options `backlog`, `reuse_port`, `mode`
-- @treturn[1] socket
-- @treturn[1] nil
-- @treturn[1] ?string identity of the file that it has made
-- @treturn[2] nil
-- @treturn[2] string message
function M.open(name, at, options)
  local kind = kinds[name]
  if at.socket then return adopt(kind, name, at.socket, options) end
  if at.fd then return adopt_fd(kind, name, at.fd, options) end
  if at.inherited then return adopt_inherited(kind, name, at, options) end
  if at.path then return open_path(kind, at, options) end
  return open_host(kind, at, options)
end

--- What an address reads as before it is listened on.
-- @tparam table at
-- @treturn Address
function M.address(at)
  if at.path then return address.new(at.path) end
  if at.host then return address.new(at.host, at.port) end
  if at.socket and at.socket:getfd() >= 0 then return address.of(at.socket) end
  local unknown = address.new()
  unknown.label = at.inherited and "systemd" .. (at.name and ":" .. at.name or "")
    or at.fd and "descriptor " .. at.fd or "?"
  return unknown
end

return M
