--- WebSockets (RFC 6455), as servers and as clients.
--
-- A server's are made in an ordinary handler of `greenlua.http`; the handler is the
-- connection's for as long as it runs, and when it returns the connection is closed in
-- good order.
--
-- @usage
-- local http, websocket = require "greenlua.http", require "greenlua.websocket"
--
-- http.serve("127.0.0.1:8080", function(req, res)
--   local ws = websocket.upgrade(req, res)
--   for message in ws:messages() do ws:send("you said " .. message) end
-- end)
--
-- local ws <close> = assert(websocket.connect "ws://127.0.0.1:8080/")
-- ws:send "hello"
-- print(ws:receive()) --> you said hello    text
--
-- One greenlet receives, any number send: a message is never mixed with another's. Pings
-- are answered while somebody receives, and silence is met with pings of our own.
-- @module greenlua.websocket

local core = require "greenlua.core.websocket"
local green = require "greenlua.core"
local lock = require "greenlua.lock"
local GreenletExit = require("greenlua.greenlet").GreenletExit
local extension = require "greenlua.websocket.extension"
local errors = require "greenlua.http.errors"
local options_of = require("greenlua.websocket.options").check

local M = {}

--- A WebSocket.
--
-- Fields: `protocol`, the subprotocol that was agreed on, or nil; `request`, a server's
-- Request; `response`, a client's table of `status` and `headers`; `compressed`; `closed`:
-- has a close frame been sent, or the connection ended?; `over`: does nothing come any
-- more?, and then `code` and `reason`; `queued`: bytes that the peer has not taken.
-- A program may set fields of its own.
-- @type WebSocket
local WebSocket = core.methods

core.meta.__close = function(self, err)
  if err == nil then self:close() else self:_abandon() end
end

function core.meta:__tostring()
  local state = self.over and ("over, %d"):format(self.code) or self.closed and "closing" or "open"
  return ("WebSocket (%s, %s)"):format(self.client and "client" or "server", state)
end

--- Wait for a message.
-- @function WebSocket:receive
-- @tparam[opt] number|Timeout timeout
-- @treturn[1] string message
-- @treturn[1] string `"text"` or `"binary"`
-- @treturn[2] nil
-- @treturn[2] string `"closed"`
-- @treturn[2] integer code as the peer gave it; 1005: it gave none; 1006: the connection
--   ended without a word, or the peer was silent for too long
-- @treturn[2] string reason
-- @treturn[3] nil
-- @treturn[3] string `"timeout"`; nothing is lost

--- Wait for a piece of a message, of any size, and however large the message is.
-- @usage
-- repeat
--   local piece, kind, last = assert(ws:receive_some())
--   file:write(piece)
-- until last
-- @function WebSocket:receive_some
-- @tparam[opt] number|Timeout timeout
-- @treturn[1] string piece possibly empty
-- @treturn[1] string `"text"` (which may be cut within a character) or `"binary"`
-- @treturn[1] boolean is it the last of its message?
-- @treturn[2] nil
-- @treturn[2] string as `receive`

--- Iterate over messages until the end.
-- @usage for message, kind in ws:messages() do print(kind, message) end
-- @treturn function
function WebSocket:messages()
  return self._next, self
end

-- Sending ------------------------------------------------------------------------------

-- One sender at a time goes past the mark; the others wait behind it, in their order.
local Hold = {}
Hold.__index = Hold

function Hold:__close()
  local ws = self.ws
  ws._waiting = ws._waiting - 1
  if ws._waiting == 0 then ws:_set_held(false) end
  if self.got then ws._lock:release() end
end

local function hold(ws)
  ws._lock = ws._lock or lock.Semaphore(1)
  ws._waiting = (ws._waiting or 0) + 1
  ws:_set_held(true)
  return setmetatable({ ws = ws, got = false }, Hold)
end

-- The peer takes nothing: has it had its time?
local function await_room(ws)
  if ws.overflow == "close" then
    ws:_drop()
    return nil, "overflow"
  end
  if ws:_await_drain(ws.send_timeout) then return true end
  ws:_drop()
  return nil, "timeout"
