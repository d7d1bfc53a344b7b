-- Handshakes, reads and writes of a socket with a filter: the battery of all that
-- waits.

local connection = require "greenlua.ssl.connection"
local core = require "greenlua.core.socket"
local green = require "greenlua"
local sockets = require "spec.support.sockets"
local tls = require "spec.support.tls"
local waitable = require "spec.support.waitable"

describe("greenlua.core.socket with a filter", function()
  local ca, server, client

  setup(function() ca, server, client = tls.parties() end)
  teardown(function() ca:close() end)

  local function free(ends)
    ends.sock:close()
    ends.peer:close()
    green.sleep(0.001)
  end

  local function couple()
    local sock, peer = tls.couple(client, server, "localhost")
    return { sock = sock, peer = peer }
  end

  describe("handshake", function()
    waitable {
      new = function()
        local a, b = sockets.couple()
        return { sock = assert(connection.attach(a, client._core)), peer = b }
      end,
      wait = function(ends, timeout) return connection.handshake(ends.sock, timeout) end,
      expired = function(ok, why) assert.same({ nil, "timeout" }, { ok, why }) end,
      free = free,
    }

    it("is not done where it cannot be", function()
      local a <close> = core.tcp()
      assert.same({ nil, "closed" }, { core.handshake(a) })
      assert.error_matches(function() core.filter(a, a, {}) end, "filter expected")
      assert.error_matches(function() core.filter(a, 1, {}) end, "filter expected")
    end)

    it("can be polled for, and gives way", function()
      local a, b = sockets.couple()
      connection.attach(a, client._core)
      local g = green.spawn(server.accept, server, b, 60)
      local ok, why
      repeat
        ok, why = connection.handshake(a, 0)
      until ok or why ~= "timeout"
      assert.is_true(ok, why)
      assert.is_truthy(g:get())
    end)
  end)

  describe("receive", function()
    waitable {
      new = couple,
      wait = function(ends) return ends.sock:receive() end,
      no_timeout = true,
      free = free,
    }
  end)

  describe("send", function()
    waitable {
      new = function()
        local ends = couple()
        sockets.stuff(ends.sock)
        ends.sock:settimeout()
        return ends
      end,
      wait = function(ends) return ends.sock:send(("x"):rep(1 << 20)) end,
      no_timeout = true,
      free = free,
    }
  end)
end)
