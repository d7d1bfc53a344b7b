-- The page of websocket_chat.lua in Chromium. That takes some seconds, whatever greenlua
-- has been built with: so for one build only, and where there is a Chromium.

local preset = os.getenv "GREENLUA_PRESET" or "release"
local browser = io.open "/usr/bin/chromium"
if preset ~= "release" or not browser then return end
browser:close()

local green = require "greenlua"
local daemon = require "spec.support.daemon"
local json = require "greenlua.http.json"
local sockets = require "spec.support.sockets"
local support = require "spec.support"
local web = require "spec.support.http"
local websocket = require "greenlua.websocket"

local COMMAND <const> = "timeout 100 /usr/bin/chromium --headless --no-sandbox --disable-gpu "
  .. "--disable-quic --no-first-run --disable-background-networking --disable-component-update "
  .. "--disable-sync --user-data-dir=%s --virtual-time-budget=1000 --dump-dom '%s' 2>/dev/null"

describe("websocket_chat.lua, in Chromium,", function()
  it("shows what is said", function()
    local program <close> = support.start { "examples/websocket_chat.lua", "0" }
    local folder = daemon.folder()
    local at = ("127.0.0.1:%d/"):format(sockets.port_of(program))
    local ws <close> = assert(websocket.connect("ws://" .. at .. "chat"))
    ws:send '{"name": "Lua", "text": "<b>hello</b> browser"}'
    local page = green.spawn(web.shell, COMMAND:format(folder,
      "http://" .. at .. "?name=Anna&say=hi"))
    local heard
    repeat heard = json.decode(assert(ws:receive(100))) until heard.name == "Anna"
    assert.same({ name = "Anna", text = "hi" }, heard)
    assert.matches("<b>Lua</b>&lt;b&gt;hello&lt;/b&gt; browser</li>", page:get())
    os.execute("rm -rf " .. folder)
    ws:close()
  end)
end)
