-- An HTTP client whose servers say anything: what it takes for a response is what the reference
-- reads there, with the very same fields and body; and it always comes to an end, with all
-- connections given back.
--
-- "====" and a line end divide what the first connection, the second … says.
--
-- Options: 0, 1: the method; 2: a stream, read in small pieces; 3: no decoding; 4: no redirects;
-- 5: the connections stay open; 6: small limits; 7: cookies; 8: a second request.

local core = require "greenlua.core.http"
local green = require "greenlua"
local http = require "greenlua.http"
local input = require "spec.fuzz.input"
local reference = require "spec.fuzz.reference.http"
local socket = require "greenlua.socket"

local check = input.check

local methods = { [0] = "GET", "HEAD", "POST", "DELETE" }

-- What the connections say, and who says it.
local now

-- The client connects to us, wherever it wants to go.
function socket.connect(to)
  check(type(to.host) == "string" and to.port >= 1 and to.port <= 65535, "an address", to.host,
    to.port)
  if to.tls or to.port == 443 then return nil, "connection refused" end
  local mine, peer = socket.pair()
  local n = #now.peers + 1
  now.peers[n] = peer
  now.speakers[n] = green.spawn(input.send, peer, input.pieces(now.cuts, now.parts[n] or ""),
    now.keep)
  return mine
end

local function parts_of(bytes)
  local parts = {}
  for part in (bytes .. "====\n"):gmatch "(.-)====\n" do parts[#parts + 1] = part end
  return parts
end

-- The responses that one connection gives to requests of that method, interim ones left out.
local function final_response(bytes, at, method)
  for _ = 1, 101 do
    local m, after = reference.response(bytes, at, method)
    if not m then return nil end
    if m.status >= 200 or m.status == 101 then return m, after end
    at = after
  end
end

local function inflated(coding, body)
  local inflater, parts = core.inflater(coding), {}
  check(inflater:push(body), "push")
  while true do
    local piece, err = inflater:pull()
    check(not err, "inflate", err)
    if not piece then break end
    parts[#parts + 1] = piece
  end
  check(inflater:complete(), "the compression is cut short")
  return table.concat(parts)
end

local function check_body(res, body, wanted)
  check(wanted.complete, "a body that is not whole", body, wanted.body)
  local whole = wanted.body
  if res.decoded then whole = inflated(res.decoded, whole) end
  check(body == whole, "body", body, whole)
end

local function check_response(res, body, method)
  local at = #res.history + 1
  local wanted = final_response(now.parts[at] or "", 1, method)
  -- a redirect to the same place may have gone by the same connection
  if #now.peers ~= at or now.requests > 1 then return end
  check(wanted, "a response that is none", res.status, res.reason)
  check(res.status == wanted.status, "status", res.status, wanted.status)
  check(res.version == "1." .. wanted.minor, "version", res.version)
  for i, field in ipairs(wanted.fields) do
    local name, value = res._head:field(i)
    check(name == field[1] and value == field[2], "field", name, value, field[1], field[2])
  end
  check(not res._head:field(#wanted.fields + 1), "a field too much")
  if body then check_body(res, body, wanted) end
end

local function read_stream(res)
  local parts = {}
  if res.status == 101 then return nil end
  while true do
    local piece, err, phase = res:read_some(7)
    if err then
      check(type(err) == "string" and phase == "body", "a failure", err, phase)
      return nil
    end
    if not piece then return table.concat(parts) end
    check(#piece > 0 and #piece <= 7, "a piece", piece)
    parts[#parts + 1] = piece
  end
end

local function ask(client, options, method)
  now.requests = now.requests + 1
  local res, err, phase = client:request(options)
  if not res then
    check(type(err) == "string" and type(phase) == "string", "a failure", err, phase)
    return
  end
  local _ <close> = res
  local body = options.stream and read_stream(res) or res.body
  -- a POST may have become a GET
  local sent = #res.history > 0 and method == "POST" and "GET" or method
  check_response(res, body, sent)
  check(not res.content_length or not body or method == "HEAD" or #body == res.content_length,
    "content_length", res.content_length)
  for name, value in pairs(res.trailers or {}) do
    check(name == name:lower() and not value:find "[\r\n]", "trailer", name, value)
  end
end

return function(text)
  local has, cuts, bytes = input.split(text, 2)
  now = { cuts = cuts, parts = parts_of(bytes), keep = has(5), peers = {}, speakers = {},
    requests = 0 }
  local method = methods[(has(0) and 1 or 0) + (has(1) and 2 or 0)]
  local client = http.client { redirects = not has(4) and 3 or 0, cookies = has(7),
    max_body = has(6) and 20 or 1 << 16, max_line = has(6) and 100 or nil,
    max_headers = has(6) and 4 or nil, gzip = not has(3), timeouts = { header = 5, body = 5 } }
  local options = { url = "http://a.example/b/c?d", method = method, stream = has(2),
    body = method == "POST" and "hello" or nil }
  ask(client, options, method)
  if has(8) then ask(client, options, method) end
  local total, idle = client:counts()
  check(total == idle, "connections in use", total, idle)
  client:close()
  for i, speaker in ipairs(now.speakers) do
    speaker:join()
    now.peers[i]:close()
  end
end
