local green = require "greenlua"
local lfs = require "lfs"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local waitable = require "spec.support.waitable"

local function expired(...) assert.same({ n = 2, nil, "timeout" }, table.pack(...)) end

local pair, free = sockets.ends, sockets.free

describe("greenlua.core.socket", function()
  describe("wait_read of a descriptor", function()
    waitable {
      new = pair,
      wait = function(ends, timeout) return socket.wait_read(ends.sock:getfd(), timeout) end,
      expired = expired,
      free = free,
    }
  end)

  describe("wait_read of a socket", function()
    waitable {
      new = pair,
      wait = function(ends, timeout) return socket.wait_read(ends.sock, timeout) end,
      expired = expired,
      free = free,
    }
  end)

  describe("wait_write", function()
    waitable {
      new = function()
        local ends = pair()
        sockets.stuff(ends.sock)
        return ends
      end,
      wait = function(ends, timeout) return socket.wait_write(ends.sock, timeout) end,
      expired = expired,
      free = free,
    }
  end)

  it("lets several greenlets wait for one descriptor", function()
    local a, b <close> = socket.pair()
    local fd, waiters = a:getfd(), {}
    for i = 1, 5 do waiters[i] = green.spawn(socket.wait_read, fd) end
    green.sleep(0)
    b:send "x"
    for _, g in ipairs(waiters) do assert.is_true(g:get()) end
  end)

  it("waits for any object that has getfd", function()
    local a, b <close> = socket.pair()
    local object = { getfd = function() return a:getfd() end }
    assert.is_true(socket.wait_write(object))
    assert.same({ nil, "timeout" }, { socket.wait_read(object, 0) })
    b:send "x"
    assert.is_true(socket.wait_read(object, 0))
  end)

  it("knows what a socket has buffered", function()
    local a, b <close> = socket.pair()
    b:send "one\ntwo\n"
    a:receive()
    assert.is_true(socket.wait_read(a, 0))
  end)

  it("is ready at the end of the stream", function()
    local a <close>, b = socket.pair()
    b:close()
    assert.is_true(socket.wait_read(a))
  end)

  it("ends when the socket is closed", function()
    local a, b <close> = socket.pair() -- luacheck: ignore
    local g = green.spawn(socket.wait_read, a)
    green.sleep(0)
    a:close()
    assert.same({ nil, "closed" }, { g:get() })
    assert.same({ nil, "closed" }, { socket.wait_read(a) })
  end)

  it("tells of what is no descriptor", function()
    assert.same({ nil, "Bad file descriptor" }, { socket.wait_read(987654) })
    assert.same({ nil, "closed" }, { socket.wait_read(-1) })
    for name in lfs.dir "/proc/self/fd" do -- the loop's own
      local target = lfs.symlinkattributes("/proc/self/fd/" .. name, "target")
      if target == "anon_inode:[eventpoll]" then
        assert.same({ nil, "closed" }, { socket.wait_read(tonumber(name), 1) })
      end
    end
    assert.error_matches(function() socket.wait_read "x" end, "descriptor or object with getfd")
    assert.error_matches(function() socket.wait_read {} end, "descriptor or object with getfd")
    assert.error_matches(function() socket.wait_read() end, "descriptor or object with getfd")
    local object = { getfd = function() return {} end }
    assert.error_matches(function() socket.wait_write(object) end, "gives no number")
  end)

  it("watches a descriptor's number anew after it was closed and used again", function()
    for _ = 1, 3 do
      local a, b <close> = socket.pair()
      assert.same({ nil, "timeout" }, { socket.wait_read(a:getfd(), 0.001) })
      b:send "x"
      assert.is_true(socket.wait_read(a:getfd(), 1))
    end
  end)
end)
