-- LuaSocket's own modules in Lua, unmodified, on greenlua.socket: a program of many
-- clients in one thread, which says what came of it. See modules_spec.lua.
--
--     greenlua unmodified.lua http  http://127.0.0.1:8080/ 1000
--     greenlua unmodified.lua smtp  127.0.0.1:2525 100
--     greenlua unmodified.lua ftp   127.0.0.1:2121 100

local green = require "greenlua"
package.loaded.socket = require "greenlua.socket"

local clients = {}

-- Run f(i) in `count` greenlets at once; it returns true for a success.
local function many(count, f)
  local group, gate, ready, succeeded = green.Group(), green.Event(), 0, 0
  for i = 1, count do
    group:spawn(function()
      ready = ready + 1
      if ready == count then gate:set() end
      gate:wait()
      local ok, problem = f(i)
      if ok then succeeded = succeeded + 1 else print("client " .. i, problem) end
    end)
  end
  group:join()
  print(("%d of %d succeeded"):format(succeeded, count))
end

-- A file with its own content for each client, a redirect, a POST, credentials,
-- and one that is not there.
function clients.http(base, count)
  local http, ltn12 = require "socket.http", require "ltn12"
  http.TIMEOUT = 20
  local function check(expected_code, expected_body, body, code)
    if code ~= expected_code then error(("%s, not %s"):format(code, expected_code)) end
    if expected_body and body ~= expected_body then
      error("a wrong body: " .. tostring(body))
    end
  end
  local whole = http.request(base .. "file.txt")
  many(count, function(i)
    return pcall(function()
      check(200, "you are " .. i, http.request(base .. "me?" .. i))
      check(200, whole, http.request(base .. "file.txt"))
      check(200, whole, http.request(base .. "moved"))
      check(404, nil, http.request(base .. "missing"))
      local parts = {}
      local ok, code, headers = http.request {
        url = (base .. "put/" .. i):gsub("//", "//user:secret@", 1),
        method = "PUT", source = ltn12.source.string("content " .. i),
        sink = ltn12.sink.table(parts),
        headers = { ["content-length"] = #("content " .. i) },
      }
      if not ok or code // 100 ~= 2 then error("PUT: " .. tostring(code)) end
      assert(headers.server:find "nginx")
      check(200, "content " .. i, http.request(base .. "put/" .. i))
    end)
  end)
end

function clients.smtp(server, count)
  local smtp, mime, ltn12 = require "socket.smtp", require "mime", require "ltn12"
  local host, port = server:match "(.*):(%d+)"
  many(count, function(i)
    return smtp.send {
      from = "<sender@example.org>", rcpt = { "<one@example.org>", "<two@example.org>" },
      server = host, port = port,
      source = smtp.message {
        headers = { subject = "message " .. i },
        body = { { body = "text of " .. i }, {
          headers = { ["content-transfer-encoding"] = "BASE64" },
          body = ltn12.source.chain(ltn12.source.string(("x"):rep(1000)),
            ltn12.filter.chain(mime.encode "base64", mime.wrap())) } },
      },
    }
  end)
end

function clients.ftp(server, count)
  local ftp = require "socket.ftp"
  ftp.TIMEOUT = 20
  many(count, function(i)
    return pcall(function()
      local url, text = ("ftp://%s/file-%d.txt;type=i"):format(server, i), ("data %d\n"):format(i)
      text = text:rep(5000)
      assert(ftp.put(url, text))
      assert(ftp.get(url) == text, "another text came back")
      local _, err = ftp.get(("ftp://%s/missing-%d"):format(server, i))
      assert(err:find "^550", err)
    end)
  end)
end

-- They work and fail as with LuaSocket.
function clients.pure()
  local url, headers, mime, ltn12, tp =
    require "socket.url", require "socket.headers", require "mime", require "ltn12",
    require "socket.tp"
  assert(url.absolute("http://a/b/c/d", "../g") == "http://a/b/g")
  assert(headers.canonic["content-type"] == "Content-Type")
  assert(mime.b64 "x" == "eA==")
  assert(ltn12.pump.all(ltn12.source.string "x", ltn12.sink.null()))
  local ok, err = tp.connect("127.0.0.1", 1, 5)
  assert(not ok and err == "connection refused", err)
  print(require("socket.http").request "http://no..such.host/")
  print(require("socket.http").request "http://127.0.0.1:1/")
  print(require("socket.smtp").send { from = "<a@b>", rcpt = "<a@b>", source = function() end,
    server = "127.0.0.1", port = 1 })
  print(require("socket.ftp").get "ftp://127.0.0.1:1/x")
end

clients[arg[1]](arg[2], tonumber(arg[3]))
