-- The prompt, typed at through a terminal of its own (script(1)), and fed from a
-- pipe.

local await = require "spec.support.await"
local lfs = require "lfs"
local support = require "spec.support"

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local Session = {}
Session.__index = Session

-- Starts the command on a terminal; `home` is where its history is.
local function session(home, args)
  local self = setmetatable({ path = os.tmpname(), home = home, seen = 1 }, Session)
  local command = ("%s %s"):format(support.greenlua, args or "")
  self.keyboard = assert(io.popen(([[env -u LD_PRELOAD -u XDG_STATE_HOME HOME='%s' ]] ..
    [[TERM=xterm LC_ALL=C.UTF-8 timeout %d script -qefc '%s' /dev/null >'%s' 2>&1]]):format(
    home, support.LIMIT, command, self.path), "w"))
  return self
end

function Session:type(keys)
  self.keyboard:write(keys)
  self.keyboard:flush()
end

-- Waits until this comes on the screen, after what was waited for before.
-- Returns what came on the way.
function Session:expect(text)
  local screen, from, to
  await(function()
    screen = read(self.path):gsub("\r\n", "\n")
    from, to = screen:find(text, self.seen, true)
    return from
  end, function() return ("%q did not come, but %q"):format(text, screen:sub(self.seen)) end)
  local before = screen:sub(self.seen, from - 1)
  self.seen = to + 1
  return before
end

-- A line, and what is expected after its echo.
function Session:enter(line, expected)
  self:type(line .. "\n")
  self:expect("\n")
  return self:expect(expected)
end

-- The exit code.
function Session:leave(keys)
  if keys then self:type(keys) end
  local _, _, code = self.keyboard:close()
  self.keyboard = nil
  return code
end

function Session:__close()
  if self.keyboard then self.keyboard:close() end
  os.remove(self.path)
end

local function with_home(f)
  local home = os.tmpname()
  os.remove(home)
  assert(os.execute("mkdir " .. home))
  local _ <close> = setmetatable({}, {
    __close = function() os.execute("rm -r " .. home) end,
  })
  return f(home)
end

-- A fact of a prompt that has just come up.
local function at_prompt(title, f, how)
  (how or it)(title, function()
    with_home(function(home)
      local s <close> = session(home)
      s:expect "> "
      f(s, home)
    end)
  end)
end

local EOT, INT = "\4", "\3"

