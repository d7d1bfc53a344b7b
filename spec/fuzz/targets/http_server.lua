-- An HTTP server, one connection of noise: the handler is called for what the reference reads
-- there, with the very same fields and bodies, and for nothing else; what goes back is a
-- response for each; and somebody else is served meanwhile.
--
-- Options: 0, 1: how the body is read; 2, 3: how it is answered; 4: the connection is not
-- shut down; 5: compression; 6: a good neighbour; 7: small limits; 8: a slow sender.

local core = require "greenlua.core.http"
local green = require "greenlua"
local input = require "spec.fuzz.input"
local reference = require "spec.fuzz.reference.http"
local respond = require "greenlua.http.respond"
local socket = require "greenlua.socket"
require "greenlua.http.message"

local check = input.check

local function settings_of(owner, handler, small, gzip)
  return {
    owner = owner, respond = respond.respond, fail = respond.fail, handler = handler,
    log = function() end, gzip = gzip, gzip_min = 1,
    header_timeout = 10, idle_timeout = 75, body_timeout = 30, write_timeout = 60,
    body_rate = 240, body_grace = 5, max_body_time = false, max_line = small and 100 or 8192,
    max_headers = small and 5 or 100, max_head = small and 300 or 65536,
    max_body = small and 20 or 5000, max_drain = small and 10 or 1000,
  }
end

-- What is asked of the handler now, and what it has seen.
local now

local function fields_of(req)
  local list = {}
  for i = 1, math.huge do
    local name, value = req:field(i)
    if not name then return list end
    list[i] = { name, value }
  end
end

