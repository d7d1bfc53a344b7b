local http = require "greenlua.http"
local lfs = require "lfs"
local web = require "spec.support.http"

describe("greenlua.http.static", function()
  local root, server, zipping

  local function write(name, text)
    local file <close> = assert(io.open(root .. "/" .. name, "wb"))
    file:write(text)
  end

  local big = {}
  for i = 1, 30000 do big[i] = ("line %d\n"):format(i) end
  big = table.concat(big)

  setup(function()
    root = os.tmpname()
    os.remove(root)
    lfs.mkdir(root)
    lfs.mkdir(root .. "/sub")
    lfs.mkdir(root .. "/empty")
    write("digits.txt", "0123456789")
    write("big.csv", big)
    write("none.bin", "")
    write("a b%.html", "<p>")
    write(".secret", "secret")
    write("sub/index.html", "<h1>sub</h1>")
    local router = http.router()
    router:mount("/files", http.static.handler(root, { cache = "max-age=60" }))
    router:get("/download", function(_, res)
      return res:send_file(root .. "/digits.txt", { download = 'a "good" näme.txt', type = "x/y" })
    end)
    router:get("/missing", function(_, res)
      local ok, err = res:send_file(root .. "/none")
      return tostring(ok) .. " " .. err
    end)
    router:get("/fifo", function(_, res) return select(2, res:send_file "/dev/null") end)
    server, zipping = web.server(router), web.server(router, { gzip = true })
  end)

  teardown(function()
    server:stop(0)
    zipping:stop(0)
    os.execute("rm -r " .. root)
  end)

  local function get(target, headers) return web.get(server, target, headers) end

  it("sends files with their types and validators", function()
    local r = get "/files/digits.txt"
    assert.equal(200, r.status)
    assert.equal("0123456789", r.body)
    assert.equal("text/plain; charset=utf-8", r.headers["content-type"])
    assert.equal("bytes", r.headers["accept-ranges"])
    assert.equal("max-age=60", r.headers["cache-control"])
    assert.matches('^"%x+%-%x+"$', r.headers.etag)
    local modified = lfs.attributes(root .. "/digits.txt", "modification")
    assert.equal(http.date(modified), r.headers["last-modified"])
    r = get "/files/big.csv"
    assert.equal(big, r.body)
    assert.equal("text/csv; charset=utf-8", r.headers["content-type"])
    r = get "/files/none.bin"
    assert.equal("0", r.headers["content-length"])
    assert.equal("<p>", get("/files/a%20b%25.html").body)
  end)

  it("answers HEAD as GET, and no other method", function()
    local r = web.ask(server, "HEAD", "/files/big.csv")
    assert.equal(tostring(#big), r.headers["content-length"])
    r = web.ask(server, "POST", "/files/big.csv")
    assert.equal(405, r.status)
    assert.equal("GET, HEAD", r.headers.allow)
  end)

  it("finds the index of a directory, by way of its slash", function()
    assert.equal("<h1>sub</h1>", get("/files/sub/").body)
    local r = get "/files/sub?a=1"
    assert.equal(301, r.status)
    assert.equal("/files/sub/?a=1", r.headers.location)
    assert.equal(404, get("/files/empty/").status)
    assert.equal(404, get("/files/").status)
  end)

  it("never leaves its directory", function()
    for _, path in ipairs { "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
      "/..%2f..%2fetc/passwd",
      "/sub/../../etc/passwd", "/..", "/.secret", "/%2esecret", "/..%5c..%5cetc", "//etc/passwd",
      "/digits.txt/", "/sub/index.html/x", "/nothing" } do
      assert.equal(404, get("/files" .. path).status, path)
    end
    assert.equal("0123456789", get("/files//./digits.txt").body)
  end)

  it("tells that a file cannot be sent, with nothing sent", function()
    assert.matches("^nil .*No such file", get("/missing").body)
    assert.equal("Invalid argument", get("/fifo").body)
  end)

  it("names what is to be saved", function()
    local r = get "/download"
    assert.equal([[attachment; filename="a _good_ n__me.txt"; filename*=UTF-8''a%20%22good%22%20]]
      .. [[n%C3%A4me.txt]], r.headers["content-disposition"])
    assert.equal("x/y", r.headers["content-type"])
  end)

  describe("heeds conditions:", function()
    local etag, modified

    setup(function()
      local r = get "/files/digits.txt"
      etag, modified = r.headers.etag, r.headers["last-modified"]
    end)

    local cases = {
      { 304, "If-None-Match", function() return etag end },
      { 304, "If-None-Match", function() return '"x", W/' .. etag end },
      { 304, "If-None-Match", function() return "*" end },
      { 200, "If-None-Match", function() return '"x"' end },
      { 304, "If-Modified-Since", function() return modified end },
      { 200, "If-Modified-Since", function() return "Sun, 06 Nov 1994 08:49:37 GMT" end },
      { 200, "If-Modified-Since", function() return "Sunday, 06-Nov-94 08:49:37 GMT" end },
      { 200, "If-Modified-Since", function() return "Sun Nov  6 08:49:37 1994" end },
      { 200, "If-Modified-Since", function() return "nonsense" end },
      { 200, "If-Match", function() return etag end },
      { 412, "If-Match", function() return '"x"' end },
      { 412, "If-Match", function() return "W/" .. etag end },
      { 412, "If-Unmodified-Since", function() return "Sun, 06 Nov 1994 08:49:37 GMT" end },
      { 200, "If-Unmodified-Since", function() return modified end },
    }
    for i, case in ipairs(cases) do
      it(("%s (%d) -> %d"):format(case[2], i, case[1]), function()
        local r = get("/files/digits.txt", { [case[2]] = case[3]() })
        assert.equal(case[1], r.status)
        if r.status == 304 then
          assert.equal(etag, r.headers.etag)
          assert.is_nil(r.headers["content-length"])
        end
      end)
    end

    it("If-Range, before a part is sent", function()
      local function status(value)
        return get("/files/digits.txt", { Range = "bytes=0-1", ["If-Range"] = value }).status
      end
      assert.equal(206, status(etag))
      assert.equal(206, status(modified))
      assert.equal(200, status '"x"')
      assert.equal(200, status("W/" .. etag))
      assert.equal(200, status "Sun, 06 Nov 1994 08:49:37 GMT")
    end)
  end)

  describe("sends ranges:", function()
    local one = {
      ["0-0"] = "0", ["2-4"] = "234", ["8-"] = "89", ["-3"] = "789", ["-20"] = "0123456789",
      ["5-100"] = "56789", [" 1 - 2 "] = "12",
    }
    for range, text in pairs(one) do
      it("bytes=" .. range, function()
        local r = get("/files/digits.txt", { Range = "bytes=" .. range })
        assert.equal(206, r.status)
        assert.equal(text, r.body)
        local first = ("0123456789"):find(text, 1, true) - 1
        assert.equal(("bytes %d-%d/10"):format(first, first + #text - 1),
          r.headers["content-range"])
      end)
    end

    it("none that cannot be had", function()
      for _, range in ipairs { "10-", "-0", "20-30", "10-,-0" } do
        local r = get("/files/digits.txt", { Range = "bytes=" .. range })
        assert.equal(416, r.status)
        assert.equal("bytes */10", r.headers["content-range"])
      end
    end)

    it("all of the file for what is no range", function()
      for _, range in ipairs { "bytes=5-2", "bytes=a-b", "bytes=-", "bytes=", "lines=0-1",
        "bytes=0-1,x", "bytes=" .. ("0-0,"):rep(17), "bytes=0-9,0-9",
        "bytes=99999999999999999999-" } do
        local r = get("/files/digits.txt", { Range = range })
        assert.equal(200, r.status, range)
        assert.equal("0123456789", r.body)
      end
    end)

    it("several as one body", function()
      local r = get("/files/big.csv", { Range = "bytes=0-5,100-109,-4" })
      assert.equal(206, r.status)
      local boundary = r.headers["content-type"]:match "^multipart/byteranges; boundary=(.+)$"
      local parts = {}
      for head, body in r.body:gmatch("%-%-" .. boundary .. "\r\n(.-)\r\n\r\n(.-)\r\n%f[%-]") do
        parts[#parts + 1] = head:match "Content%-Range: (.*)" .. "|" .. body
      end
      assert.same({
        ("bytes 0-5/%d|%s"):format(#big, big:sub(1, 6)),
        ("bytes 100-109/%d|%s"):format(#big, big:sub(101, 110)),
        ("bytes %d-%d/%d|%s"):format(#big - 4, #big - 1, #big, big:sub(-4)),
      }, parts)
      assert.matches("%-%-" .. boundary .. "%-%-\r\n$", r.body)
    end)
  end)

  it("compresses what is text, for those who accept it", function()
    local r = web.get(zipping, "/files/big.csv", { ["Accept-Encoding"] = "br, gzip" })
    assert.equal("gzip", r.headers["content-encoding"])
    assert.equal("Accept-Encoding", r.headers.vary)
    assert.matches('^W/"', r.headers.etag)
    assert.is_true(#r.body < #big / 2)
    assert.equal(tostring(#big), (web.shell(
      ("curl -sS --max-time 60 --compressed http://127.0.0.1:%d/files/big.csv | wc -c")
      :format(zipping.port)):match "%d+"))
    r = web.get(zipping, "/files/big.csv", { ["Accept-Encoding"] = "gzip;q=0" })
    assert.is_nil(r.headers["content-encoding"])
    assert.equal(big, r.body)
    r = web.get(zipping, "/files/big.csv", { ["Accept-Encoding"] = "gzip", Range = "bytes=0-9" })
    assert.is_nil(r.headers["content-encoding"])
    assert.equal(big:sub(1, 10), r.body)
    r = web.ask(zipping, "HEAD", "/files/big.csv", { ["Accept-Encoding"] = "gzip" })
    assert.equal("gzip", r.headers["content-encoding"])
  end)
end)
