-- The request and its session are there for whoever needs them, however deep in
-- the program: each greenlet has its own, though the name is the same for all.
-- Try it with
--
--     curl -b session=ada http://127.0.0.1:8000/
--
-- usage: request_local.lua [port]

local green = require "greenlua"
local http = require "greenlua.http"

local current = green.Local()

-- Around every handler.
local function with_session(req, res, next)
  current.request = req
  current.session = { user = req.cookies.session or "nobody" }
  return next(req, res)
end

-- Somewhere else in the program: nobody has handed it a request.
local function greeting()
  green.sleep(0.01) -- meanwhile others are served
  return ("Hello %s, from %s\n"):format(current.session.user, current.request.remote_host)
end

local router = http.router()
router:use(with_session)
router:get("/", function() return greeting() end)

local server <close> = http.Server({ "127.0.0.1", arg[1] or 8000 }, router)
assert(server:start())
print("listening on 127.0.0.1 port " .. server.port)
io.stdout:flush()
assert(server:serve_forever())
