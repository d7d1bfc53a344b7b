-- Orbit's examples, and an application of ours for Orbit: see wsapi_spec.lua.
--
-- Orbit, as Debian has it, is for Lua 5.1: what Lua has dropped since is given back to it.

package.path = "/usr/share/lua/5.2/?.lua;/usr/share/lua/5.1/?.lua;" .. package.path

local function find_env(f)
  for i = 1, math.huge do
    local name, value = debug.getupvalue(f, i)
    if name == "_ENV" or not name then return name and i, value end
  end
end

local globals = {
  unpack = table.unpack, loadstring = load,
  getfenv = function(f) return select(2, find_env(f)) or _G end,
  setfenv = function(f, env)
    local i = find_env(f)
    if i then debug.upvaluejoin(f, i, function() return env end, 1) end
    return f
  end,
}
-- Sets the environment of the rest of the file.
function globals.module(name, ...)
  local M = {}
  package.loaded[name], M._M, M._NAME = M, M, name
  _G[name] = M
  for _, decorate in ipairs { ... } do decorate(M) end
  globals.setfenv(debug.getinfo(2, "f").func, M)
end

for name, value in pairs(globals) do rawset(_G, name, value) end
rawset(package, "seeall", function(M) setmetatable(M, { __index = _G }) end)

local green = require "greenlua"
local http = require "greenlua.http"
local orbit = require "orbit"

dofile "/usr/share/doc/lua-orbit/hello/hello.lua"
local songs = dofile "/usr/share/doc/lua-orbit/songs/songs.lua"

local app = orbit.new()

app:dispatch_post(function(web)
  web:set_cookie("seen", "yes")
  return ("%s|%s|%s"):format(web.input.name, web.input.text, web.cookies.who)
end, "/form")
app:dispatch_post(function(web)
  return ("%s %d"):format(web.input.f.name, #web.input.f.contents)
end, "/upload")
app:dispatch_get(function(web) return web:redirect "/there" end, "/away")
app:dispatch_get(function(_, n)
  local function wait(text)
    green.sleep(0.01)
    return text
  end
  return (("slow " .. n):gsub("%a+", wait))
end, "/slow/(%d+)")

local apps = { hello = http.wsapi.handler(package.loaded.hello, "/hello"),
  songs = http.wsapi.handler(songs, "/songs") }
local own = http.wsapi.handler(app)

local server <close> = http.Server("127.0.0.1:0", function(req, res)
  return (apps[req.path:match "^/(%a+)"] or own)(req, res)
end)
assert(server:start())
print("listening on 127.0.0.1 port " .. server.port)
io.stdout:flush()
assert(server:serve_forever())
