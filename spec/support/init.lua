-- What specs share:  local support = require "spec.support"

local M = {}

M.greenlua = os.getenv "GREENLUA" or "build/release/greenlua"
M.preset = os.getenv "GREENLUA_PRESET" or "release"

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
end

--- The path of what was built beside greenlua.
-- @usage support.run { program = support.built "examples/embed_minimal" }
function M.built(name)
  return (M.greenlua:gsub("[^/]*$", "") .. name)
end

-- The command line of a child: greenlua, its arguments, and an environment that
-- differs from ours as `env` says (false takes a variable out).
local function command_line(args, env)
  -- a sanitizer's runtime is preloaded for us, not for everyone
  local words = { "env", "-u", "LD_PRELOAD", "-u", "LUA_CPATH" }
  local settings = {}
  for name, value in pairs(env or {}) do
    if value then
      settings[#settings + 1] = quote(name .. "=" .. value)
    else
      words[#words + 1] = "-u " .. name
    end
  end
  table.move(settings, 1, #settings, #words + 1, words)
  words[#words + 1] = quote(type(args) == "table" and args.program or M.greenlua)
  if type(args) == "string" then
    words[#words + 1] = args
  else
    for _, word in ipairs(args) do words[#words + 1] = quote(word) end
  end
  return table.concat(words, " ")
end

--- Runs the greenlua command as a child to its end, a minute at most. The
-- whole thread waits.
-- @usage local code, out, err = support.run({ "-e", "print(1)" })
-- @tparam table|string args a list of arguments, or words for the shell; the field
-- `program` of a list names another program than greenlua (see `built`)
-- @tparam[opt=""] string stdin
-- @tparam[opt] table env variables to set, or to take out where false
-- @treturn integer exit code; 128 and the signal's number for a death by signal
-- @treturn string what came on stdout
-- @treturn string what came on stderr
function M.run(args, stdin, env)
  local stem = os.tmpname()
  local input, output, errors = stem .. ".in", stem .. ".out", stem .. ".err"
  write(input, stdin or "")
  local _, how, code = os.execute(("timeout 60 %s <%s >%s 2>%s"):format(
    command_line(args, env), input, output, errors))
  local out, err = read(output), read(errors)
  for _, path in ipairs { stem, input, output, errors } do os.remove(path) end
  if how == "signal" then code = 128 + code end
  if code == 124 then error("greenlua was still running after 60 s; stderr:\n" .. err, 2) end
  return code, out, err
end

local Child = {}
Child.__index = Child

--- Starts the greenlua command as a child and goes on. It reads from /dev/null
-- and lives for 20 seconds at most.
-- @usage local server <close> = support.start { "examples/echo_server.lua" }
-- @tparam table|string args as for `run`
-- @tparam[opt] table env as for `run`
-- @treturn Child
function M.start(args, env)
  local stem = os.tmpname()
  write(stem .. ".out", "") -- there to be read before the child gets to it
  write(stem .. ".err", "")
  -- The inner shell tells its pid and becomes greenlua. A shell has children in
  -- the background ignore the keyboard's signals: that is undone.
  local pipe <close> = assert(io.popen(
    ([[timeout 20 sh -c 'echo $$; exec "$@" >%s.out 2>%s.err' sh ]]):format(stem, stem) ..
    "env --default-signal=INT,QUIT " .. command_line(args, env) .. " </dev/null &"))
  return setmetatable({ stem = stem, pid = pipe:read "n" }, Child)
end

--- What it has written so far: stdout, stderr.
function Child:output()
  return read(self.stem .. ".out"), read(self.stem .. ".err")
end

function Child:running()
  return (os.execute(("kill -0 %d 2>/dev/null"):format(self.pid)))
end

--- Sends it a signal, "TERM" or "INT" for instance.
function Child:kill(signal)
  os.execute(("kill -%s %d 2>/dev/null"):format(signal or "TERM", self.pid))
end

--- Ends it, and takes its files away.
function Child:close()
  if not self.stem then return end
  self:kill "TERM"
  for _, path in ipairs { self.stem, self.stem .. ".out", self.stem .. ".err" } do
    os.remove(path)
  end
  self.stem = nil
end
Child.__close = Child.close
Child.__gc = Child.close

return M
