-- Clients and servers for specs of HTTP:  local web = require "spec.support.http"

local await = require "spec.support.await"
local http = require "greenlua.http"
local socket = require "greenlua.socket"

local M = {}

--- A server on a port of its own, started. It tells nobody of the errors of its
-- handlers: they are in the list `failures`.
function M.server(handler, options)
  local server = http.Server("127.0.0.1:0", handler, options)
  server.failures = {}
  function server.report(self, err) table.insert(self.failures, tostring(err)) end
  assert(server:start())
  return server
end

function M.connect(server)
  local conn = assert(socket.connect("127.0.0.1", server.port))
  conn:settimeout(60)
  return conn
end

--- Sends bytes and reads until the server closes: what came.
function M.raw(server, bytes)
  local conn <close> = M.connect(server)
  conn:send(bytes)
  local reply, err, partial = conn:receive "*a"
  return reply or partial, err
end

local function read_head(conn)
  local head, err = conn:read_until "\r\n\r\n"
  if not head then return nil, err end
  local status, reason, rest = head:match "^HTTP/1%.1 (%d%d%d) ([^\r\n]*)(.*)$"
  if not status then error("no head: " .. head, 0) end
  local response = { status = tonumber(status), reason = reason, headers = {}, names = {},
    head = head }
  for name, value in (rest .. "\r\n"):gmatch "\r\n([^:\r\n]+): ([^\r\n]*)" do
    response.names[#response.names + 1] = name
    response.headers[name:lower()] = value
  end
  return response
end

local function read_chunks(conn, response)
  local pieces = {}
  while true do
    local line, err = conn:read_until "\r\n"
    if not line then return nil, err end
    local size = assert(tonumber(line:match "^%x+$", 16), "no size of a chunk: " .. line)
    if size == 0 then break end
    pieces[#pieces + 1] = assert(conn:receive(size))
    assert(conn:receive(2) == "\r\n", "no end of a chunk")
  end
  response.chunks, response.trailers = pieces, {}
  while true do
    local line = assert(conn:read_until "\r\n")
    if line == "" then return table.concat(pieces) end
    local name, value = line:match "^([^:]+): (.*)$"
    response.trailers[name:lower()] = value
  end
end

--- Reads one response: `status`, `headers` (names in lower case), `body` …; nil and a
-- message at the end of the connection.
function M.read(conn, method)
  local response, err = read_head(conn)
  if not response then return nil, err end
  local headers, status = response.headers, response.status
  if method == "HEAD" or status < 200 or status == 204 or status == 304 then
    response.body = ""
  elseif headers["transfer-encoding"] then
    response.body, err = read_chunks(conn, response)
  elseif headers["content-length"] then
    local size = tonumber(headers["content-length"])
    response.body = ""
    if size > 0 then response.body, err = conn:receive(size) end
  else
    response.body, err = conn:receive "*a"
  end
  if not response.body then return nil, err end
  return response
end

--- Lua's assert: the one of specs raises objects of its own.
function M.must(...)
  if not ... then error((select(2, ...)), 2) end
  return ...
end

--- The bytes of a request: fields in a table, or a list of lines.
function M.request(method, target, headers, body)
  local lines = { ("%s %s HTTP/1.1"):format(method, target), "Host: localhost" }
  if body then lines[#lines + 1] = "Content-Length: " .. #body end
  for name, value in pairs(headers or {}) do lines[#lines + 1] = ("%s: %s"):format(name, value) end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

--- One request on a connection of its own.
function M.ask(server, method, target, headers, body)
  local conn <close> = M.connect(server)
  conn:send(M.request(method, target, headers, body))
  return M.read(conn, method)
end

function M.get(server, target, headers)
  return M.ask(server, "GET", target, headers)
end

--- What a command of the shell says, while servers of this process run.
function M.shell(command)
  local path = os.tmpname()
  os.execute(("{ unset LD_PRELOAD; { %s\n} >%s.out 2>&1; mv %s.out %s; } &")
    :format(command, path, path, path))
  local text
  await(function()
    local file <close> = assert(io.open(path))
    text = file:read "a"
    return text ~= ""
  end)
  os.remove(path)
  return text
end

return M