end

local function until_sent(ws, send, ...)
  while true do
    local ok, err = send(ws, ...)
    if ok ~= false then return ok, err end
    ok, err = await_room(ws)
    if not ok then return nil, err end
  end
end

local send_now = core.methods._send

local function send_later(ws, data, kind)
  local mine <close> = hold(ws)
  ws._lock:acquire()
  mine.got = true
  return until_sent(ws, send_now, data, kind, true)
end

--- Send a message. It is queued; if more than `max_queue` bytes are, this waits until the
-- peer has taken them (or, with `overflow = "close"`, ends the connection).
-- A kill or Timeout during that wait means that nothing of it is sent.
-- @tparam string data a text must be valid UTF-8
-- @tparam[opt="text"] string kind `"text"` or `"binary"`
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string `"closed"`; `"timeout"`: the peer took nothing for `send_timeout`
--   seconds, and the connection has been ended; `"overflow"`
function WebSocket:send(data, kind)
  local ok, err = send_now(self, data, kind)
  if ok ~= false then return ok, err end
  return send_later(self, data, kind)
end

--- `send(data, "binary")`.
-- @tparam string data
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string as `send`
function WebSocket:send_binary(data)
  return self:send(data, "binary")
end

local function send_pieces(ws, kind, next_piece, state, piece)
  local first = true
  while true do
    piece = next_piece(state, piece)
    if piece ~= nil and type(piece) ~= "string" then
      error(("a piece of a message is a string, not a %s"):format(type(piece)), 0)
    end
    local ok, err = until_sent(ws, ws._fragment, piece or "", kind, first, piece == nil)
    if not ok or piece == nil then return ok, err end
    first = false
  end
end

--- Send one message in fragments, as an iterator gives them; messages of others wait
-- until it is complete. If the iterator raises an error, or this is killed, the
-- connection is closed with 1011: half a message cannot be taken back.
-- @usage ws:send_stream(io.lines("big.csv", 65536), "binary")
-- @tparam function iterator
-- @tparam[opt="text"] string kind the pieces of a text together must be valid UTF-8
-- @param[opt] state of the iterator
-- @param[opt] init of the iterator
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string as `send`
function WebSocket:send_stream(iterator, kind, state, init)
  local mine <close> = hold(self)
  self._lock:acquire()
  mine.got = true
  local complete = false
  local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore
    if not complete and not self.over then self:_fail(1011, "message cut short") end
  end })
  local ok, err = send_pieces(self, kind or "text", iterator, state, init)
  complete = true
  return ok, err
end

--- Send a ping; whoever receives hears nothing of its answer, which counts as a sign of life.
-- @tparam[opt=""] string data at most 125 bytes
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string `"closed"`
function WebSocket:ping(data)
  return self:_ping(data)
end

--- Send a pong that nobody has asked for.
-- @tparam[opt=""] string data at most 125 bytes
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string `"closed"`
function WebSocket:pong(data)
  return self:_ping(data, true)
end

-- The end ------------------------------------------------------------------------------

local function check_code(code)
  local n = math.type(code) == "integer" and code or 0
  if n == 1000 or n == 1001 or n == 1002 or n == 1003 or (n >= 1007 and n <= 1014)
    or (n >= 3000 and n <= 4999) then return end
  error(("bad argument #1 to 'close' (1000 to 1003, 1007 to 1014 or 3000 to 4999 expected, " ..
    "got %s)"):format(tostring(code)), 3)
end

-- Read until the end, or let whoever reads do it.
local function finish(self)
  local deadline = green.now() + self.close_timeout
  if self:_is_read() then
    self:_await_end(self.close_timeout)
  else
    repeat
      local message, why = self:_linger(math.max(0, deadline - green.now()))
    until not message and why == "closed" or green.now() >= deadline
  end
  if self:_is_read() and self.over then return true end -- it reads to the very end
  self:_cut()
  return true
end

