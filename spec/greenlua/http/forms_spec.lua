local forms = require "greenlua.http.forms"
local lfs = require "lfs"
local web = require "spec.support.http"

describe("greenlua.http.forms", function()
  local server, seen, handler

  setup(function()
    server = web.server(function(req, res) return handler(req, res) end, { max_body = 4000000 })
  end)

  teardown(function() server:stop(0) end)

  before_each(function()
    seen, server.failures = nil, {}
    handler = function(req)
      local fields, list = web.must(req:form())
      seen = { fields = fields, list = list }
    end
  end)

  local function post(kind, body)
    return web.ask(server, "POST", "/", { ["Content-Type"] = kind }, body)
  end

  it("decodes and encodes", function()
    assert.same({ a = "1", b = "x y&=", c = "", ["d e"] = "+" },
      forms.decode "a=1&b=x+y%26%3D&c&a=2&&d%20e=%2B")
    assert.same({ "1", "2" }, forms.list("a=1&b=3&a=2", "a"))
    assert.equal("a=1&a=2&b=x+%26%C3%A4", forms.encode { a = { 1, 2 }, b = "x &ä" })
  end)

  it("reads URL-encoded forms", function()
    post("application/x-www-form-urlencoded; charset=utf-8", "a=1&b=x+y&a=2")
    assert.same({ a = "1", b = "x y" }, seen.fields)
    assert.same({ { name = "a", value = "1" }, { name = "b", value = "x y" },
      { name = "a", value = "2" } }, seen.list)
  end)

  it("refuses what is none, or too large, and ends well", function()
    assert.equal(415, post("text/plain", "a=1").status)
    assert.equal(413, post("application/x-www-form-urlencoded", ("a"):rep(1 << 21)).status)
    assert.equal(413, post("application/x-www-form-urlencoded", ("a&"):rep(1001)).status)
    assert.same({}, server.failures)
  end)

  local function multipart(...)
    local out = { "preamble, to be ignored" }
    for _, part in ipairs { ... } do
      out[#out + 1] = "\r\n--XyZ\r\n" .. part
    end
    out[#out + 1] = "\r\n--XyZ--\r\nepilogue"
    return table.concat(out)
  end

  local kind = 'multipart/form-data; boundary="XyZ"'

  local function field(name, value)
    return ('Content-Disposition: form-data; name="%s"\r\n\r\n%s'):format(name, value)
  end

  local function file(name, filename, value)
    return ('Content-Disposition: form-data; name="%s"; filename="%s"\r\n'
      .. 'Content-Type: image/x\r\n\r\n%s'):format(name, filename, value)
  end

  it("reads multipart forms, files into temporary ones", function()
    local content = ("0\r\n--Xy\r\n\0\255"):rep(100000)
    handler = function(req)
      local fields, list = assert(req:form())
      local upload <close> = assert(io.open(fields.f.path, "rb"))
      seen = { fields = fields, list = list, content = upload:read "a" }
    end
    post(kind, multipart(field("a", "1"), file("f", "p%22q.png", content), field("a", ""),
      "\r\nno fields"))
    assert.equal("1", seen.fields.a)
    assert.equal(content, seen.content)
    local f = seen.fields.f
    assert.same({ "f", 'p"q.png', "image/x", #content },
      { f.name, f.filename, f.content_type, f.size })
    assert.equal("", seen.list[3].value)
    assert.equal("no fields", seen.list[4].value)
    local path = f.path
    seen = nil
    collectgarbage()
    collectgarbage()
    assert.is_nil(lfs.attributes(path))
  end)

  it("reads a part that ends with its head, and an empty one, however they are cut", function()
    local body = '--XyZ\r\nContent-Disposition: form-data; name="a"\r\n\r\n--XyZ\r\n'
      .. 'Content-Disposition: form-data; name="b"\r\n\r\n\r\n--XyZ--\r\n'
    for size = 1, 30 do
      local conn <close> = web.connect(server)
      conn:send(("POST / HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n"
        .. "Transfer-Encoding: chunked\r\n\r\n"):format(kind))
      for at = 1, #body, size do
        local piece = body:sub(at, at + size - 1)
        conn:send(("%x\r\n%s\r\n"):format(#piece, piece))
      end
      conn:send "0\r\n\r\n"
      assert.equal(200, web.read(conn).status)
      assert.same({ a = "", b = "" }, seen.fields)
    end
  end)

  it("reads what comes byte by byte", function()
    local body = multipart(field("a", "x\r\n--XyY"), field("b", "\r\n"))
    local conn <close> = web.connect(server)
    conn:send(("POST / HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n"):format(kind))
    for byte in body:gmatch "." do conn:send("1\r\n" .. byte .. "\r\n") end
    conn:send "0\r\n\r\n"
    assert.equal(200, web.read(conn).status)
    assert.same({ a = "x\r\n--XyY", b = "\r\n" }, seen.fields)
  end)

  it("goes through parts without keeping them", function()
    handler = function(req)
      seen = {}
      for part in req:parts() do
        seen[#seen + 1] = ("%s %s %s"):format(part.name, part.filename, part.content_type)
        if part.name == "keep" then seen[#seen + 1] = part:read(10) end
      end
    end
    post(kind, multipart(file("big", "b", ("x"):rep(300000)), field("keep", "this")))
    assert.same({ "big b image/x", "keep nil nil", "this" }, seen)
  end)

  it("saves a part, or nothing", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    handler = function(req)
      for part in req:parts() do
        seen = { part:save(path, 10) }
        if not seen[1] then return 413, "no" end
      end
    end
    post(kind, multipart(file("f", "f", "0123456789")))
    assert.same({ 10 }, seen)
    assert.equal(413, post(kind, multipart(file("f", "f", "0123456789a"))).status)
    assert.same({ nil, "too large" }, seen)
    assert.is_nil(lfs.attributes(path))
  end)

  it("refuses what is broken with a 400", function()
    for _, body in ipairs {
      "--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\ncut off",
      "no boundary at all", "--XyZ", "--XyZ junk\r\n\r\nx\r\n--XyZ--",
      multipart "nonsense without a colon\r\n\r\nx",
      "--XyZ\r\n" .. ("A: b\r\n"):rep(5000) .. "\r\nx\r\n--XyZ--",
    } do
      assert.equal(400, post(kind, body).status)
    end
    assert.equal(400, post("multipart/form-data", multipart(field("a", "b"))).status)
    assert.same({}, server.failures)
  end)

  it("agrees with curl", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local out <close> = assert(io.open(path, "wb"))
    out:write(("line\r\n"):rep(50000))
    out:close()
    assert.equal("200", web.shell(("curl -sS --max-time 60 -F a=1 -F 'f=@%s;filename=x.txt' " ..
      "http://127.0.0.1:%d/ -o /dev/null -w '%%{http_code}'"):format(path, server.port)))
    assert.equal("1", seen.fields.a)
    assert.equal(300000, seen.fields.f.size)
    assert.equal("x.txt", seen.fields.f.filename)
  end)
end)
