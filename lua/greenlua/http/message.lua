--- Requests and responses, as handlers see them.
--
-- They are good for as long as their handler runs; a response that is used after that
-- raises an error, and never gets into somebody else's.
--
-- @module greenlua.http.message

local address = require "greenlua.server.address"
local core = require "greenlua.core.http"

local M = {}

--- All values of a field.
-- @param head what has `field(i)`
-- @tparam string name
-- @treturn table
function M.header_list(head, name)
  local list, wanted = {}, name:lower()
  for i = 1, math.huge do
    local found, value = head:field(i)
    if not found then return list end
    if found:lower() == wanted then list[#list + 1] = value end
  end
end

--- A request.
--
-- Fields: `method`; `path`, decoded, and `raw_path`; `query_string`; `query`, a table of
-- the query's parameters (the first of each name); `target`, as it was sent; `version`,
-- `"1.1"` or `"1.0"`; `headers` (see below); `host`, without its port; `content_length`, nil
-- if nobody knows; `content_type`, without parameters; `keep_alive`; `remote_address`, the
-- client's Address, and `remote_host`, its host; `socket`; `server`; `over`: has its
-- handler returned? `trailers`, once a body has been read to its end: the fields that came
-- behind it, as `headers`, nil before; what is no field of a trailer, Content-Length for
-- instance, is not among them. A program may set fields of its own: `req.user = …`.
--
-- `req.headers["user-agent"]` is the value of a field, whatever the case of its
-- name; of several they are joined by commas (cookies by semicolons). `pairs(req.headers)`
-- goes through them in their order.
-- @type Request
local Request, lazy = core.request, core.request_lazy

--- The value of a field, as `headers` has it.
-- @function Request:header
-- @tparam string name
-- @treturn ?string

--- The n-th field.
-- @function Request:field
-- @tparam integer n
-- @treturn[1] string name
-- @treturn[1] string value
-- @treturn[2] nil if there are fewer

--- All values of a field.
-- @usage for _, via in ipairs(req:header_list "via") do print(via) end
-- @tparam string name
-- @treturn table
function Request:header_list(name) return M.header_list(self, name) end

--- Read of the body what is there: waits for at least one byte only.
-- @function Request:read_some
-- @tparam[opt] integer max bytes
-- @treturn[1] string
-- @treturn[2] nil at the end
-- @treturn[3] nil
-- @treturn[3] string `"closed"`, `"timeout"`, `"too large"` (see the server's `max_body`),
--   `"bad chunk"`

--- How much `read "a"` takes if nobody says otherwise.
M.MAX_WHOLE = 16 << 20

--- Read what is left of a request's or a response's body.
-- @param self what has `read_some`
-- @tparam ?integer max bytes; no more than these
-- @tparam function too_large called with self if there are more: what it returns is returned
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] ?string the phase, of a response
function M.read_all(self, max, too_large)
  local pieces, size = {}, 0
  while true do
    local piece, err, phase = self:read_some()
    if not piece then
      if err then return nil, err, phase end
      return table.concat(pieces)
    end
    size = size + #piece
    if max and size > max then return too_large(self) end
    pieces[#pieces + 1] = piece
  end
end

local function too_large(self)
  self:_refuse_body(413)
  return nil, "too large"
end

--- Read so many bytes of a request's or a response's body, or what is left of it.
-- @param self what has `read_some`
-- @tparam integer n
-- @treturn[1] string data
-- @treturn[2] nil at the end
-- @treturn[3] nil
-- @treturn[3] string message
-- @treturn[3] ?string the phase, of a response
function M.read_count(self, n)
  local pieces, left = {}, n
  while left > 0 do
    local piece, err, phase = self:read_some(left)
    if err then return nil, err, phase end
    if not piece then break end
    left = left - #piece
    pieces[#pieces + 1] = piece
  end
  if left == n and n > 0 then return nil end
  return table.concat(pieces)
end

--- Read of the body: so many bytes, or all of it.
-- @usage local body = assert(req:read "a")
-- @tparam[opt="a"] integer|string what a number of bytes (fewer at the end), or `"a"`
-- @tparam[opt=16777216] integer max for `"a"`: more is `"too large"`
-- @treturn[1] string
-- @treturn[2] nil at the end, for a number
-- @treturn[3] nil
-- @treturn[3] string as `read_some`
function Request:read(what, max)
  if what == nil or what == "a" or what == "*a" then
    return M.read_all(self, max or M.MAX_WHOLE, too_large)
  end
  if math.type(what) ~= "integer" or what < 0 then
    error(("bad argument #1 to 'read' (a number of bytes or \"a\" expected, got %s)"):format(
      tostring(what)), 2)
  end
  return M.read_count(self, what)
end

--- Iterate over the lines of the body, without their ends. A failure is raised.
-- @usage for line in req:lines() do count = count + 1 end
-- @tparam[opt=65536] integer max bytes of a line
-- @treturn function
function Request:lines(max)
  max = max or 65536
  local rest, at, ended = "", 1, false
  return function()
    while true do
      local stop = rest:find("\n", at, true)
      if stop or ended then
        local line = rest:sub(at, (stop or 0) - 1)
        at = stop and stop + 1 or #rest + 1
        if not stop then return line ~= "" and line or nil end
        return (line:gsub("\r$", ""))
      end
      rest, at = rest:sub(at), 1
      if #rest > max then error("a line of the body is too long", 0) end
      local piece, err = self:read_some()
      if err then error(err, 0) end
      if piece then rest = rest .. piece else ended = true end
    end
  end
end

--- All values of a parameter of the query.
-- @tparam string name
-- @treturn table
function Request:query_list(name)
  return require("greenlua.http.forms").list(self.query_string, name)
end

--- The body as JSON (through lua-cjson).
-- @tparam[opt] integer max bytes
-- @return[1] value
-- @treturn[2] nil
-- @treturn[2] string message
function Request:json(max)
  return require("greenlua.http.json").read(self, max)
end

--- The fields of a form, URL-encoded or multipart; see `greenlua.http.forms`.
-- @tparam[opt] table options
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] string message
function Request:form(options)
  return require("greenlua.http.forms").read(self, options)
end

--- Iterate over the parts of a multipart body; see `greenlua.http.multipart`.
-- @tparam[opt] table options
-- @treturn function
function Request:parts(options)
  return require("greenlua.http.multipart").parts(self, options)
end

local Headers = { __name = "headers" }

function Headers:__index(name)
  return rawget(self, 1):header(name)
end

function Headers:__newindex(name)
  error(("the header '%s' cannot be set: it is what came"):format(tostring(name)), 2)
end

function Headers:__pairs()
  local req, i = rawget(self, 1), 0
  return function()
    i = i + 1
    return req:field(i)
  end
end

--- The fields of a message as an object, `headers`. For greenlua's own modules.
-- @param head with the methods `header(name)` and `field(n)`
-- @treturn table
function M.headers_of(head)
  return setmetatable({ head }, Headers)
end

lazy.headers = M.headers_of

function lazy.trailers(req)
  local lines = req:_trailer()
  return lines and M.headers_of(require("greenlua.http.trailers").parse(lines))
end

function lazy.query(req)
  return require("greenlua.http.forms").decode(req.query_string)
end

function lazy.cookies(req)
  return require("greenlua.http.cookies").parse(req:header "cookie" or "")
end

function lazy.host(req)
  local host = req.target:match "^%a[%w+.-]*://([^/?#]*)" or req:header "host"
  return host and host:gsub(":%d*$", ""):lower()
end

function lazy.content_type(req)
  local value = req:header "content-type"
  return value and value:match "^[^;%s]*":lower()
end

function lazy.remote_address(req)
  local known = req._address
  if known then return known end
  local sock = req.socket
  return sock and address.of(sock, "getpeername")
end

function lazy.remote_host(req)
  local at = req.remote_address
  return at and at.host
end

--- A response.
--
-- Fields: `status` (200), to be set before anything is sent; `reason`, the words behind it,
-- the standard's unless the program sets others, after the status; `headers`; `head_sent`,
-- `finished`, `bytes_sent` (of the body); `compress`: false keeps this one from being
-- compressed; `over`.
--
-- `res.headers["content-type"] = "text/html"` sets a field, a list sets several, nil
-- takes it out. A value with a line end, or another control character, is
-- an error. Content-Length is that of the body unless the program says otherwise;
-- Date, Transfer-Encoding and Connection are the server's (`Connection: close` is heeded).
-- Without a Content-Type it is `text/plain; charset=utf-8`.
-- @type Response
local Response, lazy_response = core.response, core.response_lazy

--- Set a field, in place of what there was.
-- @function Response:set_header
-- @tparam string name
-- @tparam ?string|number|table value
-- @treturn Response itself

--- Add a field beside what there is.
-- @function Response:add_header
-- @tparam string name
-- @tparam string|number value
-- @treturn Response itself

--- The value of a field.
-- @function Response:get_header
-- @tparam string name
-- @treturn ?string

--- Take all fields out.
-- @function Response:clear_headers
-- @treturn Response itself

--- Send the whole response.
-- @usage res:set_header("Content-Type", "text/html"):send "<h1>hello</h1>"
-- @function Response:send
-- @tparam[opt=""] string|table body a string, or a list of strings
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string `"closed"`, `"timeout"`

--- Send a piece of the body, the head with the first; waits until it is on its way, so
-- nobody is faster than the client.
-- @function Response:write
-- @tparam string|table piece
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string `"closed"`, `"timeout"`

--- Answer 101, or open the tunnel of a CONNECT: the connection is the handler's from
-- then on, until it returns. Set the protocol's fields before.
-- @usage local sock = assert(res:upgrade "websocket")
-- @function Response:upgrade
-- @tparam string protocol
-- @treturn[1] socket with what the client has sent already
-- @treturn[2] nil
-- @treturn[2] string message

--- Cut the connection when the handler returns, so that the client does not take
-- what it has for the whole.
-- @function Response:abort

local framing = { ["content-length"] = true, ["transfer-encoding"] = true }

-- Fields that do not belong to the head.
local function lines_of(fields, what)
  local lines = {}
  for name, values in pairs(fields) do
    for _, value in ipairs(type(values) == "table" and values or { values }) do
      value = tostring(value)
      if framing[name:lower()] then error(("a %s cannot be '%s'"):format(what, name), 3) end
      if not name:find "^[%w!#$%%&'*+%-.^_`|~]+$" or value:find "%c" then
        error(("bad %s '%s'"):format(what, name), 3)
      end
      lines[#lines + 1] = ("%s: %s\r\n"):format(name, value)
    end
  end
  return table.concat(lines)
end

--- Send an interim response, 103 (Early Hints) for instance. Clients of HTTP/1.0 know
-- none, and get none.
-- @usage res:inform(103, { Link = "</style.css>; rel=preload; as=style" })
-- @tparam integer status 102 to 199
-- @tparam[opt] table fields
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string `"closed"`, `"timeout"`
function Response:inform(status, fields)
  return self:_inform(status, lines_of(fields or {}, "field"))
end

--- End the response. A handler that returns does it, too.
-- @tparam[opt] table trailers fields that follow a chunked body
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string `"closed"`, `"timeout"`
function Response:finish(trailers)
  return self:_finish(trailers and lines_of(trailers, "trailer"))
end

--- Send a file, or the part of it that was asked for; see `greenlua.http.static`.
-- @usage return res:send_file("report.pdf", { download = "report.pdf" })
-- @tparam string path
-- @tparam[opt] table options
-- @treturn[1] boolean true; also for a 304 or 416
-- @treturn[2] nil
-- @treturn[2] string message: it cannot be read; nothing is sent
function Response:send_file(path, options)
  return require("greenlua.http.static").send_file(self, path, options)
end

--- Send a value as JSON (through lua-cjson).
-- @param value
-- @tparam[opt] integer status
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Response:json(value, status)
  return require("greenlua.http.json").send(self, value, status)
end

--- Send the client elsewhere.
-- @tparam string location
-- @tparam[opt=302] integer status
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Response:redirect(location, status)
  self.status = status or 302
  return self:set_header("Location", location):send()
end

--- Set a cookie; see `greenlua.http.cookies`.
-- @tparam string name
-- @tparam ?string value nil: forget it
-- @tparam[opt] table options
-- @treturn Response itself
function Response:set_cookie(name, value, options)
  local cookie = require("greenlua.http.cookies").format(name, value, options)
  return self:add_header("Set-Cookie", cookie)
end

--- Begin a stream of server-sent events; see `greenlua.http.events`.
-- @tparam[opt] table options
-- @treturn Events
function Response:events(options)
  return require("greenlua.http.events").new(self.request, self, options)
end

local Fields = { __name = "headers" }

function Fields:__index(name)
  return rawget(self, 1):get_header(name)
end

function Fields:__newindex(name, value)
  rawget(self, 1):set_header(name, value)
end

function Fields:__pairs()
  local res, place = rawget(self, 1), 0
  return function()
    local after, name, value = res:header_at(place)
    place = after
    return name, value
  end
end

function lazy_response.headers(res)
  return setmetatable({ res }, Fields)
end

return M
