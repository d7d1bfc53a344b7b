-- Each of these programs is a process of its own: what is patched stays so.

local support = require "spec.support"

-- What a program prints; it must end well and say nothing on stderr.
local function output(program, options, env)
  local args = options or {}
  args[#args + 1] = "-e"
  args[#args + 1] = program
  local code, out, err = support.run(args, "", env)
  assert.same({ 0, "" }, { code, err })
  return out
end

local function prints(expected, ...)
  assert.equal(expected, (output(...)))
end

local monkey = 'local monkey = require "greenlua.monkey" '

describe("greenlua", function()
  it("changes nothing global, whatever is required of it", function()
    prints("", [[
      local function snapshot()
        local all = {}
        local function add(name, t)
          for k, v in pairs(t) do all[name .. "." .. tostring(k)] = v end
        end
        add("_G", _G) add("package", package) add("preload", package.preload)
        for _, lib in ipairs { "string", "table", "math", "coroutine", "os", "io", "utf8",
            "debug" } do
          add(lib, _G[lib])
        end
        for k, v in pairs(package.loaded) do
          if not k:find "^greenlua" then all["loaded." .. k] = v end
        end
        add("FILE*", getmetatable(io.stdout))
        add("FILE*.__index", getmetatable(io.stdout).__index)
        add("string metatable", getmetatable "")
        add("io.stdout", { tostring(io.stdout), tostring(io.stdin) })
        return all
      end
      local before = snapshot()
      local green = require "greenlua"
      local pipe = io.popen "cd lua && find . -name '*.lua'"
      for path in pipe:lines() do
        require((path:gsub("^%./", ""):gsub("%.lua$", ""):gsub("/", ".")))
      end
      pipe:close()
      green.spawn(green.sleep, 0.001):join()
      local after = snapshot()
      for k, v in pairs(after) do if before[k] ~= v then print(k, "is new") end end
      for k in pairs(before) do if after[k] == nil then print(k, "is gone") end end]])
  end)
end)

describe("greenlua.monkey", function()
  it("patches all, and tells what", function()
    prints("true\ttrue\ttrue\ttrue\tfalse\tfalse\ttrue\n", monkey .. [[
      local execute, found = os.execute, monkey.patch_all()
      assert(#found == 0)
      assert(require "socket" == require "greenlua.socket")
      assert(require "socket.core" == require "socket")
      assert(require "socket.unix" == require "socket".unix)
      assert(os.execute ~= execute and monkey.get_original("os", "execute") == execute)
      print(monkey.is_patched "socket", monkey.is_patched "os", monkey.is_patched("io", "popen"),
        monkey.is_patched("_G", "print"), monkey.is_patched("os", "remove"),
        monkey.is_patched "string", monkey.get_original "string" == string)]])
  end)

  it("has no original of a module that is not there", function()
    local _, err = pcall(function() require "greenlua.monkey".get_original "no.such.module" end)
    assert.matches("monkey_spec.lua:%d+: module 'no.such.module' not found:", err)
  end)

  it("leaves out what it is told to, and takes it in later", function()
    prints("false\ttrue\tfalse\ntrue\ttrue\ttrue\ntrue\n", monkey .. [[
      local function tell()
        print(monkey.is_patched "socket", monkey.is_patched "os", monkey.is_patched "io")
      end
      monkey.patch_all { socket = false, io = false, ssl = false }
      tell()
      local execute = os.execute
      monkey.patch_all { os = false }
      tell()
      monkey.patch_all()
      print(os.execute == execute)]])
  end)

  it("patches one by one", function()
    prints("socket true\nos true\nio true\n", monkey .. [[
      for _, kind in ipairs { "socket", "os", "io" } do
        assert(not monkey.is_patched(kind))
        monkey["patch_" .. kind]()
        monkey["patch_" .. kind] {}
        print(kind .. " " .. tostring(monkey.is_patched(kind)))
      end
      monkey.patch_select() monkey.patch_time() monkey.patch_ssl()]])
  end)

  it("refuses options that mean nothing", function()
    local function refuses(text, call)
      prints(text .. "\n", monkey ..
        ("print((select(2, pcall(function() %s end)):gsub('^.-: ', '')))"):format(call))
    end
    refuses("unknown option 'sockets' of 'patch_all'", "monkey.patch_all { sockets = false }")
    refuses("bad option 'io' of 'patch_all' (boolean expected, got number)",
      "monkey.patch_all { io = 0 }")
    refuses("bad argument #1 to 'patch_io' (table expected, got boolean)", "monkey.patch_io(true)")
    refuses("unknown option 'io' of 'patch_io'", "monkey.patch_io { io = true }")
  end)

  it("gives originals, also of what had not been loaded", function()
    prints("true\ttrue\tuserdata\ttrue\ttrue\n", monkey .. [[
      monkey.patch_all()
      local original = monkey.get_original "socket"
      print(original ~= require "socket", require "socket" == require "greenlua.socket",
        type(original.tcp()), monkey.get_original("socket", "tcp") == original.tcp,
        original == monkey.get_original "socket.core")]])
  end)

  it("lets LuaSocket's own sockets be selected, where it is in use", function()
    for _, options in ipairs { "{ socket = false }", "{ socket = true }" } do
      prints("true\t1\t1\ttimeout\ttrue\n", monkey .. [[
        local luasocket = require "socket"
        local green = require "greenlua"
        monkey.patch_all(]] .. options .. [[)
        local server = luasocket.bind("127.0.0.1", 0)
        local client = luasocket.connect("127.0.0.1", (select(2, server:getsockname())))
        local peer = server:accept()
        local ran
        green.spawn(function() ran = true peer:send "x\ny\n" end)
        local r = luasocket.select({ client }, nil, 5)
        client:receive() -- the next line is in LuaSocket's buffer now
        local again = luasocket.select({ client }, nil, 5)
        client:receive()
        local _, _, err = luasocket.select({ client }, nil, 0.001)
        print(ran, #r, #again, err, luasocket.sleep == require "greenlua.socket".sleep)]])
    end
  end)

  it("patches lua-system and LuaSocket when they are loaded", function()
    prints("true\ttrue\ttrue\tfalse\n", monkey .. [[
      monkey.patch_all { socket = false }
      local sleep = require "greenlua.socket".sleep
      local system, socket = require "system", require "socket"
      print(system.sleep == sleep, socket.sleep == sleep, monkey.is_patched("system", "sleep"),
        package.preload.system ~= nil)]])
    prints("true\tfalse\nfalse\tmodule 'system' not found:\n", monkey .. [[
      local system = require "system"
      local original = system.sleep
      monkey.patch_time()
      print(monkey.get_original("system", "sleep") == original, system.sleep == original)
      package.loaded.system, package.path, package.cpath = nil, "", ""
      monkey.patch_time()
      local ok, err = pcall(require, "system")
      print(ok, (err:match "^[^\n]*"))]])
  end)

  describe("finds originals that are held elsewhere", function()
    local holder = [[
      package.preload.library = function()
        local socket, read = require "socket", io.read
        local M = {}
        function M.connect() return socket.connect() end
        function M.ask() return (function() return read() end)() end
        M.run = os.execute
        local Class = {}
        function Class:read() return read() end
        function M.new() return setmetatable({}, { __index = Class }) end
        return M
      end
      require "library"
    ]]

    it("and says who has what, where, and what to do", function()
      prints([[
library	os.execute	library.run
library	io.read	library.ask (its upvalue 'read')
library	socket	library.connect (its upvalue 'socket')
]], holder .. monkey .. [[
        local found = monkey.patch_all()
        for _, f in ipairs(found) do print(f.module, f.original, f.where) end
        assert(found[3].message == "greenlua.monkey: module 'library' has the original " ..
          "'socket', which blocks all greenlets (library.connect (its upvalue 'socket')): " ..
          'require "greenlua.monkey" and patch before that, or run greenlua --monkey')]])
    end)

    it("in the variables of the running program", function()
      prints("nil\tsocket\ttrue\nnil\tio.read\ttrue\n", monkey .. [[
        local socket, read = require "socket", io.read
        for _, f in ipairs(monkey.patch_all()) do
          print(f.module, f.original, f.where:find "^the local '%a+' at .-:%d$" ~= nil)
        end
        assert(socket and read)]])
    end)

    it("in globals, and in LuaSocket's modules", function()
      prints("_G\tsocket\t_G.socket\nsocket.http\tsocket\ttrue\n", [[
        socket = require "socket"
        require "socket.http"
      ]] .. monkey .. [[
        for _, f in ipairs(monkey.patch_all()) do
          print(f.module, f.original, f.module == "_G" and f.where or f.where:find "upvalue" ~= nil)
        end]])
    end)

    it("and warns", function()
      local code, _, err = support.run { "-W", "-e", holder .. monkey .. "monkey.patch_socket()" }
      assert.equal(0, code)
      assert.matches("^Lua warning: greenlua.monkey: module 'library' has the original", err)
    end)

    it("and raises, if it shall be strict, before anything is changed", function()
      prints("false\ttrue\tfalse\ttrue\n", holder .. monkey .. [[
        local before = require "socket"
        local ok, err = pcall(monkey.patch_all, { strict = true })
        print(ok, err:find "module 'library' has the original" ~= nil,
          monkey.is_patched "os", require "socket" == before)]])
      prints("true\n", monkey .. "print(#monkey.patch_all { strict = true } == 0)")
    end)

    it("of modules that are patched when they are loaded, too", function()
      prints("library\tsystem.sleep\tlibrary.sleep\n", [[
        package.loaded.library = { sleep = require "system".sleep }
      ]] .. monkey .. [[
        local f = monkey.patch_time()[1]
        print(f.module, f.original, f.where)]])
    end)

    it("but not what does no harm", function()
      prints("0\n", [[
        local socket = require "socket"
        package.loaded.library = { print = print, write = io.write, protect = socket.protect,
          gettime = socket.gettime, open = io.open, cyclic = package.loaded }
        socket = nil
        package.loaded.library.itself = package.loaded.library
      ]] .. monkey .. "print(#monkey.patch_all())")
    end)
  end)

  describe("--monkey", function()
    it("patches before LUA_INIT, -l and -e, in whatever place it stands", function()
      local check = "print(require 'greenlua.monkey'.is_patched 'io', " ..
        "package.loaded.socket == package.loaded['greenlua.socket'])"
      for _, options in ipairs { { "--monkey", "-l", "socket.url" },
          { "-l", "socket.url", "--monkey" }, { "-e", "local x = 1", "--monkey" } } do
        prints("true\ttrue\ntrue\ttrue\n", check, options, { LUA_INIT = check })
      end
    end)

    it("is told of by --help", function()
      local _, out = support.run { "--help" }
      assert.matches("\n  %-%-monkey ", out)
    end)

    it("is no option of others", function()
      local code, _, err = support.run { "--monkeys" }
      assert.equal(1, code)
      assert.matches("unrecognized option '%-%-monkeys'", err)
    end)

    it("lets others run while main reads, prints and waits for commands", function()
      local path = os.tmpname()
      local file <close> = assert(io.open(path, "w"))
      file:write [[
        local green = require "greenlua"
        local doing
        green.spawn(function()
          while true do
            green.sleep(0.001, false)
            if doing then io.stderr:write(doing, "\n") end
            doing = nil
          end
        end)
        doing = "reading"
        io.stderr:write(io.read(), "\n")
        doing = "executing"
        os.execute("while ! grep -qs executing " .. arg[0] .. ".err; do sleep 0.01; done")
        doing = "printing"
        print(("x"):rep(200000))
      ]]
      file:close()
      -- What main waits for comes when another greenlet has said that it does.
      local await = ("while ! grep -qs %%s %s.err; do sleep 0.01; done;"):format(path)
      local pipe <close> = assert(io.popen(
        ("{ %s echo line; } | timeout 180 env -u LD_PRELOAD %s --monkey %s 2>%s.err | { %s cat; }")
        :format(await:format "reading", support.greenlua, path, path, await:format "printing")))
      assert.equal(("x"):rep(200000) .. "\n", pipe:read "a")
      local err <close> = assert(io.open(path .. ".err"))
      assert.equal("reading\nline\nexecuting\nprinting\n", err:read "a")
      os.remove(path)
      os.remove(path .. ".err")
    end)

    it("lets dofile() go on in stdin where io.read() has left off", function()
      local pipe <close> = assert(io.popen(("printf 'one\\nreturn 5' | env -u LD_PRELOAD " ..
        "timeout 180 %s --monkey -e 'print(io.read(), dofile())'"):format(support.greenlua)))
      assert.equal("one\t5\n", pipe:read "a")
    end)

    it("flushes at the end, however that comes", function()
      for _, ending in ipairs { "", "os.exit(0)", "os.exit(0, true)", "error()",
          'require "greenlua".shutdown()' } do
        local pipe <close> = assert(io.popen(
          ([[env -u LD_PRELOAD timeout 180 %s --monkey -e 'io.write(("x"):rep(200000), "end") %s' \
            2>/dev/null | { sleep 0.01; cat; }]]):format(support.greenlua, ending)))
        assert.equal(("x"):rep(200000) .. "end", pipe:read "a")
      end
    end)
  end)
end)
