-- Debian's own files of LuaSocket, LuaSec and lua-redis, unmodified, under --monkey,
-- with real servers: as many requests at once in one thread as there are greenlets.

local certificates = require "spec.support.certificates"
local daemon = require "spec.support.daemon"
local redis = require "spec.support.redis"
local support = require "spec.support"

-- Requests at once: a thousand of what users run.
local COUNT = support.preset == "release" and 1000 or 100

-- Has `many(f)` call f(1) to f(COUNT), each in a greenlet; all must succeed.
local MANY = ([[
  package.path = package.path .. ";/usr/share/lua/5.3/?.lua"
  local green = require "greenlua"
  local function many(f)
    local group <close> = green.Group()
    for i = 1, %d do group:spawn(f, i) end
  end
]]):format(COUNT):gsub("\n", " ")

local function run(script, ...)
  local path = os.tmpname()
  daemon.write(path, MANY .. script)
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

    it("fetches a thousand pages at once", function()
      assert.equal(COUNT .. "\tthis is /page/here\n", run([[
        local http = require "socket.http"
        local root, good = arg[1], 0
        many(function(i)
          local body, code = http.request(root .. "/page/" .. i)
          assert(code == 200 and body == "this is /page/" .. i, code)
          good = good + 1
        end)
        print(good, (http.request(root .. "/moved")))]], "http://127.0.0.1:" .. server.port))
    end)

    it("goes through ltn12 pumps, and is ended by a Timeout", function()
      assert.equal("4000\t200\nfalse\n4000\n", run([[
        local http, ltn12 = require "socket.http", require "ltn12"
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
    it("fetches a thousand pages at once", function()
      local authority <close> = certificates.authority()
      local its = authority:issue("localhost", { "localhost" })
      local port, guard <close> = daemon.reserve_port() -- luacheck: ignore 211
      local _ <close> = daemon.nginx(([[
        listen 127.0.0.1:%d ssl; ssl_certificate %s; ssl_certificate_key %s;
        location / { return 200 "this is $request_uri"; }
      ]]):format(port, its.certificate, its.key))
      assert.equal(COUNT .. "\n", run([[
        local https, good = require "ssl.https", 0
        many(function(i)
          local body, code = https.request(arg[1] .. i)
          assert(code == 200 and body == "this is /" .. i, code)
          good = good + 1
        end)
        print(good)]], ("https://127.0.0.1:%d/"):format(port)))
    end)
  end)

  describe("socket.smtp", function()
    it("delivers a thousand letters at once", function()
      local server <close> = daemon.smtpd()
      assert.equal(COUNT .. "\n", run([[
        local smtp, good = require "socket.smtp", 0
        many(function(i)
          assert(smtp.send {
            from = "<ada@example.org>", rcpt = "<alan@example.org>", server = "127.0.0.1",
            port = tonumber(arg[1]),
            source = smtp.message { headers = { subject = "letter " .. i }, body = "." .. i },
          })
          good = good + 1
        end)
        print(good)]], server.port))
      local found = {}
      for name in require "lfs".dir(server.folder .. "/mail/new") do
        if name:find "^%d" then
          local text = daemon.read(server.folder .. "/mail/new/" .. name)
          found[#found + 1] = tonumber(text:match "letter (%d+)")
        end
      end
      table.sort(found)
      assert.equal(COUNT, #found)
      for i = 1, COUNT do assert.equal(i, found[i]) end
    end)
  end)

  describe("lua-redis", function()
    it("has a thousand connections at once, which all wait for a push", function()
      local server <close> = redis.start()
      assert.equal(COUNT .. "\t" .. COUNT * (COUNT + 1) // 2 .. "\n", run([[
        local redis, connected, sum = require "redis", 0, 0
        local function connect() return redis.connect("127.0.0.1", tonumber(arg[1])) end
        local main, all = connect(), green.Event()
        local count = tonumber(arg[2])
        green.spawn(function()
          all:wait()
          for i = 1, count do main:rpush("queue", i) end
        end)
        many(function()
          local client = connect()
          connected = connected + 1
          if connected == count then all:set() end
          local pushed = client:blpop("queue", 0)[2]
          sum = sum + tonumber(pushed)
        end)
        print(connected, sum)]], server.port, COUNT))
    end)
  end)
end)
