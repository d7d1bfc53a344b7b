local http = require "greenlua.http"
local lfs = require "lfs"
local web = require "spec.support.http"

describe("http.static with precompressed files", function()
  local root, server

  local function write(name, text, at)
    local file <close> = assert(io.open(root .. "/" .. name, "wb"))
    file:write(text)
    file:close()
    lfs.touch(root .. "/" .. name, at, at)
  end

  setup(function()
    root = os.tmpname()
    os.remove(root)
    lfs.mkdir(root)
    write("page.html", "the page itself", 1000)
    write("page.html.gz", "GZIPPED", 1000)
    write("new.css", "newer", 2000)
    write("new.css.gz", "older", 1000)
    write("alone.js", "alone", 1000)
    lfs.mkdir(root .. "/alone.js.gz")
    local router = http.router()
    router:mount("/plain", http.static.handler(root))
    router:mount("/packed", http.static.handler(root,
      { precompressed = true, cache = "max-age=1" }))
    router:mount("/raw", function(req, res)
      res.compress = false
      return http.static.handler(root, { precompressed = true })(req, res)
    end)
    server = web.server(router, { gzip = true })
  end)

  teardown(function()
    server:stop(0)
    os.execute("rm -r " .. root)
  end)

  local function get(target, headers)
    return web.get(server, target, headers or { ["Accept-Encoding"] = "br, gzip" })
  end

  it("sends them as what they are made of", function()
    local r = get "/packed/page.html"
    assert.equal("GZIPPED", r.body)
    assert.equal("gzip", r.headers["content-encoding"])
    assert.equal("Accept-Encoding", r.headers.vary)
    assert.matches("^text/html", r.headers["content-type"])
    assert.equal("7", r.headers["content-length"])
    local plain = get("/packed/page.html", {})
    assert.equal("the page itself", plain.body)
    assert.is_nil(plain.headers["content-encoding"])
    assert.equal("Accept-Encoding", plain.headers.vary)
    assert.not_equal(r.headers.etag, plain.headers.etag)
  end)

  it("to those who accept them only", function()
    for _, accepted in ipairs { "identity", "gzip;q=0", "br", "xgzip", "br, gzip ;\tq=0.0",
      "gzip;q=0;x=1" } do
      local r = get("/packed/page.html", { ["Accept-Encoding"] = accepted })
      assert.equal("the page itself", r.body)
    end
    for _, accepted in ipairs { "gzip;\tq=0.001", "br,\tgzip\t", "br ,GZIP;q=1" } do
      local r = get("/packed/page.html", { ["Accept-Encoding"] = accepted })
      assert.equal("GZIPPED", r.body)
    end
    assert.equal("the page itself", get "/plain/page.html".body)
    assert.equal("the page itself", get "/raw/page.html".body)
    assert.equal("GZIPPED", get "/packed/page.html.gz".body)
    assert.is_nil(get "/packed/page.html.gz".headers["content-encoding"])
  end)

  it("not those that are too old, or no files", function()
    assert.not_equal("older", get "/packed/new.css".body)
    assert.equal("newer", get("/packed/new.css", {}).body)
    assert.equal("alone", get("/packed/alone.js", {}).body)
    assert.equal(200, get "/packed/alone.js".status)
  end)

  it("with conditions, ranges and HEAD of their own", function()
    local tag = get "/packed/page.html".headers.etag
    local gzip = { ["Accept-Encoding"] = "gzip", ["If-None-Match"] = tag }
    assert.equal(304, get("/packed/page.html", gzip).status)
    assert.equal(200, get("/packed/page.html", { ["If-None-Match"] = tag }).status)
    local part = get("/packed/page.html", { ["Accept-Encoding"] = "gzip", Range = "bytes=1-2" })
    assert.equal(206, part.status)
    assert.equal("ZI", part.body)
    assert.equal("gzip", part.headers["content-encoding"])
    local none = get("/packed/page.html", { ["Accept-Encoding"] = "gzip", Range = "bytes=99-" })
    assert.equal(416, none.status)
    assert.is_nil(none.headers["content-encoding"])
    local head = web.ask(server, "HEAD", "/packed/page.html", { ["Accept-Encoding"] = "gzip" })
    assert.equal("7", head.headers["content-length"])
  end)
end)
