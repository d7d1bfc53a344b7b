-- README.md: its programs run as they stand there, and what it names exists.

local lfs = require "lfs"
local socket = require "greenlua.socket"
local daemon = require "spec.support.daemon"
local support = require "spec.support"

local text = daemon.read "README.md"

-- The indented block that has a line.
local function block(wanted)
  local lines, found = {}, false
  for line in (text .. "end\n"):gmatch "([^\n]*)\n" do
    if line:find "^    " or line == "" then
      lines[#lines + 1] = line:sub(5)
      found = found or lines[#lines] == wanted
    elseif found then
      return table.concat(lines, "\n") .. "\n"
    else
      lines = {}
    end
  end
  error("README.md has no such line any more: " .. wanted, 2)
end

-- Runs a program of README.md as a file: exit code, stdout, stderr.
local function run(source)
  local path = os.tmpname()
  daemon.write(path, source)
  local code, out, err = support.run { path }
  os.remove(path)
  return code, out, err
end

describe("README.md", function()
  it("begins with a server of lines", function()
    local folder, port, guard = daemon.folder(), daemon.reserve_port()
    local program = block 'local server = assert(socket.bind("*", 7777))'
    daemon.write(folder .. "/first.lua", (program:gsub("7777", port)))
    local server <close> = daemon.start(folder, port, guard,
      ("%s %s/first.lua"):format(support.greenlua, folder))
    local function connect() return assert(socket.connect("127.0.0.1", port)) end
    local a, b = connect(), connect()
    for i, conn in ipairs { a, b, b, a } do
      conn:send("hello " .. i .. "\n")
      assert.equal("you said: hello " .. i, conn:receive())
    end
    a:close()
    b:close()
    assert.is_true(server:running())
    assert.equal("", daemon.read(folder .. "/log"))
  end)

  it("blocks anywhere", function()
    local program = block
      'local fetch = function(x) green.sleep(0.01) return x end -- stands for any I/O'
    assert.same({ 0, "a b\n1\n2\n3\n", "" }, { run(program) })
  end)

  -- A stock Lua lacks what other presets need.
  if support.preset == "release" then
    it("has the core as a module for a stock lua5.4", function()
      local command = block
        [[LUA_CPATH='build/release/?.so;;' lua5.4 -e 'require "greenlua".sleep(1)']]
      assert.same({ 0, "", "" }, { support.run {
        program = "sh", "-c", (command:gsub("sleep%(1%)", "sleep(0.001)")) } })
    end)
  end

  it("names files that are there", function()
    local count = 0
    for name in text:gmatch "[` ]([%w_/]+%.[clh]u?a?)[`. ,]" do
      if name ~= "script.lua" and name ~= "greenlua.h" then
        assert.is_truthy(lfs.attributes(name) or lfs.attributes("examples/" .. name), name)
        count = count + 1
      end
    end
    assert.is_true(count > 15, tostring(count))
  end)

  it("names what modules have", function()
    local modules = { green = "greenlua", http = "greenlua.http", ssl = "greenlua.ssl",
      socket = "greenlua.socket", websocket = "greenlua.websocket" }
    local others = { ["socket.http"] = true, ["socket.smtp"] = true, ["ssl.https"] = true }
    local names = {}
    for code in text:gmatch "`([^`\n]+)`" do
      for module, name in code:gmatch "%f[%w_.]([%l]+)%.([%w_]+)" do
        local of_others = others[module .. "." .. name]
        if modules[module] and not of_others then names[#names + 1] = { module, name } end
      end
    end
    assert.is_true(#names > 10, tostring(#names))
    for _, one in ipairs(names) do
      local found = require(modules[one[1]])[one[2]]
        or pcall(require, modules[one[1]] .. "." .. one[2])
      assert.is_truthy(found, table.concat(one, "."))
    end
  end)
end)
