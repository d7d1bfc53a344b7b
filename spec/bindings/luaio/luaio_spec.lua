-- The functions that stand for those of io and os, one by one; nothing is patched
-- here. What they return is compared in differential_spec.lua.

local await = require "spec.support.await"
local core = require "greenlua.core"
local green = require "greenlua"
local luaio = require "greenlua.core.luaio"
local support = require "spec.support"
local waitable = require "spec.support.waitable"
local wrapped = require "spec.bindings.luaio.wrapped"

local read, lines, write, close = wrapped.read, wrapped.lines, wrapped.write, wrapped.close
local open, popen, execute = wrapped.open, wrapped.popen, wrapped.execute

local function fifo()
  local path = os.tmpname()
  os.remove(path)
  assert(os.execute("mkfifo " .. path))
  return path
end

-- How many children there are of this process, those included that have ended and not
-- been reaped.
local function children()
  local file <close> = assert(io.open "/proc/thread-self/children")
  return select(2, file:read "a":gsub("%d+", ""))
end

local function await_children(pred)
  await(function() return pred(children()) end)
end

local function none(n) return n == 0 end

-- A command that goes on until the gate is opened, and a file that is one end of
-- a pipe to it. `gate` can be written without waiting.
local function child(command, mode)
  local path = fifo()
  local self = { path = path, gate = assert(io.open(path, "r+")), open = false }
  self.command = command:gsub("GATE", path)
  if mode then self.file = assert(popen(self.command, mode)) end
  return self
end

local function open_gate(self)
  if not self.open then assert(self.gate:write("\n")):flush() end
  self.open = true
end

local function free(self)
  open_gate(self)
  if self.file and io.type(self.file) == "file" then close(self.file) end
  await_children(function(n)
    if n > 0 then self.gate:write("\n"):flush() end -- one for each that waits
    return n == 0
  end)
  self.gate:close()
  os.remove(self.path)
end