describe("the prompt", function()
  at_prompt("prints the values of expressions, and runs statements", function(s)
    s:enter("1 + 1, nil, 'x'", "2\tnil\tx\n> ")
    s:enter("=7", "7\n> ")
    s:enter("x = 5", "> ")
    s:enter("x", "5\n> ")
    assert.equal(0, s:leave(EOT))
  end)

  at_prompt("asks for more until a statement is complete", function(s)
    s:enter("for i = 1, 2 do", ">> ")
    s:enter("print(i)", ">> ")
    s:enter("end", "1\n2\n> ")
    s:enter("x =", ">> ")
    s:enter("=", "stdin:2: unexpected symbol near '='\n> ")
  end)

  at_prompt("shows errors with a traceback, and goes on", function(s)
    s:enter("error 'oh'", "stdin:1: oh\nstack traceback:\n")
    s:expect "\n> "
    s:enter("error {}", "(error object is a table value)\nstack traceback:\n")
    s:expect "\n> "
    s:enter("error(setmetatable({}, {__tostring = function() return 'me' end}))", "me\n> ")
    s:enter("print = nil", "> ")
    s:enter("1", "error calling 'print' (attempt to call a nil value)\n> ")
  end)

  at_prompt("takes _PROMPT and _PROMPT2", function(s)
    s:enter("_PROMPT, _PROMPT2 = setmetatable({}, {__tostring = function() return '? ' end}), '. '",
      "? ")
    s:enter("do", ". ")
    s:enter("end", "? ")
  end)

  at_prompt("ends the program with the input, and closes the greenlets", function(s)
    s:enter("green = require 'greenlua'", "> ")
    s:enter("_ = green.spawn(function() local _ <close> = setmetatable({}, " ..
      "{__close = function() print 'closed' end}) green.sleep(100) end)", "> ")
    s:type(EOT)
    s:expect "\nclosed\n"
    assert.equal(0, s:leave())
  end)

  at_prompt("ends the program with os.exit, from a greenlet, too", function(s)
    s:enter("green = require 'greenlua'", "> ")
    s:type "_ = green.spawn_later(0.05, os.exit, 3)\nunfinished" -- at once: it ends soon
    assert.equal(3, s:leave())
  end)

  it("comes after the script with -i, not after a failed one", function()
    with_home(function(home)
      do
        local s <close> = session(home, [[-i -e "x = 8"]])
        s:expect "> "
        s:enter("x", "8\n> ")
      end
      local s <close> = session(home, [[-i -e "error()"]])
      s:expect "(error object is a nil value)"
      assert.equal(1, s:leave())
    end)
  end)

  describe("while greenlets run", function()
    at_prompt("lets them print above the line that is being typed", function(s)
      s:enter("green = require 'greenlua'", "> ")
      s:enter("_ = green.spawn_later(0.1, function() print 'ping' io.write 'pong' end)", "> ")
      s:type "12"
      s:expect "ping\npong\n> 12"
      s:enter("34", "1234\n> ")
    end)

    at_prompt("shows their errors above it", function(s)
      s:enter("green = require 'greenlua'", "> ")
      s:enter("_ = green.spawn_later(0.1, error, 'bad')", "> ")
      s:type "12"
      s:expect "bad\n"
      s:expect "failed with bad\n\n> 12"
      s:enter("34", "1234\n> ")
    end)

    at_prompt("is found parked in a tree of who waits", function(s)
      s:enter("green = require 'greenlua'", "> ")
      s:enter("main = green.current()", "> ")
      s:enter("_ = green.spawn_later(0.05, function() print(main) end)", "> ")
      s:expect "main: parked\n"
    end)

    at_prompt("raises what is raised in main, and goes on", function(s, home)
      s:enter("green, main = require 'greenlua', require 'greenlua'.current()", "> ")
      s:enter("function raise() while not io.open '" .. home .. "/go' do green.sleep(0.01) end " ..
        "green.kill(main, 'too slow') end", "> ")
      s:enter("_ = green.spawn(raise)", "> ")
      s:type "12"
      s:expect "12"
      os.execute("touch " .. home .. "/go")
      s:expect "\ntoo slow\n> "
      s:enter("34", "34\n> ")
    end)
  end)

  describe("at Ctrl-C", function()
    -- ThreadSanitizer keeps signals back for as long as a program is busy.
    local when_busy = support.preset == "tsan" and pending or it

    at_prompt("drops what has been typed", function(s)
      s:type "abc"
      s:expect "abc"
      s:type(INT)
      s:expect "\n> "
      s:enter("do", ">> ")
      s:type(INT)
      s:expect "\n> "
      s:enter("1", "1\n> ")
    end)

    at_prompt("interrupts what runs, and goes on", function(s)
      s:enter("green = require 'greenlua'", "> ")
      s:type "print 'busy' while true do end\n"
      s:expect "\nbusy\n"
      s:type(INT)
      s:expect "interrupted!\n"
      s:expect "\n> "
      s:type "print 'asleep' green.sleep(100)\n"
      s:expect "\nasleep\n"
      s:type(INT)
      s:expect "stdin:1: interrupted!\n"
      s:expect "\n> "
      s:enter("1", "1\n> ")
    end, when_busy)

    at_prompt("interrupts a greenlet that keeps the prompt from coming", function(s, home)
      s:enter("green = require 'greenlua'", "> ")
      s:enter("function busy() io.open('" .. home .. "/busy', 'w'):close() " ..
        "while true do end end", "> ")
      s:type "_ = green.spawn(busy)\n"
      await(function() return lfs.attributes(home .. "/busy") end)
      s:type(INT)
      s:expect "failed with interrupted!\n"
      s:expect "> "
      s:enter("1", "1\n> ")
    end, when_busy)
  end)

  describe("edits its line:", function()
    at_prompt("with the arrows", function(s)
      s:type "13\27[D2"
      s:enter("", "123\n> ")
    end)

    at_prompt("in characters, not bytes", function(s)
      s:type "#'h\u{e9}\u{20ac}\127\127x'"
      s:enter("", "2\n> ")
    end)

    at_prompt("with Tab for names", function(s)
      s:type "string.for\t('%d', 3)"
      s:enter("", "3\n> ")
      s:type "string.f\t"
      s:expect "find    format\n"
      s:expect "> string.f"
      s:enter("ind('x', 'x')", "1\t1\n> ")
    end)

    at_prompt("from its history, which it keeps", function(s, home)
      s:enter("40 + 2", "42\n> ")
      s:enter("do", ">> ")
      s:enter("end", "> ")
      s:type(EOT)
      assert.equal(0, s:leave())
      local again <close> = session(home)
      again:expect "> "
      again:type "\27[A\27[A"
      again:expect "40 + 2"
      again:enter("", "42\n> ")
    end)
  end)
end)

describe("the prompt on a pipe", function()
  local function feed(text)
    local code, out, err = support.run("-i", text)
    return out:gsub("^greenlua [^\n]*\nLua [^\n]*\n", ""), err, code
  end

  it("reads, runs and prints", function()
    local out, err, code = feed "1 + 1\nx = 3\ndo\nprint(x)\nend\nerror 'e'"
    assert.equal("> 2\n> > >> >> 3\n> \n", out:gsub("\n> > \n$", "\n> \n"))
    assert.matches("^stdin:1: e\nstack traceback:\n", err)
    assert.equal(0, code)
  end)

  it("leaves what follows a line to the program's own reading", function()
    local out, err = feed "print(io.read())\nthis line\n2\n"
    assert.equal("> this line\n> 2\n> \n", out)
    assert.equal("", err)
  end)

  it("lets greenlets run while it waits", function()
    local path = os.tmpname()
    os.execute(([[
      (echo 'green = require "greenlua" _ = green.spawn(function() print "ran" end)'
       sleep 0.1; echo '"typed"') | env -u LD_PRELOAD '%s' -i >%s]]):format(support.greenlua, path))
    local out = read(path)
    os.remove(path)
    assert.matches("ran\n\"?.*typed\n> \n$", out)
  end)
end)
