local certificates = require "spec.support.certificates"
local green = require "greenlua"
local http = require "greenlua.http"
local sockets = require "spec.support.sockets"
local support = require "spec.support"
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
    assert.same({ "", "", "", "", 4 }, { seen.HTTP_PROXY, seen "NOTHING", seen.NOTHING, seen.HTTPS,
      seen.input.length })
  end)

  it("tells it what follows its own place", function()
    app = function(env) return 200, {}, (env.PATH_INFO):gmatch ".+" end
    for path, info in pairs { ["/app"] = "/", ["/app/"] = "/", ["/app/x"] = "/x",
      ["/application"] = "/application", ["/other"] = "/other" } do
      assert.equal(info, web.get(server, path).body)
    end
    local bare <close> = web.server(http.wsapi.handler { run = function(env) return app(env) end })
    assert.equal("/app", web.get(bare, "/app").body)
    assert.equal("/", web.get(bare, "/").body)
  end)

  it("tells it of TLS", function()
    local ca <close> = certificates.authority()
    local mine = ca:issue("localhost", { "localhost" })
    local secure <close> = web.server(http.wsapi.handler(function(env)
      return 200, {}, (env.HTTPS):gmatch ".+"
    end), { tls = { certificate = mine.certificate, key = mine.key } })
    local client <close> = http.client { tls = { ca = ca.certificate } }
    assert.equal("on", client:get(("https://localhost:%d/"):format(secure.port)).body)
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

-- Orbit is installed for Lua 5.1, and its examples as documentation, which some do without.
local orbit = io.open "/usr/share/doc/lua-orbit/hello/hello.lua"
if not orbit then return end
orbit:close()

describe("Orbit", function()
  local program, port

  setup(function()
    program = support.start { "spec/greenlua/http/orbit.lua" }
    port = sockets.port_of(program)
  end)

  teardown(function() program:close() end)

  local function ask(method, path, options)
    options = options or {}
    options.redirects = 0
    local client <close> = http.client()
    options.url, options.method = ("http://127.0.0.1:%d%s"):format(port, path), method
    local res = web.must(client:request(options))
    return res.body, res.status, res
  end

  it("runs its first example", function()
    local body, status, res = ask("GET", "/hello/")
    assert.equal(200, status)
    assert.equal('<html ><head ><title>Hello</title></head>' ..
      '<body ><p class="hello">Hello World!</p></body></html>', body)
    assert.equal("text/html", res.headers["content-type"])
    assert.equal(#body, res.content_length)
    assert.matches('<p class="hello">Hello Lua!</p>', (ask("GET", "/hello/say/Lua")))
    assert.matches(">Bye Lua!<", (ask("GET", "/hello/say/Lua?greeting=Bye+")))
    body, status = ask("GET", "/hello/none")
    assert.equal(404, status)
    assert.matches("Not found!", body)
  end)

  it("runs one with templates", function()
    assert.matches("<table>.*<tr><td>Lovely Rita</td></tr>.*</table>", (ask("GET", "/songs")))
  end)

  it("reads forms, files and cookies, and sends people elsewhere", function()
    local body, status, res = ask("POST", "/form", { form = { name = "Ada", text = "a&b=ü" },
      headers = { Cookie = "a=1; who=me" } })
    assert.same({ "Ada|a&b=ü|me", 200 }, { body, status })
    assert.same({ "seen=yes" }, res:header_list "set-cookie")
    body = ask("POST", "/upload", {
      headers = { ["Content-Type"] = "multipart/form-data; boundary=x" },
      body = "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\n" ..
        ("y"):rep(100000) .. "\r\n--x--\r\n" })
    assert.equal("a.txt 100000", body)
    res = select(3, ask("GET", "/away"))
    assert.same({ 302, "/there" }, { res.status, res.headers.location })
  end)

  it("waits wherever it likes", function()
    local all = {}
    for i = 1, 20 do all[i] = green.spawn(ask, "GET", "/slow/" .. i) end
    for i, g in ipairs(all) do assert.equal("slow " .. i, (g:get(10))) end
  end)
end)
