-- A reverse proxy: whatever it is asked, it asks another server, and bodies stream through
-- both ways, no faster than the slower side reads. Without a URL it stands before a
-- small server of its own.
--
-- usage: reverse_proxy.lua [port [http://upstream]]

local http = require "greenlua.http"

local port, upstream = tonumber(arg[1] or 8080), arg[2]

if not upstream then
  local server = http.Server("127.0.0.1:0", function(req)
    if req.method == "POST" then return function() return req:read_some() end end
    return ("%s for %s\n"):format(req.path, req.headers["x-forwarded-for"])
  end)
  assert(server:start())
  upstream = "http://127.0.0.1:" .. server.port
end
upstream = upstream:gsub("/$", "")

local client = http.client { redirects = 0, gzip = false, max_body = false }

-- These are about one connection, and end here (RFC 9110, 7.6.1).
local hop_by_hop = {
  connection = true, ["keep-alive"] = true, ["proxy-authenticate"] = true,
  ["proxy-authorization"] = true, ["proxy-connection"] = true, te = true, trailer = true,
  ["transfer-encoding"] = true, upgrade = true, expect = true,
}

local function end_to_end(headers)
  local dropped, list = {}, {}
  for name in (headers.connection or ""):gmatch "[^%s,]+" do dropped[name:lower()] = true end
  for name, value in pairs(headers) do
    local key = name:lower()
    if not hop_by_hop[key] and not dropped[key] then list[#list + 1] = { name, value } end
  end
  return list
end

local function request_headers(req)
  local list, via = {}, req.headers["x-forwarded-for"]
  for _, field in ipairs(end_to_end(req.headers)) do
    local key = field[1]:lower()
    if key ~= "host" and key ~= "x-forwarded-for" then list[#list + 1] = field end
  end
  list[#list + 1] = { "X-Forwarded-For", (via and via .. ", " or "") .. req.remote_host }
  list[#list + 1] = { "X-Forwarded-Host", req.host }
  return list
end

-- The target may be a whole URL, of which only this is ours to pass on.
local function path_of(req)
  return req.query_string == "" and req.raw_path or req.raw_path .. "?" .. req.query_string
end

local function ask(req)
  local has_body = req.content_length ~= 0 -- nil: chunked, nobody knows how much
  return client:request {
    method = req.method, url = upstream .. path_of(req), headers = request_headers(req),
    stream = true,
    body = has_body and function() return req:read_some() end or nil,
  }
end

local function forward(req, res)
  if req.raw_path:sub(1, 1) ~= "/" then return 501, "only paths are passed on\n" end
  local answer, err, phase = ask(req)
  if not answer then
    return phase == "header" and err == "timeout" and 504 or 502, ("%s: %s\n"):format(phase, err)
  end
  local _ <close> = answer
  res.status = answer.status
  for _, field in ipairs(end_to_end(answer.headers)) do res:add_header(field[1], field[2]) end
  while true do
    local piece, problem = answer:read_some()
    if problem then return res:abort() end -- half a body must not look like a whole one
    if not piece then return res:finish() end
    if not res:write(piece) then return end -- nobody reads it: its connection ends, too
  end
end

local server = http.Server("127.0.0.1:" .. port, forward)
assert(server:start())
print(("%s on port %d"):format(upstream, server.port))
server:serve_forever()
