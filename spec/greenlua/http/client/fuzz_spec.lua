-- Responses, good ones and spoilt ones, cut into pieces at random places. A good one is
-- read as it was meant; whatever comes, the client goes on and nothing is left behind.
-- GREENLUA_FUZZ_SEED runs another one.

local green = require "greenlua"
local http = require "greenlua.http"
local scripted = require "spec.support.scripted"

local seed = tonumber(os.getenv "GREENLUA_FUZZ_SEED") or 1

describe("http.client, given noise (seed " .. seed .. ")", function()
  local roll = require "spec.support.random"(seed)

  local function pick(list) return list[roll(#list)] end

  local function chunked(text)
    local out, left = {}, text
    while left ~= "" do
      local n = math.min(roll(40), #left)
      out[#out + 1] = ("%x%s\r\n%s\r\n"):format(n, pick { "", ";a=b", ' ; c="d"' }, left:sub(1, n))
      left = left:sub(n + 1)
    end
    return table.concat(out) .. "0\r\n" .. pick { "", "T: 1\r\n", "T: 1\r\nU: 2\r\n" } .. "\r\n"
  end

  -- The bytes, and the body that they mean.
  local function response()
    local body = ("0123456789"):rep(roll(300)):sub(roll(10))
    local status = pick { 200, 201, 404, 500, 204, 304 }
    local interim = pick {
      "", "", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 E\r\nA: b\r\n\r\n",
    }
    local head = interim .. ("HTTP/1.1 %d %s\r\n"):format(status, pick { "OK", "", "\xe9t\xe9" })
    for i = 1, roll(10) do
      head = head .. ("X-%d:%s%d\r\n"):format(i, pick { "", " ", "\t " }, i)
    end
    if status == 204 or status == 304 then return head .. "\r\n", "" end
    local kind = roll(3)
    if kind == 1 then return head .. "\r\n" .. body, body end
    if kind == 2 then
      return ("%sContent-Length: %d\r\n\r\n%s"):format(head, #body, body), body
    end
    return head .. "Transfer-Encoding: chunked\r\n\r\n" .. chunked(body), body
  end

  local spoilers = {
    function(text, at)
      return text:sub(1, at - 1) .. string.char(roll(256) - 1) .. text:sub(at + 1)
    end,
    function(text, at) return text:sub(1, at) end,
    function(text, at) return text:sub(1, at) .. text:sub(at + roll(5)) end,
    function(text, at)
      return text:sub(1, at) .. pick { "\r", "\n", "\0", "\r\n", " ", ":", "Content-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\n", "ffffffffffffffff" } .. text:sub(at + 1)
    end,
    function(text, at) return text .. text:sub(at) end,
  }

  local function send_in_pieces(peer, text)
    local at = 1
    while at <= #text do
      local n = roll(#text)
      if not peer:send(text:sub(at, at + n - 1)) then return end
      at = at + n
      green.sleep(0)
    end
  end

  local function run(times, check)
    local text
    local server <close> = scripted.server(function(peer)
      if not scripted.read(peer) then return end
      local mine = text
      send_in_pieces(peer, mine)
    end)
    local client <close> = http.client { timeout = 60, max_body = 1 << 20 }
    for _ = 1, times do
      local body
      text, body = check()
      local res, err, phase = client:get(server.url)
      if body and not (res and res.body == body) then
        error(("%q was not read as %q: %s %s"):format(text, body, tostring(err), tostring(phase)))
      elseif not res and (type(err) ~= "string" or (phase ~= "header" and phase ~= "body")) then
        error(("%q: %s, %s"):format(text, tostring(err), tostring(phase)))
      elseif err == "timeout" then
        error(("%q was waited for"):format(text))
      end
    end
    local total, idle = client:counts()
    assert.equal(total, idle)
  end

  it("reads what is good, however it is cut", function()
    run(150, response)
  end)

  it("survives what is not", function()
    run(400, function()
      local text = response()
      for _ = 1, roll(3) do text = pick(spoilers)(text, roll(#text)) end
      return text
    end)
  end)

  it("survives noise", function()
    run(100, function()
      local bytes = {}
      for i = 1, roll(400) do bytes[i] = string.char(roll(256) - 1) end
      return pick { "", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\n" } .. table.concat(bytes)
    end)
  end)

  it("survives proxies that make no sense", function()
    local text
    local proxy <close> = scripted.server(function(peer)
      if peer:receive_some() then send_in_pieces(peer, text) end
    end)
    local client <close> = http.client { timeout = 5, tls = { verify = false } }
    for _ = 1, 200 do
      local bytes = {}
      for i = 1, roll(40) do bytes[i] = string.char(roll(256) - 1) end
      text = pick { "", "\5", "\5\0", "\5\0\5\0\0", "\5\2\1\0\5\0\0\3", "\5\0\5\0\0\1\0\0\0\0\0\0",
        "HTTP/1.1 200 OK\r\n\r\n" } .. table.concat(bytes)
      local res, err, phase = client:get(pick { "http://x/", "https://x/" },
        { proxy = pick { "socks5h://127.0.0.1:", "socks5h://u:p@127.0.0.1:", "http://127.0.0.1:" }
          .. proxy.port })
      if not res and (type(err) ~= "string" or err == "timeout" or type(phase) ~= "string") then
        error(("%q: %s, %s"):format(text, tostring(err), tostring(phase)))
      end
    end
    local total, idle = client:counts()
    assert.equal(total, idle)
  end)
end)
