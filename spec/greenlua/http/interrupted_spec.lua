-- A response that is left in the midst of it: nobody may take what follows for its rest.

local await = require "spec.support.await"
local green = require "greenlua"
local web = require "spec.support.http"

describe("a response of http.Server that is interrupted", function()
  local server, path, routes = nil, nil, {}
  local big = ("x"):rep(32 << 20)

  setup(function()
    server = web.server(function(req, res) return routes[req.path](req, res) end)
    routes["/next"] = function() return "next" end
    path = os.tmpname()
    local file <close> = assert(io.open(path, "w"))
    file:write(big)
  end)

  teardown(function()
    server:stop(0)
    os.remove(path)
  end)

  before_each(function() server.failures = {} end)

  local ways = {
    ["sent whole"] = function(res) res:send(big) end,
    ["written"] = function(res) res:write(big) end,
    ["of known length"] = function(res)
      res:set_header("Content-Length", #big)
      res:write(big)
    end,
    ["a file"] = function(res) res:send_file(path) end,
  }

  -- The client gets less than was promised, and nothing else.
  local function check(handler)
    local over = false
    routes["/"] = function(req, res)
      handler(req, res)
      over = true
    end
    local conn <close> = web.connect(server)
    conn:send(web.request("GET", "/") .. web.request("GET", "/next"))
    await(function() return over end)
    local reply, err, partial = conn:receive "*a"
    assert.not_equal("timeout", err)
    reply = reply or partial
    assert.is_true(#reply < #big)
    assert.is_nil(reply:find("HTTP/1.1", 2, true))
    assert.is_nil(reply:find("next", 1, true))
  end

  for what, way in pairs(ways) do
    it(what .. ", by a Timeout that its handler catches", function()
      check(function(_, res) assert.is_false(pcall(green.with_timeout, 0.02, way, res)) end)
    end)

    it(what .. ", by a kill of the greenlet that sends", function()
      check(function(_, res)
        local g = green.spawn(way, res)
        green.sleep(0.02)
        g:kill()
      end)
    end)

    it(what .. ", because its handler does not wait for who sends it", function()
      check(function(_, res)
        green.spawn(way, res)
        green.sleep(0.02)
      end)
    end)
  end
end)
