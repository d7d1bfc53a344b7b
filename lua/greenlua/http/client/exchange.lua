--- One request and its response, on one connection.
-- For greenlua's own modules.
--
-- A long body is sent by a greenlet of its own, so that a server can answer before it has
-- read all of it: neither side waits for the other.
--
-- @module greenlua.http.client.exchange

local green = require "greenlua"
local now = require("greenlua.core").now
local Response = require("greenlua.http.client.response").Response

local M = {}

--- Seconds to wait for a `100 Continue` before the body is sent all the same.
M.CONTINUE = 1

local MOST_INTERIM = 100 -- responses

-- --- sending in the background --------------------------------------------------

local Sender = {}
Sender.__index = Sender

local function close_of(conn)
  if conn.sock then conn.sock:close() end
end

local function run(self, body, conn, arm)
  if self.go then self.go:wait(M.CONTINUE) end
  local ok, sent, err = pcall(body.send, conn, arm)
  self.done = now()
  if not ok then
    self.error = sent
    close_of(conn) -- whoever waits for the response is told
  elseif not sent then
    self.failure = err
    -- a peer that reads no more may have said why
    if err ~= "closed" then close_of(conn) end
  else
    self.complete = true
  end
end

local function start(body, conn, arm, expects)
  local self = setmetatable({ go = expects and green.Event() or nil }, Sender)
  self.greenlet = green.spawn(run, self, body, conn, arm)
  return self
end

--- End it: was everything sent?
function Sender:finish()
  if not self.done then self.greenlet:close() end
  return self.complete or false
end

function Sender:go_ahead()
  if self.go then self.go:set() end
end

-- What stands for a request that could not be sent to its end.
local unsent = { finish = function() return false end }

-- --- sending --------------------------------------------------------------------

local function send(request, conn, arm, state)
  local body, head = request.body, state.head
  arm()
  state.sent = true
  if body and body.text and body.brief and not state.expects then
    return conn.sock:send { head, body.text }
  end
  local ok, err = conn.sock:send(head)
  if not ok or not body then return ok, err end
  body.begun = true
  if body.brief and not state.expects then return body.send(conn, arm) end
  state.sender = start(body, conn, arm, state.expects)
  return true
end

-- --- the response ---------------------------------------------------------------

-- The time runs from when all has been sent.
local function head_deadline(header, since, sender, deadline)
  if not header then return deadline end
  if sender then since = sender.done or now() end
  return math.min(since + header, deadline or math.huge)
end

local function read_head(reader, header, sender, deadline)
  local since, interim = now(), 0
  while true do
    local at = head_deadline(header, since, sender, deadline)
    reader:patience(nil, at)
    local head, status, reason, version = reader:head()
    if not head then
      local later = sender and head_deadline(header, since, sender, deadline)
      if status ~= "timeout" or not later or later <= at then return nil, status end
    elseif status >= 200 or status == 101 then
      return head, status, reason, version
    else
      since, interim = now(), interim + 1
      if interim > MOST_INTERIM then return nil, "bad response: too many interim responses" end
      if status == 100 and sender then sender:go_ahead() end
    end
  end
end

local function failure(state, err, phase)
  local sender = state.sender
  if sender and sender.error then error(sender.error, 0) end
  if sender and sender.failure then return nil, sender.failure, "send" end
  return nil, err, phase
end

-- What still sends ends with whoever waits.
local abandon = { __close = function(self)
  if self.state and self.state.sender then self.state.sender:finish() end
end }

--- Do it.
-- @tparam table request
-- @tparam table lease with a connection; the response's from then on
-- @tparam table options `timeouts`, `decode`, `url`
-- @tparam table state `head`, `expects`; gets `sent`, `begun`
-- @tparam ?number deadline
-- @treturn[1] Response
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] string `"send"`, `"header"`
function M.run(request, lease, options, state, deadline)
  local conn, timeouts = lease.conn, options.timeouts
  local reader = conn.reader
  local held <close> = setmetatable({ state = state }, abandon)
  local function arm() conn:limit_sends(timeouts.send, deadline) end
  local ok, err = send(request, conn, arm, state)
  if not ok and err ~= "closed" then return nil, err, "send" end
  -- a server that has closed may have answered before
  local head, status, reason, version =
    read_head(reader, timeouts.header, state.sender, deadline)
  state.begun = reader:begun()
  if not head then
    return failure(state, status, ok and "header" or "send")
  end
  if status == 101 and not request.seen.upgrade then
    return nil, "bad response: a 101 that nobody asked for", "header"
  end
  local sender = state.sender
  if sender and sender.go and not sender.go:ready() then sender:finish() end -- not wanted
  reader:patience(timeouts.body, deadline)
  local response = Response({
    lease = lease, sender = sender or not ok and unsent or nil, method = request.method,
    url = options.url, decode = options.decode,
  }, head, status, reason, version)
  held.state = nil
  return response
end

return M
