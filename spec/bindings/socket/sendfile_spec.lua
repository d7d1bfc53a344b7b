local green = require "greenlua"
local lfs = require "lfs"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local support = require "spec.support"
local waitable = require "spec.support.waitable"

local path, text

local function descriptors()
  local n = 0
  for _ in lfs.dir "/proc/self/fd" do n = n + 1 end
  return n
end

local full = sockets.full_ends

describe("greenlua.core.socket sendfile", function()
  setup(function()
    path = os.tmpname()
    local lines = {}
    for i = 1, 200000 do lines[i] = ("line %d\n"):format(i) end
    text = table.concat(lines)
    local file <close> = assert(io.open(path, "wb"))
    file:write(text)
  end)

  teardown(function() os.remove(path) end)

  waitable {
    new = full,
    wait = function(ends) return ends.sock:sendfile(path) end,
    no_timeout = true,
    free = function(ends)
      ends.peer:close()
      ends.sock:close()
    end,
  }

  it("sends a path, an open file or a descriptor, all of it", function()
    local file <close> = assert(io.open(path, "rb"))
    for _, couple in ipairs { socket.pair, sockets.couple } do
      local a, b <close> = couple()
      for _, what in ipairs { path, file, "of its own" } do
        local reader = green.spawn(b.receive, b, #text)
        assert.equal(#text, a:sendfile(what == "of its own" and assert(io.open(path)) or what))
        assert.is_true(reader:get() == text)
      end
      a:close()
    end
  end)

  it("sends a part, from an offset, of a length", function()
    local a, b <close> = sockets.couple()
    local function sent(...)
      local n = assert(a:sendfile(path, ...))
      return n == 0 and "" or b:receive(n)
    end
    assert.equal(text:sub(6, 15), sent(5, 10))
    assert.equal("line 1", sent(nil, 6))
    assert.equal(text:sub(-7), sent(#text - 7))
    assert.equal(text:sub(-7), sent(#text - 7, 1000))
    assert.equal("", sent(0, 0))
    assert.equal("", sent(#text))
    assert.equal("", sent(1 << 40))
    assert.same({ 0, #text }, { (select(1, a:getstats())), select(2, a:getstats()) + #text
      - 10 - 6 - 7 - 7 })
    a:close()
  end)

  it("neither uses nor moves the position of a file", function()
    local a, b <close> = socket.pair()
    local file <close> = assert(io.open(path, "rb"))
    assert.equal("line 1", file:read "l")
    a:sendfile(file, 7, 6)
    assert.equal("line 2", b:receive(6))
    assert.equal("line 2", file:read "l")
  end)

  it("sends what a program has just written to the file", function()
    local a, b <close> = socket.pair()
    local file <close> = assert(io.tmpfile())
    file:write "not flushed"
    assert.equal(11, a:sendfile(file))
    assert.equal("not flushed", b:receive(11))
  end)

  it("goes behind what has gathered", function()
    local a, b <close> = socket.pair()
    b:send "one\ntwo\n"
    a:receive()
    a:send "head "
    a:sendfile(path, 0, 7)
    assert.equal("head line 1", b:receive())
  end)

  it("gives on timeout how much was sent, and can go on from there", function()
    local a, b <close> = sockets.couple()
    a:settimeout(0.01)
    local n, err, sent = a:sendfile(path)
    if not n then
      assert.equal("timeout", err)
      local reader = green.spawn(b.receive, b, #text)
      a:settimeout()
      assert.equal(#text - sent, a:sendfile(path, sent))
      assert.is_true(reader:get() == text)
    end
    a:close()
  end)

  it("does what goes without waiting with a timeout of 0", function()
    local a, b <close> = socket.pair() -- luacheck: ignore
    a:settimeout(0)
    local n, err, sent = a:sendfile(path)
    assert.same({ nil, "timeout" }, { n, err })
    assert.is_true(sent > 0 and sent < #text)
    assert.equal(text:sub(1, sent), b:receive(sent))
  end)

  it("leaves no descriptor behind, however it ends", function()
    local before = descriptors()
    for _, how in ipairs { "close", "kill", "timeout", "peer" } do
      local a, b = socket.pair()
      local g = green.spawn(a.sendfile, a, path)
      green.sleep(0)
      if how == "close" then
        a:close()
        local n, err, sent = g:get()
        assert.same({ nil, "closed" }, { n, err })
        assert.is_true(sent > 0)
      elseif how == "kill" then
        g:kill()
      elseif how == "timeout" then
        assert.is_false(g:join(0.001))
        g:close()
      else
        b:close()
        assert.same({ nil, "closed" }, { table.unpack({ g:get() }, 1, 2) })
      end
      a:close()
      b:close()
    end
    assert.equal(before, descriptors())
  end)

  it("outlives the file that it was given", function()
    local a, b <close> = sockets.couple()
    local file = assert(io.open(path, "rb"))
    local g = green.spawn(a.sendfile, a, file)
    green.sleep(0)
    file:close()
    assert.is_true(b:receive(#text) == text)
    assert.equal(#text, g:get())
    a:close()
  end)

  it("tells what is wrong with a file", function()
    local a, b <close> = socket.pair()
    assert.same({ nil, "No such file or directory", 0 }, { a:sendfile "/no/such/file" })
    assert.same({ nil, "Is a directory", 0 }, { a:sendfile "/tmp" })
    assert.same({ nil, "Bad file descriptor", 0 }, { a:sendfile(98765) })
    local pipe <close> = io.popen "echo x"
    assert.same({ nil, "Illegal seek", 0 }, { a:sendfile(pipe) })
    assert.same({ nil, "Illegal seek", 0 }, { a:sendfile(b:getfd()) })
    local file = assert(io.open(path))
    file:close()
    assert.error_matches(function() a:sendfile(file) end, "#1 to 'sendfile' %(the file is closed")
    assert.error_matches(function() a:sendfile {} end, "file, path or descriptor expected")
    assert.error_matches(function() a:sendfile(path, -1) end, "#2 to 'sendfile' %(offset")
    assert.error_matches(function() a:sendfile(path, 0, -1) end, "#3 to 'sendfile' %(length")
    a:close()
    assert.same({ nil, "closed", 0 }, { a:sendfile(path) })
  end)

  it("never dies of SIGPIPE, under a host that lets it", function()
    local pipe <close> = assert(io.popen(([[env -u LD_PRELOAD --default-signal=PIPE %s -e '
      local socket = require "greenlua.socket"
      local a, b = socket.pair()
      b:close()
      print(a:sendfile "/proc/self/exe")
      print(a:sendfile "/proc/self/exe")' 2>&1]]):format(support.greenlua)))
    assert.equal("nil\tclosed\t0\nnil\tclosed\t0\n", pipe:read "a")
  end)

  it("ends at once where the socket has failed before", function()
    local a, b = socket.pair()
    b:close()
    assert.same({ nil, "closed", 0 }, { a:sendfile(path) })
    a:close()
  end)
end)
