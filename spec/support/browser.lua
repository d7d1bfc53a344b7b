-- A Chromium without a window, for specs:  local browser = require "spec.support.browser"
--
-- Its pages are handled as by hand: what is typed, clicked and seen. That goes through its
-- DevTools protocol, by a WebSocket of ours.

local daemon = require "spec.support.daemon"
local green = require "greenlua"
local http = require "greenlua.http"
local json = require "greenlua.http.json"
local websocket = require "greenlua.websocket"

local M = {}

local COMMAND <const> = "/usr/bin/chromium --headless --no-sandbox --disable-gpu --disable-quic "
  .. "--no-first-run --disable-background-networking --disable-component-update --disable-sync "
  .. "--ignore-certificate-errors --remote-debugging-port=%d --user-data-dir=%s/profile about:blank"

--- Is there one?
function M.found()
  local file = io.open "/usr/bin/chromium"
  if file then file:close() end
  return file ~= nil
end

local Browser = {}
Browser.__index = Browser

local Page = {}
Page.__index = Page

--- Starts one.
function M.start()
  local folder, port = daemon.folder(), daemon.free_port()
  local self = setmetatable({ answers = {}, last = 0 }, Browser)
  self.daemon = daemon.start(folder, port, COMMAND:format(port, folder), 600)
  local version = assert(http.get(("http://127.0.0.1:%d/json/version"):format(port)))
  self.ws = assert(websocket.connect(version:json().webSocketDebuggerUrl,
    { max_message = 16 << 20 }))
  self.reader = green.spawn(function()
    for text in self.ws:messages() do
      local message = json.decode(text)
      local answer = message.id and self.answers[message.id]
      if answer then answer:set(message) end
    end
  end)
  return self
end

function Browser:_call(method, params, session)
  self.last = self.last + 1
  local id, answer = self.last, green.AsyncResult()
  self.answers[id] = answer
  assert(self.ws:send(json.encode { id = id, method = method, params = params,
    sessionId = session }))
  local message = answer:get(15)
  self.answers[id] = nil
  if message.error then error(method .. ": " .. message.error.message, 0) end
  return message.result
end

--- Opens a page in a window of its own.
function Browser:open(url)
  local target = self:_call("Target.createTarget", { url = url, newWindow = true }).targetId
  local session = self:_call("Target.attachToTarget", { targetId = target, flatten = true })
  local page = setmetatable({ browser = self, target = target, session = session.sessionId }, Page)
  page:await "/^http/.test(location.protocol) && document.readyState == 'complete'"
  return page
end

function Browser:close()
  if not self.ws then return end
  self:_call "Browser.close"
  self.reader:join()
  self.ws:close()
  while self.daemon:running() do green.sleep(0.01) end
  self.daemon:close()
  self.ws = nil
end
Browser.__close = Browser.close

function Page:_call(method, params)
  return self.browser:_call(method, params, self.session)
end

--- What an expression of JavaScript is there.
function Page:evaluate(expression)
  local result = self:_call("Runtime.evaluate", { expression = expression, awaitPromise = true,
    returnByValue = true })
  if result.exceptionDetails then error(result.exceptionDetails.text .. ": " .. expression, 2) end
  return result.result.value
end

--- Waits until it is true; a page that is on its way somewhere else may know nothing.
function Page:await(expression)
  for _ = 1, 1500 do
    local ok, value = pcall(self.evaluate, self, expression)
    if ok and value and value ~= json.null then return value end
    green.sleep(0.01)
  end
  error(("it never came to %s:\n%s"):format(expression, self:evaluate "document.body.innerText"), 2)
end

--- The texts of all elements that a selector finds.
function Page:texts(selector)
  return self:evaluate(("[...document.querySelectorAll(%s)].map(e => e.innerText)"):format(
    json.encode(selector)))
end

function Page:_mouse(kind, x, y)
  self:_call("Input.dispatchMouseEvent", { type = kind, x = x, y = y, button = "left",
    clickCount = 1 })
end

--- Clicks on an element with the mouse.
function Page:click(selector)
  local at = self:evaluate(("(r => [r.x + r.width / 2, r.y + r.height / 2])(document." ..
    "querySelector(%s).getBoundingClientRect())"):format(json.encode(selector)))
  self:_mouse("mousePressed", at[1], at[2])
  self:_mouse("mouseReleased", at[1], at[2])
end

--- Types a text at the keyboard, where it stands.
function Page:type(text)
  self:_call("Input.insertText", { text = text })
end

--- Presses the Enter key.
function Page:enter()
  for _, kind in ipairs { "keyDown", "keyUp" } do
    self:_call("Input.dispatchKeyEvent", { type = kind, key = "Enter", code = "Enter",
      windowsVirtualKeyCode = 13, text = kind == "keyDown" and "\r" or nil })
  end
end

--- Chooses files in an input.
function Page:choose(selector, paths)
  self:_call "DOM.enable"
  local root = self:_call("DOM.getDocument").root.nodeId
  local node = self:_call("DOM.querySelector", { nodeId = root, selector = selector }).nodeId
  self:_call("DOM.setFileInputFiles", { files = paths, nodeId = node })
end

function Page:close()
  self.browser:_call("Target.closeTarget", { targetId = self.target })
end
Page.__close = Page.close

return M