describe("greenlua.core.luaio", function()
  describe("on a named pipe", function()
    local path, handler
    setup(function()
      path = fifo()
      handler = green.signal("PIPE", function() end) -- a reader goes away
    end)
    teardown(function()
      handler:cancel()
      os.remove(path)
    end)

    -- `peer` is both ends, so that nothing has ended.
    local function new(mode)
      return function()
        local peer = assert(io.open(path, "r+"))
        return { peer = peer, file = assert(open(path, mode)) }
      end
    end

    local function done(ends)
      ends.peer:close()
      close(ends.file)
      green.sleep(0)
    end

    describe("read", function()
      waitable {
        new = new "r",
        wait = function(ends) return read(ends.file, "a") end,
        no_timeout = true,
        free = done,
      }
    end)

    describe("write", function()
      local much = ("0123456789"):rep(20000)
      waitable {
        new = new "w",
        wait = function(ends) return write(ends.file, much) end,
        no_timeout = true,
        free = done,
      }
    end)

    it("tells of a reader that has gone", function()
      local ends = new "w"()
      local writers = {}
      for i = 1, 3 do writers[i] = green.spawn(write, ends.file, ("x"):rep(100000)) end
      green.sleep(0)
      ends.peer:close()
      for i = 1, 3 do
        assert.same({ nil, "Broken pipe", 32 }, { writers[i]:get() })
      end
      write(ends.file, "y")
      assert.same({ nil, "Broken pipe", 32 }, { close(ends.file) })
    end)
  end)

  it("ends the wait of close, and leaves the command alone", function()
    local c = child("read x <GATE", "r")
    assert.is_false((green.within(0.003, close, c.file)))
    assert.equal("closed file", io.type(c.file))
    assert.equal(1, children())
    free(c)
    assert.equal(0, children())
  end)

  describe("os.execute", function()
    waitable {
      new = function() return child "read x <GATE" end,
      wait = function(c) return execute(c.command) end,
      no_timeout = true,
      free = free,
    }

    it("returns what Lua's does, after others have run", function()
      local c, ran = child "read x <GATE; exit 3", false
      green.spawn(function()
        ran = true
        open_gate(c)
      end)
      assert.same({ nil, "exit", 3 }, { execute(c.command) })
      assert.is_true(ran)
      free(c)
    end)

    it("runs many at once", function()
      local c, group = child "read x <GATE", green.Group()
      for i = 1, 20 do
        group:spawn(function()
          assert.same({ nil, "exit", i }, { execute(c.command .. "; exit " .. i) })
        end)
      end
      await_children(function(n) return n == 20 end)
      assert.equal(20, children())
      free(c)
      group:join(nil, true)
    end)

    it("leaves a command alone whose wait is over, and no zombie", function()
      local c, path = child "read x <GATE; echo done >OUT", os.tmpname()
      assert.is_false((green.within(0.005, execute, (c.command:gsub("OUT", path)))))
      open_gate(c)
      await_children(none)
      local file <close> = assert(io.open(path))
      assert.equal("done", file:read())
      assert.equal(0, children())
      os.remove(path)
      free(c)
    end)
  end)

  describe("a read that is ended", function()
    it("has taken nothing: the next one finds all", function()
      local c = child("printf 'one\\ntwo 12'; read x <GATE; printf '34\\nend'", "r")
      assert.equal("one", read(c.file))
      for _, pattern in ipairs { "a", "l", 100 } do
        assert.is_false((green.within(0.003, read, c.file, pattern)))
      end
      assert.equal("two", read(c.file, 3))
      assert.is_false((green.within(0.003, read, c.file, "n")))
      open_gate(c)
      assert.same({ 1234, "" }, { read(c.file, "n", "l") })
      assert.equal("end", read(c.file, "a"))
      assert.equal("", read(c.file, "a"))
      assert.same({ true, "exit", 0 }, { close(c.file) })
      free(c)
    end)

    it("may have taken several patterns", function()
      local c = child("printf 'a\\nb\\n5 '; read x <GATE; echo c", "r")
      local g = green.spawn(pcall, read, c.file, "l", "L", "n", "l", "l")
      green.sleep(0.005)
      g:kill "enough"
      assert.same({ false, "enough" }, { g:get() })
      open_gate(c)
      assert.same({ "a", "b\n", 5, " c" }, { read(c.file, "l", "L", "n", "l") })
      free(c)
    end)
  end)

  it("refuses a second reader, and names both", function()
    local c = child("read x <GATE; echo through", "r")
    local first = green.spawn(read, c.file)
    first.name = "Ada"
    green.sleep(0)
    local second = green.spawn(pcall, read, c.file)
    second.name = "Alan"
    local ok, err = second:get()
    assert.is_false(ok)
    assert.matches("Alan cannot read from file %(descriptor %d+%): Ada waits in read there", err)
    open_gate(c)
    assert.equal("through", first:get())
    free(c)
  end)

  it("ends the wait of a reader whose file is closed", function()
    local c = child("read x <GATE", "r")
    local reader = green.spawn(pcall, read, c.file)
    green.sleep(0)
    local closer = green.spawn(close, c.file)
    local ok, err = reader:get()
    assert.is_false(ok)
    assert.matches("attempt to use a closed file", err)
    open_gate(c)
    assert.is_true(closer:get())
    free(c)
  end)

  it("lets a file that is collected go without waiting for its command", function()
    local gc = luaio.wrap("__gc", getmetatable(io.stdout).__gc)
    local c = child("read x <GATE; cat >/dev/null", "w")
    local writer = green.spawn(write, c.file, ("x"):rep(200000))
    green.sleep(0)
    writer:kill()
    gc(c.file)
    assert.equal("closed file", io.type(c.file))
    free(c)
  end)

  it("closes a pipe in the finalizer of what has it", function()
    local ended
    do
      local holder = { pipe = assert(popen("cat >/dev/null", "w")) }
      setmetatable(holder, { __gc = function(self) ended = table.pack(close(self.pipe)) end })
    end
    for _ = 1, 3 do collectgarbage() end
    assert.is_true(ended[1])
    await_children(none)
  end)

  it("iterates over lines that come one by one", function()
    local c = child("echo 1; read x <GATE; printf '2\\n3'", "r")
    local seen = {}
    local g = green.spawn(function()
      for line in lines(c.file) do seen[#seen + 1] = line end
    end)
    while not seen[1] do green.sleep(0.001) end
    open_gate(c)
    g:join()
    assert.same({ "1", "2", "3" }, seen)
    free(c)
  end)

  it("iterates in a coroutine, with patterns", function()
    local p = assert(popen "printf 'ab\\n12 cd\\n'")
    local got = {}
    for a, b in coroutine.wrap(function()
      for a, b in lines(p, 1, "l") do coroutine.yield(a, b) end
    end) do
      got[#got + 1] = a .. "+" .. b
    end
    assert.same({ "a+b", "1+2 cd" }, got)
    close(p)
  end)

  it("writes all that was written by many, whoever is killed meanwhile", function()
    local path = os.tmpname()
    local c = child("read x <GATE; cat >" .. path, "w")
    local killed = green.spawn(write, c.file, ("a"):rep(150000))
    local others = { green.spawn(write, c.file, ("b"):rep(150000)),
      green.spawn(write, c.file, "c") }
    green.sleep(0)
    killed:kill()
    open_gate(c)
    green.joinall(others)
    assert.same({ true, "exit", 0 }, { close(c.file) })
    local file <close> = assert(io.open(path, "rb"))
    assert.equal(("a"):rep(150000) .. ("b"):rep(150000) .. "c", file:read "a")
    os.remove(path)
    free(c)
  end)

  it("reads a whole megabyte that comes in pieces", function()
    local p = assert(popen "for i in 1 2 3 4 5; do yes 0123456789 | head -c 200000; done")
    local all = read(p, "a")
    assert.equal(1000000, #all)
    assert.is_nil(all:find "[^0-9\n]")
    close(p)
  end)

  describe("a named pipe", function()
    it("is opened for reading at once, and read when somebody writes", function()
      local path = fifo()
      local file = assert(open(path))
      local reader = green.spawn(read, file, "a")
      green.sleep(0.002)
      assert.is_false(reader:ready())
      local writer = assert(open(path, "w"))
      write(writer, "through the ")
      write(writer, "pipe")
      assert.is_true(close(writer))
      assert.equal("through the pipe", reader:get())
      assert.is_true(close(file))
      os.remove(path)
    end)

    it("is opened for writing when somebody reads", function()
      local path = fifo()
      local writer = green.spawn(open, path, "w")
      green.sleep(0.02)
      assert.is_false(writer:ready())
      local file = assert(open(path))
      assert.is_true(close(writer:get()))
      assert.is_true(close(file))
      assert.is_false((green.within(0.02, open, path, "w")))
      os.remove(path)
    end)

    it("cannot be opened by who may not", function()
      local folder = os.tmpname()
      os.remove(folder)
      assert.same({ nil, folder .. ": No such file or directory", 2 }, { open(folder) })
    end)
  end)

  it("leaves regular files to Lua", function()
    local path = os.tmpname()
    local file = assert(open(path, "w"))
    assert.equal(file, write(file, "text"))
    assert.equal(4, file:seek "cur")
    assert.is_true(close(file))
    file = assert(open(path))
    assert.equal("text", read(file, "a"))
    assert.is_true(close(file))
    os.remove(path)
  end)

  it("works where no greenlet can wait, and blocks there", function()
    local result
    setmetatable({}, { __gc = function()
      local p = popen "echo from a finalizer; exit 4"
      result = { read(p), close(p) }
    end })
    collectgarbage()
    collectgarbage()
    assert.same({ "from a finalizer", nil, "exit", 4 }, result)
    local g = green.spawn(function() end)
    g:rawlink(function() result = { execute "exit 5" } end)
    g:join()
    green.sleep(0)
    assert.same({ nil, "exit", 5 }, result)
  end)

  if core.fail_allocation(0) ~= -1 then -- a testing build
    it("survives the failure of any allocation", function()
      local code, out, err = support.run { "spec/bindings/luaio/fail_each.lua" }
      assert.equal(0, code, err)
      assert.is_true(tonumber(out) > 10)
    end)
  end

  it("wraps Lua's own functions alone", function()
    assert.is_nil(luaio.wrap("io.read", function() end))
    assert.is_nil(luaio.wrap("io.read", nil))
    assert.is_nil(luaio.wrap("io.read", read))
    assert.has_error(function() luaio.wrap("io.nothing", io.read) end)
  end)
end)
