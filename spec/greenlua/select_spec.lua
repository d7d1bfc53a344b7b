local green = require "greenlua"
local core = require "greenlua.core"
local lfs = require "lfs"
local socket = require "greenlua.socket"
local select_ = require "greenlua.select"
local sockets = require "spec.support.sockets"
local waitable = require "spec.support.waitable"

local function turn(n)
  for _ = 1, n or 1 do green.sleep(0) end
end

local function couple()
  local a, b = socket.pair()
  return { a, b }
end

local function free(pair)
  pair[1]:close()
  pair[2]:close()
end

describe("greenlua.select", function()
  describe("select", function()
    waitable {
      new = couple,
      wait = function(pair, timeout) return green.select({ pair[1] }, nil, timeout) end,
      free = free,
      expired = function(r, w, why)
        assert.same({ {}, {}, "timeout" }, { r, w, why })
      end,
    }
  end)

  describe("Poll:poll", function()
    waitable {
      new = function()
        local pair = couple()
        pair.poll = select_.poll()
        pair.poll:register(pair[1], select_.POLLIN)
        return pair
      end,
      wait = function(pair, timeout) return pair.poll:poll(timeout) end,
      free = free,
      expired = function(ready) assert.same({}, ready) end,
    }
  end)

  local a, b
  before_each(function() a, b = socket.pair() end)
  after_each(function() a:close() b:close() end)

  it("wakes all who wait for one", function()
    local order, waiters = {}, {}
    for i = 1, 5 do
      waiters[i] = green.spawn(function()
        green.select { a }
        order[#order + 1] = i
      end)
    end
    turn(2)
    b:send "x"
    green.joinall(waiters)
    table.sort(order)
    assert.same({ 1, 2, 3, 4, 5 }, order)
  end)

  it("says who can be read, and who can be written", function()
    b:send "x"
    local r, w, why = green.select({ a, b }, { b, a })
    assert.equal(1, #r)
    assert.equal(a, r[1])
    assert.equal(1, r[a])
    assert.is_nil(r[b])
    assert.equal(2, #w)
    assert.equal(2, w[a])
    assert.is_nil(why)
  end)

  it("takes numbers of descriptors, and objects with getfd", function()
    b:send "x"
    local fd = a:getfd()
    assert.same({ fd }, (green.select({ fd }, nil, 0)))
    local object = { getfd = function() return fd end }
    assert.equal(object, (green.select({ object }))[1])
  end)

  it("finds what lies in a socket's buffer", function()
    b:send "one\ntwo\n"
    assert.equal("one", a:receive())
    assert.equal(a, (green.select({ a }, nil, 60))[1])
    assert.equal("two", a:receive())
    assert.same({}, (green.select({ a }, nil, 0)))
  end)

  it("is a way to sleep without anything to wait for", function()
    local began = core.now()
    assert.same({ {}, {}, "timeout" }, { green.select({}, {}, 0.005) })
    assert.same({ {}, {}, "timeout" }, { green.select(nil, nil, 0.001) })
    assert.is_true(core.now() - began >= 0.006)
  end)

  it("takes gevent's third list, if it is empty", function()
    assert.same({ {}, {}, "timeout" }, { green.select({}, {}, {}, 0.001) })
    assert.has_error(function() green.select({}, {}, { a }, 0.001) end)
    assert.has_error(function() green.select({}, {}, {}, -1) end)
  end)

  it("ignores closed sockets", function()
    local c = socket.pair()
    c:close()
    assert.same({ {}, {}, "timeout" }, { green.select({ c }, { c }, 0.001) })
  end)

  it("tells of one that is closed meanwhile", function()
    local g = green.spawn(green.select, { a }, nil, 60)
    turn(2)
    a:close()
    local r = g:get()
    assert.equal(a, r[1])
  end)

  it("tells of the end", function()
    b:close()
    assert.equal(a, (green.select({ a }, nil, 60))[1])
  end)

  it("waits for many, on several sides", function()
    local all, readers = {}, {}
    for i = 1, 200 do
      local one, two = socket.pair()
      all[i], readers[i] = { one, two }, one
    end
    local g = green.spawn(green.select, readers)
    turn(2)
    all[17][2]:send "x"
    all[111][2]:send "x"
    local r = g:get()
    assert.same({ readers[17], readers[111] }, { r[1], r[2] })
    for _, pair in ipairs(all) do free(pair) end
  end)

  it("waits for one descriptor beside others who do", function()
    local reader = green.spawn(a.receive, a, 1)
    local first = green.spawn(green.select, { a })
    local second = green.spawn(green.select, { a }, { a })
    turn(2)
    assert.equal(a, (select(2, second:get()))[1]) -- writable
    local lists = 0
    first:link(function() lists = lists + 1 end)
    b:send "xy"
    assert.equal("x", reader:get())
    first:get()
  end)

  it("writes out first what has gathered in a socket", function()
    b:send "1\n2\n"
    a:receive() -- more is there: what a sends now gathers
    a:send "answer\n"
    local r = green.select({ b }, nil, 60)
    assert.equal(b, r[1])
    assert.equal("answer", b:receive())
  end)

  it("lets others run when it is called in a loop", function()
    local ran = 0
    local other = green.spawn(function() while true do ran = ran + 1 green.sleep(0) end end)
    for _ = 1, 1000 do green.select({ a }, nil, 0) end
    assert.is_true(ran > 10)
    ran = 0
    b:send "x"
    for _ = 1, 10000 do green.select({ a }) end
    assert.is_true(ran > 10)
    other:kill()
  end)

  it("leaves a descriptor alone afterwards", function()
    -- A watcher left behind would see the next descriptor of that number.
    for _ = 1, 20 do
      local c, d = socket.pair()
      local g = green.spawn(green.select, { c }, nil)
      turn(2)
      g:kill()
      free { c, d }
      local e, f = socket.pair()
      assert.is_false((green.within(0.001, green.select, { e })))
      f:send "x"
      assert.equal(e, (green.select({ e }, nil, 60))[1])
      free { e, f }
    end
  end)

  it("serves a connection that has been made meanwhile", function()
    local server, port = sockets.listen()
    local g = green.spawn(green.select, { server })
    turn(2)
    local client = assert(socket.connect("127.0.0.1", port))
    assert.equal(server, g:get()[1])
    local peer = assert(server:accept())
    free { client, peer }
    server:close()
  end)

  -- A pipe that Lua's own library has opened, and its descriptor.
  local function foreign()
    local path = os.tmpname()
    os.remove(path)
    assert(os.execute("mkfifo " .. path))
    local file = assert(io.open(path, "r+"))
    local fd
    for name in lfs.dir "/proc/self/fd" do
      if lfs.symlinkattributes("/proc/self/fd/" .. name, "target") == path then
        fd = tonumber(name)
      end
    end
    os.remove(path)
    return file, fd
  end

  it("outlives a descriptor that others close, sooner or later", function()
    for turns = 1, 3 do
      local file, fd = foreign()
      local g = green.spawn(green.select, { fd, a })
      local h = green.spawn(socket.wait_read, fd)
      turn(turns)
      if turns == 3 then green.sleep(0.001) end
      file:close()
      if turns < 3 then
        assert.same({ nil, "closed" }, { h:get() })
        assert.same({ fd }, (g:get()))
      else -- the kernel tells nobody: it is seen when something else happens
        green.sleep(0.002)
        h:kill()
        b:send "x"
        local r = g:get()
        assert.same({ fd, a }, { r[1], r[2] })
        a:receive(1)
      end
    end
  end)

  it("is socket.select, too, which takes a negative timeout for none", function()
    b:send "x"
    assert.equal(a, (socket.select({ a }, nil, -1))[1])
    assert.same({ {}, {}, "timeout" }, { socket.select({ b }, nil, 0) })
  end)

  it("refuses what has no descriptor", function()
    for _, bad in ipairs { { {} }, { "x" }, { 1.5 }, { print } } do
      local ok, err = pcall(green.select, bad, nil, 0)
      assert.is_false(ok)
      assert.matches("bad argument #1 to 'select' %(descriptor or object with getfd", err)
    end
    assert.has_error(function() green.select(1) end)
    assert.has_error(function() green.select(nil, 1) end)
    local ok, err = pcall(green.select, { 999 }, nil, 0)
    assert.is_false(ok)
    assert.matches("descriptor 999 is not open", err)
  end)

  describe("a Poll", function()
    local poll
    before_each(function() poll = select_.poll() end)

    it("tells what has happened to whom", function()
      poll:register(a)
      poll:register(b, select_.POLLIN)
      assert.equal(2, #poll)
      local ready = poll:poll(60)
      assert.same({ { a, select_.POLLOUT } }, ready)
      a:send "x"
      ready = poll:poll(60)
      assert.equal(2, #ready)
      assert.equal(b, ready[2][1])
      assert.equal(select_.POLLIN, ready[2][2])
      b:receive(1)
      assert.equal(1, #poll:poll(60))
    end)

    it("has others' events changed, and takes them out", function()
      poll:register(a)
      poll:modify(a, select_.POLLIN)
      assert.same({}, poll:poll(0))
      poll:register(a, select_.POLLOUT)
      assert.equal(1, #poll)
      poll:register(b, select_.POLLOUT)
      poll:unregister(a)
      assert.same({ { b, select_.POLLOUT } }, poll:poll(0))
      poll:unregister(b)
      assert.same({}, poll:poll(0.001))
      assert.equal("Poll: 0", tostring(poll))
    end)

    it("tells of the other side's end", function()
      poll:register(a, select_.POLLIN)
      b:close()
      local event = poll:poll(60)[1][2]
      assert.is_true(event & (select_.POLLIN | select_.POLLHUP) ~= 0)
    end)

    it("tells of a closed one, before and meanwhile", function()
      poll:register(a, select_.POLLIN)
      local g = green.spawn(poll.poll, poll)
      turn(2)
      a:close()
      assert.same({ { a, select_.POLLNVAL } }, g:get())
      assert.same({ { a, select_.POLLNVAL } }, poll:poll())
    end)

    it("finds what lies in a socket's buffer", function()
      b:send "one\ntwo\n"
      a:receive()
      poll:register(a, select_.POLLIN)
      assert.same({ { a, select_.POLLIN } }, poll:poll(60))
    end)

    it("refuses who isn't registered, and events that there aren't", function()
      assert.has_error(function() poll:unregister(a) end)
      assert.has_error(function() poll:modify(7, 1) end,
        "bad argument #1 to 'modify' (7 is not registered)")
      assert.has_error(function() poll:register(a, 1024) end)
      assert.has_error(function() poll:register({}) end)
      assert.equal(0, #poll)
    end)
  end)
end)
