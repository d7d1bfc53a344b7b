-- Debian's own files of LuaSocket and LuaSec, unmodified, under --monkey, with real
-- servers: as many requests at once in one thread as there are greenlets.

local certificates = require "spec.support.certificates"
local daemon = require "spec.support.daemon"
local support = require "spec.support"

local function run(script, ...)
  local path = os.tmpname()
  daemon.write(path, script)
  local code, out, err = support.run { "--monkey", path, ... }
  os.remove(path)
  assert.same({ 0, "" }, { code, err })
  return out
end

describe("under --monkey, unmodified", function()
  describe("socket.http", function()
    local server
    setup(function()
      server = daemon.nginx [[
        location /page/ { return 200 "this is $request_uri"; }
        location /moved { return 302 /page/here; }
      ]]
      daemon.write(server.folder .. "/files/file", ("0123456789"):rep(400))
    end)
    teardown(function() server:close() end)

    it("fetches a hundred pages at once", function()
      assert.equal("100\tthis is /page/here\n", run([[
        local green, http = require "greenlua", require "socket.http"
        local root, good, group = arg[1], 0, green.Group()
        for i = 1, 100 do
          group:spawn(function()
            local body, code = http.request(root .. "/page/" .. i)
            assert(code == 200 and body == "this is /page/" .. i, code)
            good = good + 1
          end)
        end
        group:join(nil, true)
        print(good, (http.request(root .. "/moved")))]], "http://127.0.0.1:" .. server.port))
    end)

    it("goes through ltn12 pumps, and is ended by a Timeout", function()
      assert.equal("4000\t200\nfalse\n4000\n", run([[
        local green, http, ltn12 = require "greenlua", require "socket.http", require "ltn12"
        local function fetch(url)
          local pieces = {}
          local _, code = http.request { url = url, sink = ltn12.sink.table(pieces) }
          return #table.concat(pieces), code
        end
        print(fetch(arg[1] .. "/file"))
        local silent = require "socket".bind("127.0.0.1", 0)
        local _, port = silent:getsockname()
        print((green.within(0.01, fetch, "http://127.0.0.1:" .. port .. "/")))
        print((green.spawn(fetch, arg[1] .. "/file"):get()))]], "http://127.0.0.1:" .. server.port))
    end)
  end)

  describe("ssl.https", function()
    it("fetches many pages at once", function()
      local authority <close> = certificates.authority()
      local its = authority:issue("localhost", { "localhost" })
      local port, guard <close> = daemon.reserve_port() -- luacheck: ignore 211
      local _ <close> = daemon.nginx(([[
        listen 127.0.0.1:%d ssl; ssl_certificate %s; ssl_certificate_key %s;
        location / { return 200 "this is $request_uri"; }
      ]]):format(port, its.certificate, its.key))
      assert.equal("20\n", run([[
        local green, https = require "greenlua", require "ssl.https"
        local good, group = 0, green.Group()
        for i = 1, 20 do
          group:spawn(function()
            local body, code = https.request(arg[1] .. i)
            assert(code == 200 and body == "this is /" .. i, code)
            good = good + 1
          end)
        end
        group:join(nil, true)
        print(good)]], ("https://127.0.0.1:%d/"):format(port)))
    end)
  end)

  describe("socket.smtp", function()
    it("delivers many letters at once", function()
      local server <close> = daemon.smtpd()
      assert.equal("30\n", run([[
        local green, smtp = require "greenlua", require "socket.smtp"
        local group, good = green.Group(), 0
        for i = 1, 30 do
          group:spawn(function()
            assert(smtp.send {
              from = "<ada@example.org>", rcpt = "<alan@example.org>", server = "127.0.0.1",
              port = tonumber(arg[1]),
              source = smtp.message { headers = { subject = "letter " .. i }, body = "." .. i },
            })
            good = good + 1
          end)
        end
        group:join(nil, true)
        print(good)]], server.port))
      local found = {}
      for name in require "lfs".dir(server.folder .. "/mail/new") do
        if name:find "^%d" then
          local text = daemon.read(server.folder .. "/mail/new/" .. name)
          found[#found + 1] = tonumber(text:match "letter (%d+)")
        end
      end
      table.sort(found)
      assert.equal(30, #found)
      for i = 1, 30 do assert.equal(i, found[i]) end
    end)
  end)
end)
