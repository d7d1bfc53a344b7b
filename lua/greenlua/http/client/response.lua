--- What a client gets: a whole response, or one to be read as it comes.
--
-- Fields: `status`, `reason`, `version`; `headers`, whose names may be written in any case;
-- `url`, where it came from in the end; `history`, the redirects that led there (a list of
-- tables with `status` and `url`); `ok`: is the status one from 200 to 299? A whole
-- response has `body`, a string. `trailers` is a table (names in lower case), once the
-- body has been read, if there were any. `content_length` is nil if nobody knows;
-- `decoded` tells the coding that was undone ("gzip"), if one was.
--
-- A stream is to be read to its end, or closed: `local res <close> = client:get { … }`. What
-- has been read to its end leaves its connection to the next request; a close before
-- that ends the connection.
--
-- @module greenlua.http.client.response

local core = require "greenlua.core.http"
local message = require "greenlua.http.message"
local object = require "greenlua.object"

local M = {}

--- A response.
-- @type Response
local Response = object.class "http.client.Response"
M.Response = Response

--- Is it a Response?
-- @function Response.is
-- @param value
-- @treturn boolean

local function bodiless(method, status)
  return method == "HEAD" or status < 200 or status == 204 or status == 304
    or (method == "CONNECT" and status < 300)
end

local function inflater_for(head)
  local coding = (head:header "content-encoding" or ""):lower()
  if coding == "gzip" or coding == "x-gzip" then return core.inflater "gzip", "gzip" end
  if coding == "deflate" then return core.inflater "deflate", "deflate" end
end

