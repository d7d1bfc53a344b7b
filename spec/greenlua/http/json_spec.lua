local json = require "greenlua.http.json"
local web = require "spec.support.http"

describe("greenlua.http.json", function()
  local server, handler

  setup(function()
    server = web.server(function(req, res) return handler(req, res) end)
  end)

  teardown(function() server:stop(0) end)

  it("encodes and decodes", function()
    local value = { a = { 1, 2, json.null() }, b = "\0ü" }
    assert.same(value, json.decode(json.encode(value)))
    local nothing, err = json.decode "{"
    assert.is_nil(nothing)
    assert.matches("^bad JSON: ", err)
  end)

  it("reads requests and sends values", function()
    handler = function(req, res) return res:json({ got = web.must(req:json()) }, 201) end
    local r = web.ask(server, "POST", "/", {}, '{"a":[1,true]}')
    assert.equal(201, r.status)
    assert.equal("application/json", r.headers["content-type"])
    assert.same({ got = { a = { 1, true } } }, json.decode(r.body))
  end)

  it("answers 400 to what is none", function()
    server.failures = {}
    assert.equal(400, web.ask(server, "POST", "/", {}, '{"a":').status)
    assert.equal(400, web.ask(server, "POST", "/", {}, "").status)
    assert.same({}, server.failures)
  end)

  it("sends nothing of what cannot be encoded", function()
    server.failures = {}
    handler = function(_, res) return res:json { print } end
    assert.equal(500, web.get(server, "/").status)
    assert.equal(1, #server.failures)
  end)
end)
