--- HTTP/1.1: a server that can stand on the open net, and what handlers need; a client.
--
-- A *handler* is `function(req, res)`; it runs in the greenlet of its connection, so it
-- may wait for whatever it likes. What it returns is sent: a string, a list of
-- strings, an iterator (streamed, as fast as the client takes it), or a status with
-- headers and any of these. Or it sends by itself (`res:send`, `res:write`) and returns
-- nothing.
--
-- @usage
-- local http = require "greenlua.http"
--
-- local server = http.Server("127.0.0.1:8080", function(req, res)
--   if req.path == "/" then return "hello world\n" end
--   return 404, "no such page\n"
-- end)
-- assert(server:serve_forever())
--
-- Requests and responses: see `greenlua.http.message`. The server and its options:
-- `greenlua.http.server`.
--
-- And a client: `http.get`, `post`, `put`, `head`, `delete` and `request` are those of
-- `greenlua.http.client`.
--
-- @usage
-- local res = assert(http.get "https://www.lua.org/")
-- print(res.status, res.headers["content-type"], #res.body)
-- @module greenlua.http

local core = require "greenlua.core.http"
local object = require "greenlua.object"

local http = {}

--- The words of the standard for a status.
-- @usage http.reason(404) --> Not Found
-- @function reason
-- @tparam integer status
-- @treturn string `"Unknown"` if there are none
http.reason = core.reason

--- A time as HTTP writes it.
-- @usage http.date(0) --> Thu, 01 Jan 1970 00:00:00 GMT
-- @function date
-- @tparam[opt] integer seconds since 1970; now without
-- @treturn string
http.date = core.date

--- Undo percent-encoding.
-- @usage http.unescape "a%20b" --> a b
-- @function unescape
-- @tparam string text
-- @tparam[opt] boolean plus `+` is a space, as in forms
-- @treturn string what is no escape stays as it is
http.unescape = core.unescape

--- Percent-encode what is not unreserved (RFC 3986).
-- @usage http.escape "a b/c" --> a%20b%2Fc
-- @tparam string text
-- @treturn string
function http.escape(text)
  text = object.check_string("escape", 1, text)
  return (text:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

--- Serve until the program is stopped: `http.Server(listener, handler, options)`, started.
-- @usage assert(http.serve(8080, function(req) return "you asked for " .. req.path end))
-- @param listener
-- @tparam function handler
-- @tparam[opt] table options
-- @treturn[1] boolean true when it has been stopped
-- @treturn[2] nil
-- @treturn[2] string it could not start
function http.serve(listener, handler, options)
  return require("greenlua.http.server").Server(listener, handler, options):serve_forever()
end

--- Begin a stream of server-sent events; see `greenlua.http.events`.
-- @function events
-- @tparam Request req
-- @tparam Response res
-- @tparam[opt] table options
-- @treturn Events

-- Where each of the other names is, loaded when it is first used.
local homes = {
  Server = "server", server = "server.Server", Error = "errors", abort = "errors",
  events = "events.new",
  get = "client", post = "client", put = "client", head = "client", delete = "client",
  request = "client", Client = "client",
}
local modules = {
  client = true, router = true, static = true, cookies = true, forms = true, multipart = true,
  json = true, wsapi = true, message = true,
}

object.lazy(http, "greenlua.http.", homes, modules)

return http