-- `exchange`: `lease`, `method`, `url`, `decode`, `sender` (what still sends the request's body).
function Response:_init(exchange, head, status, reason, version)
  self.status, self.reason, self.version = status, reason, version
  self.ok = status >= 200 and status < 300
  self.headers = message.headers_of(head)
  self.url, self._head = exchange.url, head
  self._lease, self._sender = exchange.lease, exchange.sender
  self._reader = exchange.lease.conn.reader
  self._rest = ""
  local none = bodiless(exchange.method, status)
  self.content_length = self._reader:body(none)
  if exchange.decode and not none then
    self._inflater, self.decoded = inflater_for(head)
    if self._inflater then self.content_length = nil end
  end
  if self._reader:ended() and status ~= 101 then self:_finish() end
end

local function parse_trailer(text)
  local trailers = {}
  for name, value in (text or ""):gmatch "([^:\r\n]+):[ \t]*([^\r\n]-)[ \t]*\r\n" do
    name = name:lower()
    trailers[name] = trailers[name] and trailers[name] .. ", " .. value or value
  end
  return trailers
end

-- The connection goes back, or ends.
function Response:_let_go(reusable)
  local lease, sender = self._lease, self._sender
  self._lease, self._sender = nil, nil
  if sender and not sender:finish() then reusable = false end
  if lease then lease:release(reusable) end
end

function Response:_finish()
  self._ended = true
  local text = self._reader:trailer()
  if text then self.trailers = parse_trailer(text) end
  self:_let_go(self._reader:reusable())
end

function Response:_fail(err)
  self._failure = err
  local sender = self._sender
  if sender and sender.error and err == "closed" then self._failure = tostring(sender.error) end
  self:_let_go(false)
  return nil, self._failure, "body"
end

-- As the connection has it: bytes | nil at the end | nil, message
local function read_raw(self, max)
  if self._ended then return nil end
  if self._failure then return nil, self._failure, "body" end
  if not self._lease then return nil, "closed", "body" end
  local piece, err = self._reader:read_some(max)
  if err then return self:_fail(err) end
  if self._reader:ended() then self:_finish() end
  return piece
end

local function read_decoded(self)
  local inflater = self._inflater
  while true do
    local piece, err = inflater:pull()
    if err then return self:_fail(err) end
    if piece then return piece end
    local bytes, phase
    bytes, err, phase = read_raw(self)
    if err then return nil, err, phase end
    if not bytes then
      if inflater:complete() then return nil end
      return self:_fail "bad response: the compression is cut short"
    end
    local ok
    ok, err = inflater:push(bytes)
    if not ok then return self:_fail(err) end
  end
end

local function check_max(max)
  if max ~= nil and (math.type(max) ~= "integer" or max < 1) then
    error(("bad argument #1 to 'read_some' (a number of bytes expected, got %s)")
      :format(tostring(max)), 3)
  end
end

--- Read of the body what is there: waits for at least one byte only.
-- @tparam[opt] integer max bytes
-- @treturn[1] string
-- @treturn[2] nil at the end
-- @treturn[3] nil
-- @treturn[3] string `"closed"`: the connection ended before the body; `"timeout"`;
--   `"bad response: …"`
-- @treturn[3] string `"body"`
function Response:read_some(max)
  check_max(max)
  local piece = self._rest
  if piece == "" then
    if not self._inflater then return read_raw(self, max) end
    local err, phase
    piece, err, phase = read_decoded(self)
    if not piece then return nil, err, phase end
  end
  self._rest = ""
  if max and #piece > max then piece, self._rest = piece:sub(1, max), piece:sub(max + 1) end
  return piece
end

local function too_large(self)
  self._rest = ""
  return self:_fail "too large"
end

local function read_all(self, max)
  if max and (self.content_length or 0) > max then return too_large(self) end
  return message.read_all(self, max, too_large)
end

local LINE = 1 << 20 -- bytes, at most

-- Pieces are searched once each, however long the line.
local function read_line(self)
  local pieces, size = {}, 0
  while true do
    local piece, err, phase = self:read_some()
    if err then return nil, err, phase end
    if not piece then
      if #pieces == 0 then return nil end
      return (table.concat(pieces):gsub("\r$", ""))
    end
    local stop = piece:find("\n", 1, true)
    pieces[#pieces + 1] = stop and piece:sub(1, stop - 1) or piece
    if stop then
      self._rest = piece:sub(stop + 1)
      return (table.concat(pieces):gsub("\r$", ""))
    end
    size = size + #piece
    if size > LINE then return self:_fail "a line is too long" end
  end
end

--- Read of the body: so many bytes, a line, or all of it.
-- @tparam[opt="a"] integer|string what a number of bytes (fewer at the end), `"l"` (a line,
--   without its end) or `"a"`
-- @tparam[opt] integer max for `"a"`: more is `"too large"`
-- @treturn[1] string
-- @treturn[2] nil at the end, for a number or a line
-- @treturn[3] nil
-- @treturn[3] string as `read_some`
-- @treturn[3] string `"body"`
function Response:read(what, max)
  if type(what) == "string" then what = what:gsub("^%*", "") end
  if what == nil or what == "a" then return read_all(self, max) end
  if what == "l" then return read_line(self) end
  if math.type(what) ~= "integer" or what < 0 then
    error(("bad argument #1 to 'read' (a number of bytes, \"l\" or \"a\" expected, got %s)")
      :format(tostring(what)), 2)
  end
  return message.read_count(self, what)
end

local function or_raise(piece, err)
  if err then error(err, 0) end
  return piece
end

--- Iterate over the lines of the body, without their ends. A failure is raised.
-- @usage for line in res:lines() do print(line) end
-- @treturn function
function Response:lines()
  return function() return or_raise(read_line(self)) end
end

--- Iterate over the body as it comes. A failure is raised.
-- @usage for piece in res:chunks() do file:write(piece) end
-- @tparam[opt] integer max bytes of one
-- @treturn function
function Response:chunks(max)
  check_max(max)
  return function() return or_raise(self:read_some(max)) end
end

--- The body as JSON (through lua-cjson).
-- @tparam[opt] integer max bytes, of a stream
-- @return[1] value
-- @treturn[2] nil
-- @treturn[2] string message
function Response:json(max)
  if not self.body then
    local text, err, phase = read_all(self, max)
    if not text then return nil, err, phase end
    self.body = text
  end
  return require("greenlua.http.json").decode(self.body)
end

--- All values of a field.
-- @usage for _, cookie in ipairs(res:header_list "set-cookie") do print(cookie) end
-- @tparam string name
-- @treturn table
function Response:header_list(name) return message.header_list(self._head, name) end

--- Take the connection over, after a 101 (Switching Protocols): it is the caller's from
-- then on, and no pool's.
-- @treturn[1] socket with what the server has sent already
-- @treturn[2] nil
-- @treturn[2] string message
function Response:upgrade()
  local lease = self._lease
  if self.status ~= 101 or not lease then return nil, "no other protocol was agreed on" end
  local sock = lease.conn:give_away()
  self:_let_go(false)
  sock:settimeout()
  return sock
end

--- Have done with it. What has not been read is lost, and so is the connection then.
function Response:close()
  if not self._ended and not self._failure then self._failure = "closed" end
  self._rest = ""
  self:_let_go(false)
end

function Response:__close() self:close() end

-- A finalizer can close a connection, but no greenlet: what still sends finds out.
function Response:__gc()
  local lease = self._lease
  self._lease = nil
  if lease then lease:release(false) end
end

function Response:__tostring()
  return ("Response: %d %s"):format(self.status, self.reason)
end

return M
