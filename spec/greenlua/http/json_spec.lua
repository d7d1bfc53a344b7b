local json = require "greenlua.http.json"
local web = require "spec.support.http"

describe("greenlua.http.json", function()
  local server, handler

  setup(function()
    server = web.server(function(req, res) return handler(req, res) end)
  end)

  teardown(function() server:stop(0) end)

  it("writes values as others read them", function()
    local cases = {
      { "1", 1 }, { "-2", -2 }, { "2.5", 2.5 }, { "0.1", 0.1 }, { "-0.001", -0.001 }, { "3", 3.0 },
      { "-0", -0.0 }, { "0.3333333333333333", 1 / 3 }, { "1e+300", 1e300 },
      { "123456789.125", 123456789.125 }, { "-9223372036854775808", math.mininteger },
      { "9223372036854775807", math.maxinteger }, { "true", true }, { "null", json.null },
      { '"a\\"\\\\\\n\\u0000\\u001f\127é/"', 'a"\\\n\0\31\127é/' }, { "{}", {} },
      { "[]", json.array {} }, { "[1,[2],{}]", { 1, { 2 }, {} } }, { '{"5":1}', { [5] = 1 } },
      { '{"a":{"b":[true,false]}}', { a = { b = { true, false } } } },
    }
    for _, case in ipairs(cases) do assert.equal(case[1], json.encode(case[2])) end
    assert.equal("null", json.encode(nil))
    for byte = 0, 255 do -- wherever it stands
      local ch = string.char(byte)
      local text, plain = json.encode(ch):sub(2, -2), ("!"):rep(byte % 17)
      assert.equal(byte < 32 or ch == '"' or ch == "\\", #text > 1)
      assert.equal(('"%s%s\255 and so on"'):format(plain, text),
        json.encode(plain .. ch .. "\255 and so on"))
    end
  end)

  it("writes numbers so that they come back", function()
    math.randomseed(7)
    for _ = 1, 2000 do
      local x = (math.random() - 0.5) * 10 ^ math.random(-30, 30)
      assert.equal(x, tonumber(json.encode(x)))
    end
    for _ = 1, 2000 do
      local x = math.random(-10 ^ 9 // 1 | 0, 10 ^ 9 // 1 | 0) / 10 ^ math.random(0, 4)
      assert.equal(x, tonumber(json.encode(x)))
    end
  end)

  it("refuses what has no form in JSON", function()
    local cycle = {}
    cycle[1] = cycle
    for message, value in pairs { ["a value is a function"] = { print },
      ["the number is %-?nan"] = 0 / 0, ["the number is inf"] = { math.huge },
      ["a boolean is a key"] = { [true] = 1 }, ["more than 200 deep"] = cycle,
      ["a value is a userdata"] = { io.stdout } } do
      assert.error_matches(function() json.encode(value) end, "no JSON: .*" .. message)
    end
    assert.equal("[1]", json.encode { 1 })
  end)

  it("encodes and decodes", function()
    local value = { a = { 1, 2, json.null }, b = "\0ü" }
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
