-- The rules of the house that a program can check: who may know whom, what must
-- be documented, what must not be in the tree.

local lfs = require "lfs"

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

-- The files below a directory whose names match, sorted.
local function files(directory, pattern)
  local found = {}
  local function look(path)
    for name in lfs.dir(path) do
      local below = path .. "/" .. name
      if lfs.attributes(below, "mode") == "directory" then
        if not name:find "^%." then look(below) end
      elseif name:find(pattern) then
        found[#found + 1] = below
      end
    end
  end
  look(directory)
  table.sort(found)
  return found
end

local function lines(text)
  local list = {}
  for line in (text:gsub("\n?$", "\n")):gmatch "([^\n]*)\n" do list[#list + 1] = line end
  return list
end

local function stem(path) return path:match "([^/]*)%.%w+$" end

-- One failure tells of every offence.
local function assert_none(offences)
  assert.equal("", table.concat(offences, "\n"))
end

-- Those of the files that have the pattern, unless `exempt(path)`.
local function assert_none_calls(pattern, why, paths, exempt)
  local offences = {}
  for _, path in ipairs(paths) do
    if not (exempt and exempt(path)) and read(path):find(pattern) then
      offences[#offences + 1] = path .. " " .. why
    end
  end
  assert_none(offences)
end

describe("the layers", function()
  local function includes(path)
    local found = {}
    for name in ("\n" .. read(path)):gmatch '\n%s*#%s*include%s*[<"]([^>"]+)' do
      found[#found + 1] = name
    end
    return found
  end

  local function exists(path) return lfs.attributes(path, "mode") == "file" end

  -- As the compiler looks for it; nil: not one of ours.
  local function resolve(path, name)
    for _, directory in ipairs { path:match "(.*/)", "host/", "bindings/" } do
      if exists(directory .. name) then return directory .. name end
    end
  end

  it("host/ knows no binding", function()
    local offences = {}
    for _, path in ipairs(files("host", "%.[ch]$")) do
      for _, name in ipairs(path == "host/command/main.c" and {} or includes(path)) do
        if (resolve(path, name) or name):find "bindings/" then
          offences[#offences + 1] = path .. " includes " .. name
        end
      end
    end
    assert_none(offences)
  end)

  it("the inner ring of host/ knows no Lua", function()
    local ring = {
      "address", "alloc", "buffer", "child", "coop/real", "limit/watchdog", "file", "filter",
      "hub", "io", "list", "loop", "output", "pass", "post", "resolver/channel", "resolver/hosts",
      "resolver/lookup", "resolver/message", "resolver/nameinfo", "resolver/query",
      "resolver/resolvconf", "resolver/resolver", "sendfile", "stack", "step", "stream",
      "threadpool", "timer", "watch",
    }
    local offences = {}
    local function follow(path, via, seen)
      if seen[path] then return end
      seen[path] = true
      for _, name in ipairs(includes(path)) do
        local chain = via .. " includes " .. name
        if name:find "^lua[%w_]*%.h" or name == "lauxlib.h" then
          offences[#offences + 1] = chain
        elseif resolve(path, name) then
          follow(resolve(path, name), chain .. ", which", seen)
        end
      end
    end
    for _, name in ipairs(ring) do
      local header, source = ("host/%s.h"):format(name), ("host/%s.c"):format(name)
      assert.is_true(exists(header) or exists(source), name .. " is gone from host/")
      for _, path in ipairs { header, source } do
        if exists(path) then follow(path, path, {}) end
      end
    end
    assert_none(offences)
  end)

  -- One of several files is a folder.
  it("a binding knows no other binding", function()
    local offences = {}
    for _, path in ipairs(files("bindings", "%.[ch]$")) do
      for _, name in ipairs(includes(path)) do
        local folder = (resolve(path, name) or ""):match "^bindings/.*/"
        if folder and folder ~= path:match "(.*/)" then
          offences[#offences + 1] = path .. " includes " .. name
        end
      end
    end
    assert_none(offences)
  end)

  -- So the hub knows whether there is anything to poll for.
  it("nobody but the hub counts watchers of a loop", function()
    local own = { hub = true, loop = true, edit = true, interrupt = true }
    assert_none_calls("%f[%w]ev_u?n?ref%(", "calls ev_ref or ev_unref (see gr_hub_watch)",
      files("bindings", "%.[ch]$"))
    assert_none_calls("%f[%w]ev_u?n?ref%(", "calls ev_ref or ev_unref (see gr_hub_watch)",
      files("host", "%.[ch]$"), function(path) return own[stem(path)] end)
  end)

  -- A host may have a clock of its own.
  it("deadlines are of the hub's clock", function()
    local offences = {}
    for _, path in ipairs(files("host", "%.c$")) do
      for call in read(path):gmatch "gr_alarm_set(%b())" do
        if call:find "gr_now" then
          offences[#offences + 1] = path .. " sets an alarm by gr_now (see gr_hub_now)"
        end
      end
    end
    assert_none(offences)
    local ages = { ["bindings/dns/records.c"] = true, ["bindings/dns/dns.c"] = true } -- of answers
    assert_none_calls("%f[%w]gr_now%(", "calls gr_now (see gr_hub_now)",
      files("bindings", "%.[ch]$"), function(path) return ages[path] end)
  end)

  it("lua/ requires nothing but greenlua", function()
    local offences = {}
    for _, path in ipairs(files("lua", "%.lua$")) do
      local code = ("\n" .. read(path)):gsub("\n%s*%-%-[^\n]*", "")
      for name in code:gmatch "%f[%w_]require%s*%(?%s*[\"']([^\"']*)" do
        if not name:find "^greenlua%f[.\0]" then
          offences[#offences + 1] = path .. " requires " .. name
        end
      end
    end
    assert_none(offences)
  end)
end)

describe("the documentation", function()
  -- What a file of lua/ documents, and which public functions it defines at the
  -- left margin: sets of "spawn" (of the module) and "Greenlet.join". A class is
  -- public if the module has a field of its name, or the comments an @type.
  local function survey(path)
    local text = read(path)
    local module = text:match "\nreturn ([%w_]+)%s*$" or "M"
    local documented, functions, public = {}, {}, { [module] = true }

    local function plain(name)
      return (name:gsub(":", "."):gsub("^" .. module .. "%.", ""))
    end

    local class -- whose comments these are
    local described = false -- is this, or the line after it, in a --- comment?
    for _, line in ipairs(lines(text)) do
      local tag, named = line:match "^%s*%-%-+%s*@(%a+)%s+([%w_.:]+)"
      if line:find "^%s*%-%-%-" then described = true end
      if tag == "type" then
        class, public[named], documented[named] = named, true, true
      elseif tag == "section" then
        class = nil
      elseif tag == "function" then
        local bare = class and not named:find "[.:]"
        documented[bare and class .. "." .. named or plain(named)] = true
      elseif not line:find "^%s*%-%-" then
        local f = line:match "^%s*function%s+([%w_.:]+)"
        local field = line:match "^([%w_.]+) = "
        if described and f then documented[plain(f)] = true end
        if f and line:find "^function" then functions[#functions + 1] = f end
        if field and line:match " = ([%w_]+)$" == plain(field) then
          public[plain(field)] = true
        end
        described = false
      end
    end

    local defined = {}
    for _, f in ipairs(functions) do
      local owner = f:match "^([%w_]+)[.:]%a[%w_]*$"
      if public[owner] then defined[plain(f)] = true end
    end
    return documented, defined
  end

  -- What the module of a file exports, by asking it: functions, and the
  -- functions of its classes.
  local function exports(path)
    local module = require(path:match "^lua/(.*)%.lua$":gsub("/", "."))
    local found = {}
    local function look(t, prefix)
      for name, value in pairs(t) do
        if type(name) == "string" and name:find "^%a" then -- not what begins with _
          if type(value) == "function" then
            found[prefix .. name] = value
          elseif type(value) == "table" and prefix == "" and name:find "^%u" then
            look(value, name .. ".")
          end
        end
      end
    end
    if type(module) == "table" then look(module, "") end
    return found
  end

  local sources = files("lua", "%.lua$")

  it("covers every public function in lua/", function()
    local known = {} -- functions that are documented where they come from
    for _, path in ipairs(sources) do
      local documented = survey(path)
      for name, f in pairs(exports(path)) do
        if documented[name] then known[f] = true end
      end
    end
    local offences = {}
    for _, path in ipairs(sources) do
      local documented, defined = survey(path)
      for name, f in pairs(exports(path)) do
        if not known[f] then defined[name] = true end
      end
      for name in pairs(defined) do
        if not documented[name] then offences[#offences + 1] = path .. ": " .. name end
      end
    end
    table.sort(offences)
    assert_none(offences)
  end)

  it("begins each file in lua/ with what the module is", function()
    local offences = {}
    for _, path in ipairs(sources) do
      local text = read(path)
      if not (text:find "^%-%-%- %S" and text:find "\n%-%- @module greenlua") then
        offences[#offences + 1] = path
      end
    end
    assert_none(offences)
  end)

  -- A comment directly above, at the end of the line, or above the first of a
  -- group without an empty line. x_init, x_fini and x_close always mean the same.
  it("covers every function declared in host/*.h", function()
    local offences = {}
    for _, path in ipairs(files("host", "%.h$")) do
      local covered, statement = false, ""
      for number, line in ipairs(lines(read(path))) do
        local code = line:gsub("/%*.-%*/", "")
        if line:find "%*/" then covered = true end
        if line == "" then covered = false end
        if code:find "^[%a_]" and not code:find "^typedef" then statement = "" end
        statement = statement .. code
        local name = statement:match "^[%a_][%w_ *]-([%w_]+)%s*%([^{}]*%)[^{}()]*;$"
        if name and not statement:find "^typedef" and not covered
          and not (name:find "_init$" or name:find "_fini$" or name:find "_close$") then
          offences[#offences + 1] = ("%s:%d: %s"):format(path, number, name)
        end
        if statement:find "[;{}]%s*$" then statement = "" end
      end
    end
    assert_none(offences)
  end)

  it("in README.md names commands that exist", function()
    local text = read "README.md"
    local named = {}
    for path in text:gmatch "%f[%w/]tools/[%w_.-]*%w" do named[path] = true end
    assert.is_true(named["tools/run"], "tools/run is not in README.md")
    assert.is_true(named["tools/test"], "tools/test is not in README.md")
    for path in pairs(named) do
      local permissions = lfs.attributes(path, "permissions") or "none"
      assert.is_truthy(permissions:find "^r.x", path .. " is no command")
    end
  end)

  it("is made into pages by ldoc without a warning", function()
    local out = os.tmpname()
    finally(function() os.remove(out) end)
    os.execute(("d=$(mktemp -d); ldoc -q -d $d . >%s 2>&1 || echo failed >>%s; rm -r $d")
      :format(out, out))
    local said = {}
    for line in io.lines(out) do
      if not line:find "^reading configuration" then said[#said + 1] = line end
    end
    assert_none(said)
  end)
end)

describe("the tree", function()
  local function tracked()
    local pipe <close> = assert(io.popen "git ls-files 2>/dev/null")
    local list = {}
    for path in pipe:lines() do
      if lfs.attributes(path, "mode") == "file" then list[#list + 1] = path end
    end
    return list
  end

  -- In pieces, or this file would be the first offender.
  local unwanted = {
    "%f[/\0]/wor" .. "k/", "%f[/\0]/hom" .. "e/", "%f[/\0]/roo" .. "t%f[^%w_]",
    "%f[%w_]TO" .. "DO%f[^%w_]", "%f[%w_]FIX" .. "ME%f[^%w_]", "%f[%w_]XX" .. "X%f[^%w_]",
  }

  it("has no paths of somebody's machine, and no notes to self", function()
    local paths = tracked()
    if #paths == 0 then pending "needs a git checkout" end
    local offences = {}
    for _, path in ipairs(paths) do
      local text = read(path)
      for number, line in ipairs(text:find "\0" and {} or lines(text)) do
        for _, pattern in ipairs(unwanted) do
          local at = line:find(pattern)
          if at and not line:sub(at - 1, at - 1):find "[%w_.$}%-]" then
            offences[#offences + 1] = ("%s:%d: %s"):format(path, number, line)
          end
        end
      end
    end
    assert_none(offences)
  end)

  -- host/coop/io.h: GR_COOP_IO_H; bindings/http/http.h, whose names begin with grh_:
  -- GRH_HTTP_H.
  it("guards each header by a name that says where it is", function()
    local offences = {}
    for _, directory in ipairs { "host", "bindings" } do
      for _, path in ipairs(files(directory, "%.h$")) do
        local place = path:match "/(.*)%.h$":gsub("^(%w+)/%1$", "%1"):gsub("/", "_"):upper()
        local guard = read(path):match "\n#ifndef ([%w_]+)\n#define %1\n" or "none"
        if guard:gsub("^GR%a?_", "") ~= place .. "_H" then
          offences[#offences + 1] = ("%s: %s"):format(path, guard)
        end
      end
    end
    assert_none(offences)
  end)

  it("has no source file of more than 500 lines", function()
    local offences = {}
    for _, directory in ipairs { "host", "bindings", "lua" } do
      for _, path in ipairs(files(directory, "%.%a+$")) do
        local count = #lines(read(path))
        if count > 500 then offences[#offences + 1] = ("%s: %d lines"):format(path, count) end
      end
    end
    assert_none(offences)
  end)
end)