--- Close the connection: send a close frame, unless one has been, and wait for the other
-- side's, not longer than `close_timeout`. What still comes is dropped, unless another
-- greenlet receives.
-- @tparam[opt=1000] integer code
-- @tparam[opt=""] string reason at most 123 bytes
-- @treturn boolean true; the fields `code` and `reason` tell what the other side said
function WebSocket:close(code, reason)
  if code ~= nil then check_code(code) end
  self:_send_close(code or 1000, reason)
  return finish(self)
end

-- Going without waiting for an answer.
function WebSocket:_abandon()
  self:_send_close(1001)
  self:_cut()
end

-- Servers ------------------------------------------------------------------------------

local function tokens(value)
  local set = {}
  for token in (value or ""):lower():gmatch "[^%s,]+" do set[token] = true end
  return set
end

local function refuse(status, message, headers)
  errors.abort(status, message .. "\n", headers)
end

local function check_request(req)
  local header = req.header
  if req.method ~= "GET" then
    refuse(405, "a WebSocket is opened with GET", { Allow = "GET" })
  end
  if not tokens(header(req, "upgrade")).websocket or not tokens(header(req,
    "connection")).upgrade then
    refuse(426, "this is a WebSocket", { Upgrade = "websocket", Connection = "Upgrade" })
  end
  if header(req, "sec-websocket-version") ~= "13" then
    refuse(426, "version 13 expected", { ["Sec-WebSocket-Version"] = "13", Upgrade = "websocket",
      Connection = "Upgrade" })
  end
  local key = header(req, "sec-websocket-key") or ""
  if req.version == "1.0" or not key:find("^" .. ("[%w+/]"):rep(22) .. "==$") then
    refuse(400, "bad Sec-WebSocket-Key")
  end
  return key
end

-- Pages of other sites may open WebSockets to any host, with its cookies: the
-- browser tells who asks.
local function check_origin(req, allowed)
  local origin = req:header "origin"
  if not origin or allowed == nil or allowed == "*" then return end
  local ok
  if allowed == "same" then
    ok = origin:lower():match "^https?://(.+)$" == (req:header "host" or ""):lower()
  elseif type(allowed) == "function" then
    ok = allowed(origin, req)
  else
    for _, one in ipairs(type(allowed) == "table" and allowed or { allowed }) do
      ok = ok or origin:lower() == one:lower()
    end
  end
  if not ok then refuse(403, "this origin may not") end
end

-- The server's order counts: it knows what it prefers.
local function choose_protocol(req, known)
  local offered = {}
  for token in (req:header "sec-websocket-protocol" or ""):gmatch "[^%s,]+" do
    offered[token] = true
  end
  for _, protocol in ipairs(known or {}) do
    if offered[protocol] then return protocol end
  end
end

local function settle(settings, agreed)
  for name, value in pairs(agreed or {}) do settings[name] = value end
  for _, name in ipairs { "ping_interval", "pong_timeout" } do
    settings[name] = settings[name] or nil
  end
  return settings
end

local function attach(sock, settings, fields)
  fields.socket = sock
  return core.new(sock, settings, fields)
end

-- The server tells when it stops, and when the handler is over.
function WebSocket:_leave(how, err)
  if how == "stopping" then
    self:_send_close(1001, "the server stops")
    return
  end
  local guests = self._guests
  if guests then guests[self] = nil end
  if how == "killed" or (how == "failed" and GreenletExit.is(err)) then return self:_abandon() end
  self:close(how == "failed" and 1011 or 1000)
end

local function register(ws, server, res)
  res:_guest(ws)
  if not server then return end
  server._guests = server._guests or setmetatable({}, { __mode = "k" })
  server._guests[ws], ws._guests = true, server._guests
end

--- @section end

