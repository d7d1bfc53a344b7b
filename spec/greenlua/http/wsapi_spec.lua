local http = require "greenlua.http"
local web = require "spec.support.http"

describe("greenlua.http.wsapi", function()
  local app, server

  setup(function()
    server = web.server(http.wsapi.handler(function(env) return app(env) end, "/app"))
  end)

  teardown(function() server:stop(0) end)

  it("gives an application its environment", function()
    local seen
    app = function(env)
      seen = env
      return "404 Not Found", { ["Content-Type"] = "text/html", ["Set-Cookie"] = { "a=1", "b=2" } },
        coroutine.wrap(function() coroutine.yield "one " coroutine.yield "two" end)
    end
    local r = web.ask(server, "POST", "/app/a%20b?x=1", { ["Content-Type"] = "text/plain",
      ["X-Own"] = "own", Proxy = "evil", ["X_Own"] = "pretender" }, "body")
    assert.equal(404, r.status)
    assert.equal("one two", r.body)
    assert.matches("Set%-Cookie: a=1\r\nSet%-Cookie: b=2", r.head)
    assert.equal("POST", seen.REQUEST_METHOD)
    assert.equal("/app", seen.SCRIPT_NAME)
    assert.equal("/a b", seen.PATH_INFO)
    assert.equal("x=1", seen.QUERY_STRING)
    assert.equal("text/plain", seen.CONTENT_TYPE)
    assert.equal("4", seen.CONTENT_LENGTH)
    assert.equal("own", seen.HTTP_X_OWN)
    assert.equal("localhost", seen.HTTP_HOST)
    assert.equal("127.0.0.1", seen.REMOTE_ADDR)
    assert.equal(tostring(server.port), seen.SERVER_PORT)
    assert.is_nil(seen.HTTP_PROXY)
    assert.equal("", seen "NOTHING")
  end)

  it("lets it read the body", function()
    app = function(env)
      local first, rest = env.input:read(2), env.input:read()
      return 200, {}, function() -- once
        local text = first and first .. "|" .. rest
        first = nil
        return text
      end
    end
    assert.equal("bo|dy", web.ask(server, "POST", "/app", {}, "body").body)
  end)
end)
