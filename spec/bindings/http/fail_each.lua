-- Fails each allocation in turn while connections are served. From the one that fails
-- on all fail, until the client has given up. Prints how many there were. See
-- allocation_spec.lua.

local green = require "greenlua"
local core = require "greenlua.core"
local native = require "greenlua.core.http"
local socket = require "greenlua.socket"
require "greenlua.http.message"
require "greenlua.http.static"
require "greenlua.http.json"

local long = ("x"):rep(300000)

local routes = {
  ["/read"] = function(req, res)
    for i = 1, 20 do res:set_header("X-" .. i, ("v"):rep(40)) end -- more than has room
    return req:read "a"
  end,
  ["/trailers"] = function(req, res)
    local body = req:read "a"
    res.reason = "Read " .. #body
    return body .. tostring(req.trailers["x"])
  end,
  ["/long"] = function() return long end, -- more than the kernel takes
  ["/write"] = function(_, res)
    res:write "one"
    res:write(long)
    res:finish()
  end,
  ["/list"] = function() return 200, { a = "b" }, { "a", "b" } end,
  ["/file"] = function(_, res) res:send_file(arg[0]) end,
  ["/json"] = function(_, res) res:json { list = { long, 1, 2.5 }, [1] = true } end,
  ["/error"] = function() error "a failure" end,
}

local function fail(_, res, err)
  if res.head_sent then return res:abort() end
  res.status = 500
  res:send(tostring(err))
end

-- What has lost its memory on the way is waited for in vain: not long.
local function new_server(patience)
  return native.server {
    handler = function(req, res) return routes[req.path](req, res) end,
    respond = require("greenlua.http.respond").respond, fail = fail, owner = {},
    log = function(req) return req and req.method .. req.target end,
    idle_timeout = patience, header_timeout = patience, body_timeout = patience,
    write_timeout = patience, max_line = 8192, max_head = 65536, max_headers = 100,
    max_drain = 1000, gzip = true, gzip_min = 1,
  }
end
local calm, hasty = new_server(60), new_server(0.02)

local requests = {}
for _, text in ipairs {
  "POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  "POST /trailers HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    .. "3\r\nabc\r\n0\r\nX: y\r\nZ: a\r\n\r\n",
  "GET /long HTTP/1.1\r\nHost: x\r\n\r\n",
  "GET /write HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
  "GET /list HTTP/1.1\r\nHost: x\r\n\r\n", "GET /file HTTP/1.1\r\nHost: x\r\n\r\n",
  "GET /json HTTP/1.1\r\nHost: x\r\n\r\n",
  "GET /error HTTP/1.1\r\nHost: x\r\n\r\n",
} do requests[#requests + 1] = text end
requests[#requests + 1] = "nonsense\r\n\r\n"

local function ask(text, server, patience)
  local a, b = socket.pair()
  if not a then error(b, 0) end
  local mine <close> = a
  local its <close> = b
  local serving <close> = green.spawn(native.serve, its, server) -- luacheck: ignore
  mine:settimeout(patience)
  mine:send(text)
  mine:shutdown "send"
  local reply, _, partial = mine:receive "*a"
  serving:join(patience)
  return reply or partial
end

local function attempt(text, n)
  core.fail_allocation(n)
  local server = n > 0 and hasty or calm
  local ok, reply = pcall(ask, text, server, n > 0 and 0.05 or 60)
  local left = core.fail_allocation(0)
  if not ok and not tostring(reply):find "not enough memory" then error(reply, 0) end
  for _, g in ipairs(core.live()) do
    if g ~= green.current() then g:close() end
  end
  assert((server:counts()) == 0)
  return ok and left > 0, reply
end

green.on_error(function() end)
local total = 0
for _, text in ipairs(requests) do
  local _, expected = attempt(text, 0)
  assert(expected:find "^HTTP/1.1 %d%d%d ", expected)
  local n = 0
  repeat n = n + 1 until attempt(text, n)
  local _, again = attempt(text, 0)
  assert(#again == #expected or text:find "/error", "it is not usable afterwards")
  total = total + n
end
print(total)
