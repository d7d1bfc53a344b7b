local http = require "greenlua.http"
local web = require "spec.support.http"

describe("greenlua.http.router", function()
  local router, server

  before_each(function()
    router = http.router()
    if not server then
      server = web.server(function(req, res) return router(req, res) end)
    end
  end)

  teardown(function() server:stop(0) end)

  local function get(target) return web.get(server, target).body end

  local function ask(method, target) return web.ask(server, method, target) end

  it("finds handlers by path, what is written out first", function()
    router:get("/", function() return "root" end)
    router:get("/users", function() return "users" end)
    router:get("/users/me", function() return "me" end)
    router:get("/users/:id", function(req) return "user " .. req.params.id end)
    router:get("/users/:id/posts/:post", function(req)
      return req.params.id .. "/" .. req.params.post
    end)
    router:get("/files/*path", function(req) return "file " .. req.params.path end)
    assert.equal("root", get "/")
    assert.equal("users", get "/users?x=1")
    assert.equal("me", get "/users/me")
    assert.equal("user 7", get "/users/7")
    assert.equal("user a/b c", get "/users/a%2Fb%20c")
    assert.equal("7/8", get "/users/7/posts/8")
    assert.equal("file a/b/c.txt", get "/files/a/b/c.txt")
    assert.equal("file ", get "/files/")
    for _, target in ipairs { "/users/", "/users/7/posts", "/nothing", "/files", "//users" } do
      assert.equal(404, ask("GET", target).status, target)
    end
  end)

  it("goes back to what else fits", function()
    router:get("/a/b/c", function() return "plain" end)
    router:get("/a/:x/d", function(req) return "one " .. req.params.x end)
    router:get("/*rest", function(req) return "all " .. req.params.rest end)
    assert.equal("plain", get "/a/b/c")
    assert.equal("one b", get "/a/b/d")
    assert.equal("all a/b/e", get "/a/b/e")
  end)

  it("tells methods apart", function()
    router:get("/x", function() return "get" end)
    router:post("/x", function() return "post" end)
    router:any("/y", function(req) return req.method end)
    assert.equal("post", ask("POST", "/x").body)
    local r = ask("DELETE", "/x")
    assert.equal(405, r.status)
    assert.equal("GET, HEAD, OPTIONS, POST", r.headers.allow)
    r = ask("OPTIONS", "/x")
    assert.equal(204, r.status)
    assert.equal("GET, HEAD, OPTIONS, POST", r.headers.allow)
    assert.equal("3", ask("HEAD", "/x").headers["content-length"])
    assert.equal("PATCH", ask("PATCH", "/y").body)
  end)

  it("runs middleware around handlers", function()
    local order = {}
    local function note(name)
      return function(req, res, next)
        order[#order + 1] = name
        return next(req, res)
      end
    end
    router:use(note "first", note "second")
    router:get("/x", note "third", function() return "x" end)
    router:get("/guarded", function() return 403, "no" end, function() return "never" end)
    assert.equal("x", get "/x")
    assert.same({ "first", "second", "third" }, order)
    assert.equal(403, ask("GET", "/guarded").status)
    assert.equal(404, ask("GET", "/none").status)
    assert.equal(7, #order)
  end)

  it("mounts others below a path", function()
    local inner = http.router()
    inner:get("/list", function(req) return "list " .. req.raw_path end)
    inner:get("/item/:id", function(req) return "item " .. req.params.id end)
    local outer = http.router()
    outer:mount("/v1", inner)
    router:mount("/api/", outer)
    router:mount("/any", function(req) return "rest " .. req.params.path end)
    assert.equal("list /api/v1/list", get "/api/v1/list")
    assert.equal("item 3", get "/api/v1/item/3")
    assert.equal(404, ask("GET", "/api/v1/none").status)
    assert.equal("rest a/b", get "/any/a/b")
  end)

  it("answers what is missing as it is told to", function()
    router:missing(function(req) return 404, "nothing at " .. req.path end)
    assert.equal("nothing at /x", get "/x")
  end)

  it("refuses routes that mean nothing", function()
    local function f() end
    router:get("/a/:id", f)
    assert.error_matches(function() router:get("a", f) end, "a path expected")
    assert.error_matches(function() router:get "/x" end, "a handler is missing")
    assert.error_matches(function() router:get("/x", 1) end, "function or callable expected")
    assert.error_matches(function() router:get("/a/:id", f) end,
      "there is a handler for GET /a/:id")
    assert.error_matches(function() router:get("/a/:name", f) end, 'calls "name" what another')
    assert.error_matches(function() router:get("/*a/b", f) end, "not at the end")
    assert.error_matches(function() router:get("/:", f) end, "a name is missing")
  end)
end)
