-- The client against a server that is not ours: nginx.

local daemon = require "spec.support.daemon"
local green = require "greenlua"
local http = require "greenlua.http"
local web = require "spec.support.http"

describe("http.client, against nginx", function()
  local nginx, url

  setup(function()
    nginx = daemon.nginx [[
      gzip on; gzip_types text/plain; gzip_min_length 10; dav_methods PUT DELETE;
      location / { }
      location /put/ { dav_methods PUT DELETE; create_full_put_path on; }
      location /moved { return 301 /hello.txt; }
      location /nothing { return 204; }
      location /echo { proxy_pass http://127.0.0.1:$server_port/sink; proxy_http_version 1.1; }
      location /sink { return 200 "$request_method $content_length $http_transfer_encoding"; }
      location /once { keepalive_timeout 0; return 200 once; }
    ]]
    url = "http://127.0.0.1:" .. nginx.port
    daemon.write(nginx.folder .. "/files/hello.txt", "hello")
    daemon.write(nginx.folder .. "/files/big.txt", ("0123456789"):rep(200000))
  end)
  teardown(function() nginx:close() end)

  it("gets, heads, puts and deletes", function()
    local client <close> = http.client()
    local res = web.must(client:get(url .. "/hello.txt"))
    assert.same({ 200, "hello" }, { res.status, res.body })
    assert.equal("text/plain", res.headers["content-type"])
    res = web.must(client:head(url .. "/hello.txt"))
    assert.same({ "", "5" }, { res.body, res.headers["content-length"] })
    assert.equal(201, web.must(client:put(url .. "/put/a/b", { body = "new" })).status)
    assert.equal("new", web.must(client:get(url .. "/put/a/b")).body)
    assert.equal(204, web.must(client:delete(url .. "/put/a/b")).status)
    assert.equal(404, web.must(client:get(url .. "/put/a/b")).status)
    assert.equal(204, web.must(client:get(url .. "/nothing")).status)
    assert.same({ 1, 1 }, { client:counts() })
  end)

  it("follows where it leads", function()
    local client <close> = http.client()
    local res = web.must(client:get(url .. "/moved"))
    assert.same({ "hello", url .. "/hello.txt" }, { res.body, res.url })
  end)

  it("takes what is compressed and chunked", function()
    local client <close> = http.client()
    local res = web.must(client:get(url .. "/big.txt"))
    assert.same({ "gzip", "chunked", 2000000 },
      { res.decoded, res.headers["transfer-encoding"], #res.body })
    assert.equal(2000000, #web.must(client:get(url .. "/big.txt", { gzip = false })).body)
    assert.same({ 1, 1 }, { client:counts() })
  end)

  it("takes a part", function()
    local client <close> = http.client()
    local res = web.must(client:get(url .. "/big.txt", {
      headers = { Range = "bytes=5-9" }, gzip = false,
    }))
    assert.same({ 206, "56789" }, { res.status, res.body })
  end)

  it("sends in chunks, and asks before it sends much", function()
    local client <close> = http.client()
    local n = 0
    local res = web.must(client:put(url .. "/put/chunked", { body = function()
      n = n + 1
      return n <= 100 and ("x"):rep(1000) or nil
    end }))
    assert.is_true(res.ok)
    assert.equal(100000, #web.must(client:get(url .. "/put/chunked")).body)
    res = web.must(client:put(url .. "/put/big", { body = ("y"):rep(3000000), expect = true }))
    assert.is_true(res.ok)
    assert.equal(3000000, #web.must(client:get(url .. "/put/big", { gzip = false })).body)
    assert.same({ 1, 1 }, { client:counts() })
  end)

  it("goes on where connections are not kept", function()
    local client <close> = http.client()
    for _ = 1, 3 do assert.equal("once", web.must(client:get(url .. "/once")).body) end
    assert.same({ 0, 0 }, { client:counts() })
  end)

  it("asks for many things at once", function()
    local client <close> = http.client()
    local pool = green.Pool(50)
    local all = {}
    for i = 1, 300 do
      all[i] = pool:spawn(function() return #web.must(client:get(url .. "/hello.txt")).body end)
    end
    for _, g in ipairs(all) do assert.equal(5, g:get()) end
    local total, idle = client:counts()
    assert.is_true(total <= 50)
    assert.equal(total, idle)
  end)
end)
