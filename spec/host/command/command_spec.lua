-- The command does what `lua5.4` does: both run the same command lines, and must
-- print the same and end the same.

local support = require "spec.support"

local function run_as(program, ...)
  local _ <close> = setmetatable({ support.greenlua }, {
    __close = function(saved) support.greenlua = saved[1] end,
  })
  support.greenlua = program
  local code, out, err = support.run(...)
  local function neutral(text)
    return (text:gsub(program:gsub("%p", "%%%0"), "PROGRAM"))
  end
  return code, neutral(out), neutral(err)
end

local function with_file(text, f)
  local path = os.tmpname()
  local _ <close> = setmetatable({}, { __close = function() os.remove(path) end })
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return f(path)
end

-- Runs it under both. In `args` and `env`, FILE is a file with `case.file` in it.
local function compare(case, view)
  view = view or function(...) return ... end
  with_file(case.file or "", function(path)
    local args, env = {}, {}
    for i, word in ipairs(case) do args[i] = word:gsub("FILE", path) end
    for name, value in pairs(case.env or {}) do env[name] = value:gsub("FILE", path) end
    local code, out, err = view(run_as("lua5.4", args, case.stdin, env))
    local our_code, our_out, our_err = view(run_as(support.greenlua, args, case.stdin, env))
    assert.equal(out, our_out)
    assert.equal(err, our_err)
    assert.equal(code, our_code)
  end)
end

