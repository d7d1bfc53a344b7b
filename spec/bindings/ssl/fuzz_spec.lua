-- Random and mutated bytes for both sides of TLS: an error in time, and nothing is
-- left behind. The seed is printed when it fails; GREENLUA_FUZZ_SEED runs that one again.

local certificates = require "spec.support.certificates"
local green = require "greenlua"
local random_from = require "spec.support.random"
local sockets = require "spec.support.sockets"
local ssl = require "greenlua.ssl"

local ROUNDS = 25
local LIMIT = 0.03 -- seconds, for bytes that will never come

local seed = tonumber(os.getenv "GREENLUA_FUZZ_SEED") or os.time() % 1000000

describe("TLS and bytes that are none (seed " .. seed .. ")", function()
  local random
  before_each(function() random = random_from(seed) end)

  local ca, server, client

  setup(function()
    ca = certificates.authority()
    server = assert(ssl.server(ca:issue "localhost"))
    client = assert(ssl.client { ca = ca.certificate, sessions = false })
    math.randomseed(7)
  end)
  teardown(function() ca:close() end)

  local function bytes(n)
    local t = {}
    for i = 1, n do t[i] = string.char(random(256) - 1) end
    return table.concat(t)
  end

  -- The socket's end of a handshake, as one word.
  local function outcome(conn, why)
    if conn then return "ok" end
    assert.equal("string", type(why))
    return "failed"
  end

  it("refuses random bytes", function()
    for i = 1, ROUNDS do
      local a, b = sockets.couple()
      local text = bytes(random(301) - 1)
      -- Half of them look like a record at first.
      if i % 2 == 0 then text = "\22\3" .. string.char(random(5) - 1) .. text end
      b:send(text)
      b:shutdown "send"
      assert.equal("failed", i % 3 == 0 and outcome(client:connect(a, "localhost", 60))
        or outcome(server:accept(a, 60)))
      assert.equal(-1, a:getfd())
      b:close()
    end
  end)

  -- Copies what comes at `from` to `to`, changed now and then.
  local function relay(from, to, percent)
    return green.spawn(function()
      while true do
        local data = from:receive_some(random(2000))
        if not data then break end
        if random(100) <= percent then
          local at = random(#data)
          local kind = random(3)
          if kind == 1 then
            data = data:sub(1, at - 1) .. bytes(1) .. data:sub(at + 1)
          elseif kind == 2 then
            data = data:sub(1, at - 1) .. data:sub(at + 1)
          else
            data = data:sub(1, at)
            to:send(data)
            break
          end
        end
        if not to:send(data) then break end
      end
      from:close()
      to:close()
    end)
  end

  it("never takes changed bytes for sent ones", function()
    for i = 1, ROUNDS do
      local a, a2 = sockets.couple()
      local b, b2 = sockets.couple()
      local there, back = relay(a2, b2, 30), relay(b2, a2, 30)
      local text = bytes(random(20000))
      local g = green.spawn(function()
        local conn = server:accept(b, LIMIT)
        if not conn then return end
        conn:settimeout(LIMIT)
        local got, why, part = conn:receive "*a"
        conn:close()
        return got, why, part
      end)
      local conn = client:connect(a, "localhost", LIMIT)
      if conn then
        conn:settimeout(LIMIT)
        conn:send(text)
        if i % 2 == 0 then conn:update_keys() end
        conn:shutdown "send"
        conn:receive "*a"
        conn:close()
      end
      local got, why, part = g:get()
      if got then assert.is_true(got == text) end
      if part then assert.equal(part, text:sub(1, #part), why) end
      for _, one in ipairs { there, back } do one:join() end
    end
  end)

  it("gives up those who stall, all at once", function()
    local all, peers = {}, {}
    for i = 1, 100 do
      local a, b = sockets.couple()
      peers[i] = b
      if i % 2 == 0 then b:send "\22\3\1\2\0" end
      all[i] = green.spawn(server.accept, server, a, 0.05)
    end
    for i = 1, 100 do assert.same({ nil, "timeout" }, { all[i]:get() }) end
    for _, b in ipairs(peers) do b:close() end
  end)
end)
