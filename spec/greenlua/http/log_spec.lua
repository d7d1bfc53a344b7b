local json = require "greenlua.http.json"
local log = require "greenlua.http.log"
local web = require "spec.support.http"

describe("greenlua.http.log", function()
  local function serve(options)
    return web.server(function(req, res)
      req.user = "ada"
      res.status = 201
      return "hello"
    end, options)
  end

  local headers = { Referer = "http://a/", ["User-Agent"] = 'me "x"' }

  it("tells a function of each request", function()
    local entries = {}
    local server = serve { log = function(entry) entries[#entries + 1] = entry end }
    finally(function() server:stop(0) end)
    web.get(server, "/path?x=1", headers)
    web.raw(server, "nonsense\r\n\r\n")
    local e = entries[1]
    assert.is_true(e.seconds >= 0 and e.seconds < 600)
    assert.is_true(math.abs(e.time - os.time()) < 600)
    e.seconds, e.time = nil, nil
    assert.same({ address = "127.0.0.1", method = "GET", target = "/path?x=1", version = "1.1",
      status = 201, bytes = 5, referer = "http://a/", agent = 'me "x"', user = "ada" }, e)
    e = entries[2]
    assert.is_string(e.reason)
    assert.equal("127.0.0.1", e.address)
    assert.equal(2, #entries)
  end)

  it("writes combined lines, or JSON, to a file", function()
    for format, pattern in pairs {
      combined = '^127%.0%.0%.1 %- ada %[%d%d/%a%a%a/%d%d%d%d:%d%d:%d%d:%d%d %+0000%] '
        .. '"GET /x HTTP/1%.1" 201 5 "http://a/" "me \\x22x\\x22"\n$',
      json = "^{.*}\n$",
    } do
      local path = os.tmpname()
      local server = serve { log = path, log_format = format }
      finally(function() os.remove(path) end)
      web.get(server, "/x", headers)
      server:stop(60)
      local file <close> = assert(io.open(path))
      local text = file:read "a"
      assert.matches(pattern, text)
      if format == "json" then
        local e = json.decode(text)
        assert.equal('me "x"', e.agent)
        assert.equal(201, e.status)
      end
    end
  end)

  it("lets nobody forge a line", function()
    local entry = { time = 0, address = "-", method = "GET", target = '/"\n\\\127\xff',
      version = "1.1", status = 200, bytes = 0, agent = "a\r\nb\0\xff" }
    local line = log.formats.combined(entry)
    assert.equal('- - - [01/Jan/1970:00:00:00 +0000] '
      .. '"GET /\\x22\\x0A\\x5C\\x7F\\xFF HTTP/1.1" 200 0 "-" "a\\x0D\\x0Ab\\x00\\xFF"\n', line)
    local text = log.formats.json(entry)
    assert.is_nil(text:sub(1, -2):find "%c")
    assert.equal("a\r\nb\0ÿ", json.decode(text).agent)
  end)

  it("counts a failing log as a failure, and serves on", function()
    local server = serve { log = function() error "disk full" end }
    finally(function() server:stop(0) end)
    assert.equal("hello", web.get(server, "/").body)
    assert.matches("disk full", server.failures[1])
  end)
end)