--- Make a request a WebSocket; in a handler of `greenlua.http`. What is no handshake is
-- answered as the RFC asks for (400, 403, 405, 426): this raises an `http.Error`, which the
-- server sends. Fields of the response that have been set (cookies) go with it.
--
-- Options:
--
-- * `protocols`: list of subprotocols, the preferred one first; the first that the client
--   offers is agreed on.
-- * `origin`: who may, if a browser says who asks: `"same"`, an origin, a list of these,
--   or `function(origin, req)`; by default (`"*"`) everyone.
-- * `max_message` (1 MiB): bytes of a message, decompressed; more closes with 1009.
-- * `max_queue` (1 MiB): bytes sent and not taken, before `send` waits; `overflow`
--   (`"wait"`): or `"close"`, and the connection is ended then.
-- * `send_timeout` (60): seconds for a peer to take all that is queued, before the connection
--   is ended. false: no limit.
-- * `ping_interval` (30): a ping after so many seconds of silence, while somebody receives;
--   `pong_timeout` (30): so long until the connection is given up. false: none.
-- * `close_timeout` (5): seconds for the peer's close frame.
-- * `compress` (false): permessage-deflate, if the other side wants it, too: true or a table,
--   see `greenlua.websocket.extension`. It takes up to 300 KB a connection.
-- @tparam Request req
-- @tparam Response res
-- @tparam[opt] table options
-- @treturn[1] WebSocket
-- @treturn[2] nil
-- @treturn[2] string message: the client has gone
function M.upgrade(req, res, options)
  local settings = options_of("upgrade", 3, options)
  local key = check_request(req)
  check_origin(req, settings.origin)
  local protocol = choose_protocol(req, settings.protocols)
  local answer, agreed = extension.accept(req:header "sec-websocket-extensions", settings.compress)
  res:set_header("Sec-WebSocket-Accept", core.accept(key))
  if protocol then res:set_header("Sec-WebSocket-Protocol", protocol) end
  if answer then res:set_header("Sec-WebSocket-Extensions", answer) end
  local sock, err = res:upgrade "websocket"
  if not sock then return nil, err end
  local ws = attach(sock, settle(settings, agreed), { protocol = protocol, request = req })
  register(ws, req.server, res)
  return ws
end

--- A handler of `greenlua.http` out of a function that gets the WebSocket.
-- @usage http.serve(8080, websocket.handler(function(ws)
--   for message in ws:messages() do ws:send(message) end
-- end))
-- @tparam function f `f(ws, req)`
-- @tparam[opt] table options as `upgrade`
-- @treturn function
function M.handler(f, options)
  return function(req, res)
    local ws = M.upgrade(req, res, options)
    if ws then return f(ws, req) end -- what it returns is nobody's
  end
end

--- Open a WebSocket as a client.
--
-- Options: `max_message`, `max_queue`, `overflow`, `send_timeout`, `ping_interval`,
-- `pong_timeout`, `close_timeout`, `compress` as for `upgrade`, and
--
-- * `protocols`: list of subprotocols that are offered.
-- * `headers`: table of further fields; `origin`: one of them.
-- * `timeout` (30): seconds until the connection is open; or a Timeout, or false.
-- * `tls`: for `wss:`, options of `ssl.client` or a Context.
-- * `proxy`: a URL, or false; otherwise as the environment says; see `greenlua.http.client`.
--   `proxy_tls`: for an `https://` proxy, as `tls`.
-- * `connect`: table of further options of `socket.connect`.
-- * `socket`: speak over this connected socket instead.
-- @usage local ws <close> = assert(websocket.connect("wss://example.org/chat",
--   { protocols = { "chat.v2" }, headers = { Authorization = "Bearer " .. token } }))
-- @function connect
-- @tparam string url `ws:` or `wss:` (`http:` and `https:` mean the same)
-- @tparam[opt] table options
-- @treturn[1] WebSocket
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] ?table the response, if there is one that is no 101: `status`, `reason`,
--   `headers` (names in lower case), `body` as far as it has come (at most 64 KiB)
function M.connect(url, options)
  local settings = options_of("connect", 2, options)
  return require("greenlua.websocket.client").connect(url, settings, function(sock, agreed, fields)
    settings.client = true
    return attach(sock, settle(settings, agreed), fields)
  end)
end

return M
