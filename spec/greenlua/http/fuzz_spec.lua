-- Requests, good ones and spoilt ones, cut into pieces at random places. Whatever
-- comes, the answers are well-formed, nobody else is disturbed, and nothing is left.
-- GREENLUA_FUZZ_SEED runs another one.

local green = require "greenlua"
local web = require "spec.support.http"

local seed = tonumber(os.getenv "GREENLUA_FUZZ_SEED") or 1

describe("http.Server, given noise (seed " .. seed .. ")", function()
  local server, random

  setup(function()
    server = web.server(function(req, res)
      local path = req.path
      if path == "/read" then return assert(req:read "a") end
      if path == "/some" then req:read_some(3) end
      if path == "/stream" then return ("a b c"):gmatch "%S" end
      if path == "/write" then
        res:write "x"
        green.sleep(0)
        res:write "y"
      end
      if path == "/echo" then
        local all = {}
        for name, value in pairs(req.headers) do all[#all + 1] = name .. value end
        return all
      end
      return "ok"
    end, { header_timeout = 0.2, idle_timeout = 0.2, body_timeout = 0.2, max_body = 5000,
      max_drain = 1000 })
  end)

  teardown(function() server:stop(0) end)

  before_each(function()
    random = seed
    server.failures = {}
  end)

  -- Of our own, so that a seed means the same everywhere.
  local function roll(n)
    random = (random * 6364136223846793005 + 1442695040888963407)
    return (random >> 33) % n + 1
  end

  local function pick(list) return list[roll(#list)] end

  local paths = { "/", "/read", "/some", "/stream", "/write", "/echo", "/a%20b?c=d" }
  local methods = { "GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE" }

  local function body_of(n)
    local text = ("0123456789"):rep(n // 10 + 1):sub(1, n)
    if roll(2) == 1 then return ("Content-Length: %d\r\n\r\n%s"):format(n, text) end
    local out = { "Transfer-Encoding: chunked\r\n\r\n" }
    while text ~= "" do
      local size = math.min(roll(50), #text)
      out[#out + 1] = ("%x\r\n%s\r\n"):format(size, text:sub(1, size))
      text = text:sub(size + 1)
    end
    out[#out + 1] = "0\r\n\r\n"
    return table.concat(out)
  end

  local function request()
    local head = ("%s %s HTTP/1.%d\r\nHost: x\r\n"):format(pick(methods), pick(paths), roll(2) - 1)
    for _ = 1, roll(4) do head = head .. ("X-%d: %s\r\n"):format(roll(9), ("v"):rep(roll(40))) end
    return roll(2) == 1 and head .. "\r\n" or head .. body_of(roll(300))
  end

  local noise = { "\r", "\n", "\0", " ", "\t", ":", "\r\n", "\r\n\r\n", "%", "\255", "0", "5\r\n",
    "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n",
    "Expect: 100-continue\r\n", "GET / HTTP/1.1\r\n", ";" }

  local function spoil(bytes)
    for _ = 1, roll(3) do
      local at, what = roll(#bytes), roll(4)
      local before, after = bytes:sub(1, at - 1), bytes:sub(at)
      if what == 1 then
        bytes = before .. pick(noise) .. after
      elseif what == 2 then
        bytes = before .. after:sub(1 + roll(8))
      elseif what == 3 then
        bytes = before .. string.char(roll(256) - 1) .. after:sub(2)
      else
        bytes = before .. after:sub(1, roll(20)) .. after
      end
      if bytes == "" then return "x" end
    end
    return bytes
  end

  local function send_in_pieces(conn, bytes)
    while bytes ~= "" do
      local n = roll(#bytes)
      if not conn:send(bytes:sub(1, n)) then return end
      bytes = bytes:sub(n + 1)
      if roll(2) == 1 then green.sleep(0) end
    end
    if roll(4) > 1 then conn:shutdown "send" end
  end

  -- The answers must be a sequence of whole responses; a cut one can only be the last.
  -- Whether a response is one to HEAD is not known here: its body is absent then.
  local function check(reply)
    local at = 1
    while at <= #reply do
      local head, last = reply:match("^(HTTP/1%.1 %d%d%d [^\r\n]*\r\n.-\r\n\r\n)()", at)
      assert.is_string(head, "no response: " .. reply:sub(at, at + 60))
      for line in head:gmatch "([^\r\n]*)\r\n" do
        assert.is_truthy(line == "" or line:find "^HTTP/1%.1 %d"
          or line:find "^[%w-]+: [^\r\n\0]*$", line)
      end
      at = last
      if not reply:find("^HTTP/1%.1 ", at) then
        local size = tonumber(head:match "\r\nContent%-Length: (%d+)\r\n")
        if head:find("Transfer-Encoding: chunked", 1, true) then
          local _, stop = reply:find("\r\n0\r\n\r\n", at - 2, true)
          at = stop and stop + 1 or #reply + 1
        else
          at = at + (size or #reply)
        end
      end
    end
  end

  local function one_connection(bytes)
    local conn <close> = web.connect(server)
    conn:settimeout(60)
    local sending = green.spawn(send_in_pieces, conn, bytes)
    local reply, err, partial = conn:receive "*a"
    sending:kill()
    assert.not_equal("timeout", err)
    check(reply or partial)
  end

  -- Somebody who behaves, before and after each.
  local function bystander()
    local r = web.get(server, "/")
    assert.equal(200, r.status)
    assert.equal("ok", r.body)
  end

  it("answers good requests however they are cut", function()
    for _ = 1, 60 do
      local bytes, count = "", roll(4)
      for _ = 1, count do bytes = bytes .. request() end
      one_connection(bytes)
    end
    bystander()
    assert.same({}, server.failures)
  end)

  it("survives bad ones", function()
    for i = 1, 200 do
      one_connection(spoil(request() .. request()))
      if i % 20 == 0 then bystander() end
    end
    for i, failure in ipairs(server.failures) do
      assert.is_nil(failure:find "greenlua[/.]", i .. ": " .. failure)
    end
  end)

  it("survives those who leave at any point", function()
    for _ = 1, 100 do
      local conn = web.connect(server)
      local bytes = request()
      conn:send(bytes:sub(1, roll(#bytes)))
      for _ = 1, roll(4) do green.sleep(0) end
      if roll(2) == 1 then conn:setoption("linger", { on = true, timeout = 0 }) end -- a reset
      conn:close()
    end
    bystander()
  end)

  it("survives a kill at any point", function()
    local own = web.server(function(req)
      green.sleep(0)
      return assert(req:read "a")
    end)
    for i = 1, 30 do
      local conn <close> = web.connect(own)
      conn:send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
        .. (i % 2 == 0 and "hello" or ""))
      for _ = 1, roll(8) do green.sleep(0) end
      own:stop(0)
      assert(own:start())
    end
    own:stop(0)
    assert.equal(0, (own:counts()))
  end)
end)