local show_arg = [[
  local keys = {}
  for i in pairs(arg) do keys[#keys + 1] = i end
  table.sort(keys)
  for _, i in ipairs(keys) do print(i, arg[i]) end
  print(select("#", ...), ...)]]

local many = {}
for i = 1, 300 do many[i] = tostring(i) end

-- title -> command line; stdin, the environment and a file with them
local options = {
  ["-e"] = { "-e", "print(1)" },
  ["-e in one word"] = { "-eprint(1)" },
  ["-e more than once"] = { "-e", "x = 1", "-ex = x + 1", "-e", "print(x)" },
  ["-e with a syntax error"] = { "-e", "x =" },
  ["-e with an error"] = { "-e", "error 'no'", "-e", "print 'never'" },
  ["-e that is empty"] = { "-e", "" },
  ["-e and `...`"] = { "-e", "print(select('#', ...))" },
  ["-e before a script"] = { "-e", "x = 7", "FILE", "a", file = "print(x, ...)" },
  ["-e that changes arg"] = { "-e", "arg[1] = 'z'; arg[3] = 'y'", "FILE", "a", "b",
    file = "print(...)" },
  ["-e that is no end to arg"] = { "-e", "setmetatable(arg, {__len = function() return 3 end})",
    "FILE", "a", file = "print(...)" },
  ["-e that destroys arg"] = { "-e", "arg = nil", "FILE", file = "print(...)" },
  ["-l"] = { "-l", "string", "-e", "print(string == require 'string')" },
  ["-l in one word"] = { "-lstring", "-e", "print(string == require 'string')" },
  ["-l with a name"] = { "-l", "s=string", "-e", "print(s == string)" },
  ["-l with a name, in one word"] = { "-ls=string", "-e", "print(s == string)" },
  ["-l with a version"] = { "-l", "string-v2" },
  ["-l of what does not exist"] = { "-l", "no.such.module", "-e", "print 'never'" },
  ["-l of what fails"] = { "-l", "broken", file = "error 'broken'",
    env = { LUA_PATH = "FILE" } },
  ["-l of what does not compile"] = { "-l", "broken", file = "x =",
    env = { LUA_PATH = "FILE" } },
  ["-l without `require`"] = { "-e", "require = nil", "-l", "string" },
  ["-v with -e"] = { "-v", "-e", "print(1)" },
  ["-v with a script"] = { "-v", "FILE", file = "print(2)" },
  ["-v and an error"] = { "-v", "-e", "error 'x'" },
  ["-E"] = { "-E", "-e", "print(package.path, package.cpath)",
    env = { LUA_INIT = "print 'init'", LUA_PATH = "there", LUA_CPATH = "there" } },
  ["LUA_PATH"] = { "-e", "print(package.path, package.cpath)",
    env = { LUA_PATH = "there;;", LUA_CPATH_5_4 = "here;;" } },
  ["-W"] = { "-W", "-e", "warn('a', 'b') warn '@off' warn 'c'" },
  ["-W after -e"] = { "-e", "warn 'a'", "-W", "-e", "warn 'b'" },
  ["no -W"] = { "-e", "warn 'a' warn '@on' warn 'b' warn '@nonsense'" },
  ["-W and a finalizer that fails"] = { "-W", "-e",
    "setmetatable({}, {__gc = function() error 'oops' end})" },
  ["--"] = { "--", "FILE", "-x", file = show_arg },
  ["-- alone"] = { "-e", "print(1)", "--" },
  ["-- and a file named -"] = { "--", "-" },
  ["-"] = { "-", "a", "-b", stdin = show_arg },
  ["- after other options"] = { "-e", "print(0)", "-", "a", stdin = "print(...)" },
  ["a script"] = { "FILE", "a b", "", "--", "-e", file = show_arg },
  ["a script after options"] = { "-W", "-e", "y = 1", "-l", "string", "FILE", "a",
    file = show_arg },
  ["a script that is not there"] = { "no_such_file.lua", "a" },
  ["a script with many arguments"] = { "FILE", file = "print(select('#', ...), (select(-1, ...)))",
    table.unpack(many) },
  ["a script on stdin"] = { stdin = show_arg },
  ["a script on stdin that fails"] = { stdin = "print(1) error 'no'" },
  ["a script on stdin that does not compile"] = { stdin = "x =" },
  ["nothing on stdin"] = { "-" },
  ["options of which none runs anything"] = { "-W", "-E",
    stdin = "warn 'a' print(arg[0], arg[-1])" },
  ["a first line with #"] = { "FILE", file = "#!/usr/bin/lua\nprint 'ok' error 'line 2'" },
  ["a first line with # on stdin"] = { "-", stdin = "# comment\nerror 'line 2'" },
  ["a compiled script"] = { "-", stdin = string.dump(load "print('compiled', ...)"), "a" },
  ["a byte order mark"] = { "FILE", file = "\xEF\xBB\xBF#!x\nprint 'ok'" },
}

local scripts = {
  ["the main thread"] = "print(select(2, coroutine.running()), coroutine.isyieldable())",
  ["yield from main"] = "coroutine.yield()",
  ["the GC mode"] = "print(collectgarbage 'incremental')",
  ["the locale"] = "print(os.setlocale(nil))",
  ["the globals"] = [[
    for _, t in ipairs {_G, package.loaded, package.preload, package, coroutine} do
      local names = {}
      for name in pairs(t) do names[#names + 1] = name end
      table.sort(names)
      print(table.concat(names, " "))
    end]],
  ["a traceback"] = "local function f() print(debug.traceback 'here') end f()",
  ["a traceback of a coroutine"] = [[
    local co = coroutine.create(function() local x <close> = nil; error 'in co' end)
    print(coroutine.resume(co))
    print(debug.traceback(co))]],
  ["an error in a function"] =
    "local function f() error 'deep' end\nlocal function g() f() end\ng()",
  ["an error without position"] = "error('plain', 0)",
  ["an error with the caller's position"] =
    "local function f() error('his', 2) end\nf()",
  ["an error in a method"] = "local t = {} function t:m() self.x.y = 1 end t:m()",
  ["an error in a C function"] = "string.rep()",
  ["an error through coroutine.wrap"] = "coroutine.wrap(function() error 'inside' end)()",
  ["an error in a metamethod"] =
    "return setmetatable({}, {__add = function() error 'add' end}) + 1",
  ["an error in a sort"] = "table.sort({3, 2, 1}, function() error 'cmp' end)",
  ["no error value"] = "error()",
  ["a nil error"] = "error(nil)",
  ["a table as error"] = "error {}",
  ["a number as error"] = "error(42)",
  ["a float as error"] = "error(1.5)",
  ["a boolean as error"] = "error(true)",
  ["a function as error"] = "error(print)",
  ["an error with __tostring"] =
    "error(setmetatable({}, {__tostring = function() return 'shown' end}))",
  ["an error whose __tostring gives no string"] =
    "error(setmetatable({}, {__tostring = function() return 3 end}))",
  ["an error whose __tostring fails"] =
    "error(setmetatable({}, {__tostring = function() error 'again' end}))",
  ["an error whose __tostring always fails"] = [[
    local mt = {}
    function mt.__tostring() error(setmetatable({}, mt)) end
    error(setmetatable({}, mt))]],
  ["an error with __name"] = "error(setmetatable({}, {__name = 'Mine'}))",
  ["an error in a <close> variable"] =
    "local x <close> = setmetatable({}, {__close = function() error 'closing' end})",
  ["a syntax error"] = "\nfor",
  ["a deep recursion"] = "local function f() return 1 + f() end f()",
  ["a deep recursion in C"] = "local function f() return (('x'):gsub('x', f)) end f()",
  ["a deep recursion of coroutines"] =
    "local function f() coroutine.wrap(f)() end print(pcall(f)) f()",
  ["a string too large"] = "local s = ('x'):rep(1 << 62)",
  ["os.exit"] = "print 'x' os.exit()",
  ["os.exit(true)"] = "io.write 'x' os.exit(true)",
  ["os.exit(false)"] = "io.write 'x' os.exit(false)",
  ["os.exit(7)"] = "io.stdout:setvbuf 'full' io.write 'x' os.exit(7)",
  ["os.exit with closing"] = [[
    local x <close> = setmetatable({}, {__close = function() print 'closed' end})
    setmetatable({}, {__gc = function() print 'collected' end})
    os.exit(3, true)]],
  ["os.exit in a coroutine"] = "coroutine.wrap(function() os.exit(4, true) end)()",
  ["finalizers at the end"] = [[
    for i = 1, 3 do setmetatable({}, {__gc = function() print(i) end}) end
    local x <close> = setmetatable({}, {__close = function() print 'closed' end})]],
  ["finalizers after an error"] =
    "setmetatable({}, {__gc = function() print 'gone' end}) error 'x'",
  ["what it returns"] = "return 7",
  ["a debug hook"] = [[
    debug.sethook(function(event, line) debug.sethook() print(event, line) end, 'l')
    print(debug.gethook())
    local x = 1]],
  ["reading stdin"] = "print(io.read()) print(io.read 'n') print(io.read 'a')",
  ["stdin by lines"] = "for line in io.lines() do print(line) end",
  ["popen and execute"] = "print(os.execute 'exit 3') print(io.popen('exit 4'):close())",
}

local inits = {
  ["code"] = { LUA_INIT = "print('init', arg[1])" },
  ["a file"] = { LUA_INIT = "@FILE" },
  ["a file that is not there"] = { LUA_INIT = "@no_such_file.lua" },
  ["an error"] = { LUA_INIT = "error 'init'" },
  ["a syntax error"] = { LUA_INIT = "x =" },
  ["nothing"] = { LUA_INIT = "" },
  ["the version's own"] = { LUA_INIT = "print 'no'", LUA_INIT_5_4 = "print 'yes'" },
  ["an error in the version's own"] = { LUA_INIT_5_4 = "error 'init'" },
}

describe("greenlua, as lua5.4,", function()
  for title, case in pairs(options) do
    it("takes " .. title, function()
      compare(case, function(code, out, err)
        return code, out:gsub("^greenlua [^\n]*\n", ""), err
      end)
    end)
  end

  for title, script in pairs(scripts) do
    it("runs " .. title, function()
      compare { "FILE", "a", file = script, stdin = "one line\n12 and\nthe rest" }
    end)
  end

  for title, env in pairs(inits) do
    it("takes LUA_INIT: " .. title, function()
      compare { "-e", "print 'main'", "x", env = env, file = "print 'from a file'" }
    end)
  end

  for _, words in ipairs { { "-x" }, { "-e" }, { "-l" }, { "-e", "-v" }, { "-vv" }, { "-i1" },
    { "-W1" }, { "-E1" }, { "--nonsense" }, { "-e", "print(1)", "-q" }, { "-v", "-?" } } do
    it("refuses " .. table.concat(words, " "), function()
      compare(words, function(code, out, err)
        assert.matches("\nusage: PROGRAM ", err)
        return code, out, err:match "^[^\n]*"
      end)
    end)
  end
end)

describe("greenlua", function()
  local function run(script, ...)
    return support.run({ "-e", 'green = require "greenlua"', "-e", script }, ...)
  end

  it("--help explains the options", function()
    local code, out, err = support.run "--help"
    assert.matches("^usage: ", out)
    for _, option in ipairs { "-e", "-l", "-i", "-v", "-E", "-W", "--", "-", "--help" } do
      assert.matches("\n  " .. option:gsub("%p", "%%%0") .. " ", out)
    end
    assert.equal("", err)
    assert.equal(0, code)
  end)

  it("--version prints greenlua's and Lua's", function()
    local code, out, err = support.run "--version"
    assert.equal(require "greenlua"._VERSION, out:match "^[^\n]*")
    assert.matches("\nLua 5%.4%.%d+ .-\n$", out)
    assert.equal("", err)
    assert.equal(0, code)
  end)

  it("goes on after the last line until nothing is left to run", function()
    local code, out, err = run [[
      green.spawn(function() green.sleep(0.02) print "late" end)
      green.spawn_later(0.01, function()
        print "later"
        green.spawn(function() green.sleep(0.02) print "latest" end)
      end)
      print "last line"]]
    assert.equal("last line\nlater\nlate\nlatest\n", out)
    assert.equal("", err)
    assert.equal(0, code)
  end)

  it("closes those at its end, and what they leave open may block", function()
    local code, out, err = run [[
      local held = setmetatable({}, { __close = function()
        green.sleep(0.01)
        print "given back"
      end })
      green.spawn(function()
        local _ <close> = held
        require("greenlua.core.waitlist").new("nothing"):wait()
      end)
      print "last line"]]
    assert.equal("last line\ngiven back\n", out)
    assert.equal("", err)
    assert.equal(0, code)
  end)

  it("ends when those who are left can never run", function()
    local code, out, err = run [[
      local never = green.Greenlet(print)
      green.spawn(function()
        local _ <close> = setmetatable({}, {__close = function() print "closed" end})
        never:join()
      end)]]
    assert.equal("closed\n", out)
    assert.equal("", err)
    assert.equal(0, code)
  end)

  it("goes on after a failed greenlet, and exits with 0", function()
    local code, out, err = run [[
      green.spawn(error, "bad")
      green.spawn(function() green.sleep(0.01) print "the other" end)]]
    assert.equal("the other\n", out)
    assert.matches("^bad\n.+ failed with bad\n", err)
    assert.equal(0, code)
  end)

  it("ends at once with 1 at an error in main, closing the greenlets", function()
    local code, out, err = run [[
      green.spawn(function()
        local _ <close> = setmetatable({}, {__close = function() print "closed" end})
        while true do green.sleep(0) print "runs" end
      end)
      green.sleep(0) green.sleep(0)
      error "main fails"]]
    assert.equal("runs\nclosed\n", out)
    assert.matches(": %(command line%):6: main fails\nstack traceback:\n", err)
    assert.equal(1, code)
  end)

  it("ends at once at an error in a script from stdin", function()
    local code, out = support.run("-", [[
      local green = require "greenlua"
      green.spawn(function() green.sleep(0.01) print "never" end)
      error "main fails"]])
    assert.equal("", out)
    assert.equal(1, code)
  end)

  it("tells a deadlock of main", function()
    local code, out, err = run "green.Greenlet(print):join() print 'never'"
    assert.equal("", out)
    assert.matches("would block forever", err)
    assert.equal(1, code)
  end)

  it("blocks in -l, in LUA_INIT, and in a finalizer not", function()
    local module = "green = require 'greenlua' green.sleep(0.001) print 'blocked'"
    local code, out, err = with_file(module, function(path)
      return support.run({ "-l", "blocking", "-e",
        "setmetatable({}, {__gc = function() print(pcall(green.sleep, 1)) end})" },
        "", { LUA_PATH = path, LUA_INIT = "require 'greenlua'.sleep(0.001)" })
    end)
    assert.equal("", err)
    assert.matches("^blocked\nfalse\tcannot block in a finalizer", out)
    assert.equal(0, code)
  end)

  it("has standard streams, whatever it was started with", function()
    local script = os.tmpname()
    finally(function() os.remove(script) end)
    local file <close> = assert(io.open(script, "w"))
    file:write [[
      require("greenlua").sleep(0)
      io.stderr:write(table.concat({ select("#", io.read()), tostring(io.read()) }, " "), "\n")
    ]]
    file:close()
    local pipe <close> = assert(io.popen(("'%s' %s 2>&1 <&- >&-"):format(support.greenlua, script)))
    assert.equal("1 nil\n", pipe:read "a")
  end)

  it("is main in the script: a greenlet of its own", function()
    local code, out = run "print(green.current().name, coroutine.isyieldable())"
    assert.equal("main\tfalse\n", out)
    assert.equal(0, code)
  end)
end)

describe("Ctrl-C", function()
  -- ThreadSanitizer keeps signals back for as long as a program is busy.
  local it = support.preset == "tsan" and pending or it

  -- The key is pressed by a shell: nothing in the script need run for it. Where the
  -- place matters that is interrupted, it is pressed there.
  local prelude = [[
    green = require "greenlua"
    function press() keyboard = io.popen "sleep 0.15; kill -INT $PPID" end
    function busy() while true do end end
    function wrapped(f) return function(...) return coroutine.wrap(f)(...) end end
  ]]

  local function run(script)
    return support.run { "-e", prelude, "-e", script }
  end

  local ends = {
    ["a parked main"] = "press() green.sleep(100)",
    ["a main parked in a coroutine"] = "press() wrapped(function() green.sleep(100) end)()",
    ["a main parked under a C function"] =
      "press() table.sort({2, 1}, function() green.sleep(100) end)",
    ["a busy main"] = "press() busy()",
    ["a busy main without a hub"] = "press() busy()",
    ["a busy coroutine of main"] = "press() wrapped(wrapped(wrapped(busy)))()",
    ["main by a busy greenlet"] = "press() green.spawn(busy) green.sleep(100)",
    ["main by three busy greenlets"] =
      "press() for _ = 1, 3 do green.spawn(busy) end green.sleep(100)",
    ["main by a busy coroutine in a greenlet"] = [[
      press()
      green.spawn(wrapped(function() coroutine.resume(coroutine.create(busy)) end))
      green.sleep(100)]],
    ["main by a busy comparator"] =
      "press() green.spawn(table.sort, {2, 1}, busy) green.sleep(100)",
    ["main by greenlets that give way"] = [[
      press()
      green.spawn(function() while true do green.sleep(0) end end)
      while true do green.sleep(0) end]],
    ["a main that joins"] = "press() green.spawn(green.sleep, 100):join()",
    ["the wait after the last line"] = "press() green.spawn(green.sleep, 100)",
    ["the wait after the last line, by a busy greenlet"] = "press() green.spawn(busy)",
    ["the program despite a busy rawlink"] =
      "press() local g = green.spawn(print) g:rawlink(busy) green.sleep(100)",
  }
  for title, script in pairs(ends) do
    it("interrupts " .. title, function()
      local code, _, err = run(script)
      assert.matches("interrupted!\n", err)
      assert.matches("\nstack traceback:\n", err)
      assert.equal(1, code)
    end)
  end

  it("does so without the hub, too", function()
    local code, _, err = support.run { "-e", [[
      io.popen "sleep 0.15; kill -INT $PPID"
      local co = coroutine.wrap(function() while true do end end)
      co()]] }
    assert.matches("%(command line%):3: .*interrupted!\nstack traceback:\n", err)
    assert.equal(1, code)
  end)

  it("can be caught, again and again", function()
    local code, out, err = run [[
      for _ = 1, 3 do print(pcall(function() press() green.sleep(100) end)) end]]
    assert.equal(("false\tinterrupted!\n"):rep(3), (out:gsub("%(command line%):1: ", "")))
    assert.equal("", err)
    assert.equal(0, code)
  end)

  it("passes through green.pcall", function()
    local code, out = run [[
      print(pcall(green.pcall, function() press() green.sleep(100) end))
      print(pcall(green.pcall, function() press() busy() end))]]
    assert.equal(2, select(2, out:gsub("false\t[^\n]*interrupted!\n", "")))
    assert.equal(0, code)
  end)

  it("leaves the busy greenlet alone, and its hook", function()
    local code, out, err = run [[
      local hooked, on = 0, true
      green.spawn(function()
        debug.sethook(function() hooked = hooked + 1 end, "", 1000)
        while on do end
        local before = hooked
        for _ = 1, 10000 do end
        print("went on", hooked > before)
      end)
      print(pcall(function() press() green.sleep(100) end))
      on = false]]
    assert.equal("false\tinterrupted!\nwent on\ttrue\n", (out:gsub("%(command line%):%d+: ", "")))
    assert.equal("", err)
    assert.equal(0, code)
  end)

  it("closes the greenlets on its way out", function()
    local code, out = run [[
      green.spawn(function()
        local _ <close> = setmetatable({}, {__close = function() print "closed" end})
        green.sleep(100)
      end)
      green.sleep(0)
      press()]]
    assert.equal("closed\n", out)
    assert.equal(1, code)
  end)

  it("kills when it is pressed again and nothing has reacted", function()
    local code = run [[
      keyboard = io.popen "while sleep 0.15; do kill -INT $PPID || break; done"
      setmetatable({}, {__gc = busy})
      collectgarbage()]]
    assert.equal(128 + 2, code)
  end)
end)