local readers = { [0] = function() end,
  function(req) return req:read "a" end,
  function(req)
    local parts = {}
    while true do
      local piece, err = req:read_some(3)
      if err then return nil, err end
      if not piece then return table.concat(parts) end
      parts[#parts + 1] = piece
      if #parts % 4 == 0 then green.idle() end
    end
  end,
  function(req)
    local first = req:read_some(5)
    check(not first or #first <= 5, "too much was read")
  end }

local TEXT <const> = "this is a text of some length; this is a text of some length\n"

local answers = { [0] = function() return "ok\n" end,
  function() return TEXT:gmatch "%S+" end,
  function(_, res)
    res:write "x"
    green.idle()
    res:write "y"
  end,
  function(req, res)
    res.status = 201
    res.headers["X-Path"] = core.escape and core.escape(req.path) or #req.path
    return { TEXT, TEXT, #req.query_string }
  end }

local function trailers_of(req)
  local list = {}
  if not req.trailers then return nil end
  for name, value in pairs(req.trailers) do list[#list + 1] = { name, value } end
  return list
end

local function handler(req, res)
  local mine = now
  local seen = { method = req.method, target = req.target, minor = tonumber(req.version:sub(-1)),
    fields = fields_of(req), keep_alive = req.keep_alive, raw_path = req.raw_path,
    query_string = req.query_string }
  table.insert(mine.seen, seen)
  for _, name in ipairs { "host", "query", "cookies", "content_type", "path" } do
    check(name == "content_type" or name == "host" or req[name], name)
  end
  seen.body, seen.error = readers[mine.reads](req)
  if seen.body then seen.trailers = trailers_of(req) end
  return answers[mine.answers](req, res)
end

local owner = { report = function(_, err, trace) error(tostring(err) .. (trace or ""), 0) end }

-- [small][gzip]
local servers = {}
for _, small in ipairs { true, false } do
  servers[small] = {}
  for _, gzip in ipairs { true, false } do
    servers[small][gzip] = core.server(settings_of(owner, handler, small, gzip))
  end
end
local neighbours = core.server(settings_of(owner, function(req) return req:read "a" end, false,
  false))

-- Fields and bodies ---------------------------------------------------------------------

local function same_fields(got, wanted, what)
  check(#got == #wanted, what .. ": their number", #got, #wanted)
  for i, field in ipairs(got) do
    check(field[1] == wanted[i][1] and field[2] == wanted[i][2], what, field[1], field[2],
      wanted[i][1], wanted[i][2])
  end
end

local function check_trailers(got, wanted)
  local at = 1
  for _, field in ipairs(got) do
    while wanted[at] and not (wanted[at][1] == field[1] and wanted[at][2] == field[2]) do
      at = at + 1
    end
    check(wanted[at], "a trailer that nobody sent", field[1], field[2])
  end
end

local function check_request(got, wanted)
  check(wanted, "a request that is none", got.method, got.target)
  for _, name in ipairs { "method", "target", "minor" } do
    check(got[name] == wanted[name], name, got[name], wanted[name])
  end
  local path, query = reference.split_target(wanted)
  check(got.raw_path == path and got.query_string == query, "target", got.raw_path,
    got.query_string, path, query)
  check(got.keep_alive == not wanted.last or got.method == "CONNECT", "keep_alive", got.keep_alive)
  same_fields(got.fields, wanted.fields, "fields")
  if not got.body then return end
  check(wanted.complete, "a body that is not whole", got.body, wanted.body)
  check(got.body == wanted.body, "body", got.body, wanted.body)
  if got.trailers then check_trailers(got.trailers, wanted.trailers or {}) end
end

-- RFC 9110, 12.5.3: of several items the first one for gzip counts here.
local function accepts_gzip(fields)
  local value = reference.values_of(fields, "accept-encoding")[1] or ""
  for item in value:gmatch "[^,]+" do
    local name, rest = item:match "^[ \t]*([^; \t]*)[ \t]*(.*)$"
    if name:lower() == "gzip" then
      local q = rest:match "^;[ \t]*[qQ]=([%d.]*)"
      return not (q and q:find "^0?%.?0*$" and q ~= "")
    end
  end
  return false
end

-- Each request has its response; a refusal, or what is cut, comes last.
local function check_replies(reply, seen)
  local at, count = 1, 0
  while at <= #reply do
    local asked = seen[count + 1]
    local m, after = reference.response(reply, at, asked and asked.method)
    check(m, "no response", reply:sub(at, at + 300))
    if m.status >= 200 then
      count = count + 1
      check(asked or m.status >= 400, "a response that nobody asked for", m.status)
      check(count <= #seen + 1, "too many responses", count)
      local coding = reference.values_of(m.fields, "content-encoding")[1]
      if coding then
        check(asked and accepts_gzip(asked.fields), "gzip for somebody who wants none")
      end
    end
    if not m.complete then break end
    at = after or #reply + 1
  end
  check(count >= #seen, "a request without a response", count, #seen)
end

-- ---------------------------------------------------------------------------------------

local function talk_well()
  local a, b = socket.pair()
  local serving = green.spawn(core.serve, b, neighbours)
  a:send "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
  green.idle()
  a:send "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
  local reply = a:receive "*a"
  check(reply:find "\r\n\r\nhiHTTP/1.1 200 OK\r\n.*\r\n\r\n$", "the neighbour got", reply)
  a:close()
  serving:join()
  b:close()
end

return function(text)
  local has, cuts, bytes = input.split(text, 2)
  now = { seen = {}, reads = (has(0) and 1 or 0) + (has(1) and 2 or 0),
    answers = (has(2) and 1 or 0) + (has(3) and 2 or 0) }
  local a, b = socket.pair()
  local server = servers[has(7)][has(5)]
  local serving = green.spawn(core.serve, b, server)
  local sending = green.spawn(input.send, a, input.pieces(cuts, bytes), has(4))
  local neighbour = has(6) and green.spawn(talk_well)
  local reply, err, partial = a:receive "*a"
  reply = reply or partial
  check(err == nil or err == "closed", "the client's end", err)
  sending:join()
  a:close()
  serving:join()
  b:close()
  if neighbour then neighbour:join() end
  check(server:counts() == 0, "a connection is left", (server:counts()))
  local wanted = reference.requests(bytes)
  for i, seen in ipairs(now.seen) do check_request(seen, wanted[i]) end
  check_replies(reply, now.seen)
end
