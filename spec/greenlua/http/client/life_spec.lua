-- Waits of the client that do not end well: timeouts, kills, retries.

local green = require "greenlua"
local http = require "greenlua.http"
local scripted = require "spec.support.scripted"
local sockets = require "spec.support.sockets"
local socket = require "greenlua.socket"

local OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

-- A place where no connection is ever made: its backlog is full.
local function full_listener()
  local listener = socket.bind("127.0.0.1", 0, 1)
  local _, port = listener:getsockname()
  local fill = {}
  for i = 1, 4 do
    fill[i] = socket.tcp()
    fill[i]:settimeout(0)
    fill[i]:connect("127.0.0.1", port)
  end
  return port, function()
    for _, sock in ipairs(fill) do sock:close() end
    listener:close()
  end
end

local function silent(peer) peer:receive "*a" end

local function stalling(text)
  return function(peer)
    scripted.read(peer)
    peer:send(text)
    green.sleep(60)
  end
end

-- Requests that get stuck: phase -> a function that makes the server, and the options.
local stuck = {
  connect = function()
    local port, close = full_listener()
    return { url = "http://127.0.0.1:" .. port }, close
  end,
  tls = function()
    local server = scripted.server(silent)
    return { url = server.url:gsub("http", "https"), verify = false }, server
  end,
  proxy = function()
    local server = scripted.server(silent)
    return { url = "https://127.0.0.1/", proxy = server.url, verify = false }, server
  end,
  send = function()
    local server = scripted.server(function() green.sleep(60) end)
    return { url = server.url, method = "POST", expect = false, body = ("x"):rep(30000000) }, server
  end,
  header = function()
    local server = scripted.server(stalling "HTTP/1.1 200 OK\r\nA")
    return { url = server.url }, server
  end,
  body = function()
    local server = scripted.server(stalling "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    return { url = server.url }, server
  end,
}

-- In the order in which they come.
local order = { "connect", "proxy", "tls", "send", "header", "body" }

local function place_of(phase)
  for i, one in ipairs(order) do
    if one == phase then return i end
  end
end

local function closing(f)
  return setmetatable({}, { __close = function()
    if type(f) == "function" then f() else f:close() end
  end })
end

describe("http.client", function()
  for _, phase in ipairs(order) do
    describe("that gets stuck in the phase " .. phase, function()
      it("gives up in time", function()
        local options, server = stuck[phase]()
        local _ <close> = closing(server)
        local client <close> = http.client()
        -- "proxy" is a part of "connect", which should not strike before it
        options.timeouts = phase == "proxy" and { connect = 0.3 } or { [phase] = 0.02 }
        assert.same({ nil, "timeout", phase }, { client:request(options) })
        assert.same({ 0, 0 }, { client:counts() })
      end)

      it("gives up when all of it takes too long", function()
        local options, server = stuck[phase]()
        local _ <close> = closing(server)
        local client <close> = http.client { timeout = 0.02 }
        local _, err, at = client:request(options)
        assert.equal("timeout", err)
        -- on a slow machine an earlier phase is as good
        assert.is_true(place_of(at) <= place_of(phase) or (phase == "send" and at == "header"), at)
        assert.same({ 0, 0 }, { client:counts() })
      end)

      it("leaves nothing behind when it is killed, or closed, and goes on with the next", function()
        local options, server = stuck[phase]()
        local _ <close> = closing(server)
        local good <close> = scripted.server(OK)
        local client <close> = http.client { max_connections = 1 }
        for _, how in ipairs { "kill", "close" } do
          local g = green.spawn(client.request, client, options)
          green.sleep(0.01)
          assert.same({ 1, 0 }, { client:counts() })
          g[how](g)
          assert.same({ 0, 0 }, { client:counts() })
        end
        assert.equal("ok", client:get(good.url).body)
      end)

      it("raises a Timeout, its own or another's", function()
        local options, server = stuck[phase]()
        local _ <close> = closing(server)
        local client <close> = http.client()
        do
          local timer <close> = green.Timeout(0.02)
          local _, err = pcall(client.request, client, options)
          assert.equal(timer, err)
        end
        assert.same({ 0, 0 }, { client:counts() })
        local owner = green.spawn(function()
          options.timeout = green.Timeout(0.02)
          pcall(green.sleep, 60)
        end)
        green.sleep(0)
        local _, err = pcall(client.request, client, options)
        assert.equal(options.timeout, err)
        owner:join()
        assert.same({ 0, 0 }, { client:counts() })
      end)
    end)
  end

  it("waits as long as something comes", function()
    local server <close> = scripted.server(function(peer)
      scripted.read(peer)
      peer:send "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
      for _ = 1, 5 do
        green.sleep(0.25)
        peer:send "x"
      end
    end)
    local client <close> = http.client { timeouts = { body = 1 } }
    assert.equal("xxxxx", client:get(server.url).body)
  end)

  it("counts the wait for a head from the end of the request", function()
    local server <close> = scripted.server(function(peer)
      peer:read_until "0\r\n\r\n"
      peer:send(OK)
    end)
    local client <close> = http.client { timeouts = { header = 1 } }
    local n = 0
    local res, err = client:post(server.url, { body = function()
      n = n + 1
      green.sleep(0.25)
      return n < 5 and "x" or nil
    end })
    assert.is_nil(err)
    assert.equal("ok", res.body)
  end)

  it("takes a timeout that does not run out as none", function()
    local server <close> = scripted.server { OK, OK }
    local client <close> = http.client()
    local timer <close> = green.Timeout(60)
    assert.equal("ok", client:get(server.url, { timeout = timer }).body)
    assert.equal("ok", client:get(server.url, { timeout = 60 }).body)
    assert.equal(1, server.accepted)
  end)

  it("has a stream that can be read on after a kill", function()
    local event = green.Event()
    local server <close> = scripted.server(function(peer)
      scripted.read(peer)
      peer:send "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"
      event:wait()
      peer:send "cd"
    end)
    local client <close> = http.client()
    local res <close> = assert(client:get { url = server.url, stream = true })
    assert.equal("ab", res:read(2))
    local g = green.spawn(res.read, res, "a")
    green.sleep(0)
    g:kill()
    event:set()
    assert.equal("cd", res:read "a")
    assert.same({ 1, 1 }, { client:counts() })
  end)

  it("tries again as often as it was told", function()
    local client <close> = http.client()
    local listener, port = sockets.listen()
    local url = "http://127.0.0.1:" .. port
    listener:close()
    assert.same({ nil, "connection refused", "connect" }, { client:get(url) })
    local server <close> = scripted.server(function(peer, n)
      scripted.read(peer)
      if n == 3 then peer:send(OK) end
    end)
    assert.same({ nil, "closed", "header" }, { client:get(server.url, { retries = 1 }) })
    assert.equal(2, server.accepted)
    assert.equal("ok", client:get(server.url, { retries = 1 }).body)
    local once <close> = scripted.server(function(peer) scripted.read(peer) end)
    assert.same({ nil, "closed", "header" }, { client:post(once.url, { retries = 2, body = "x" }) })
    assert.equal(1, once.accepted)
    client:post(once.url, { retries = 1, idempotent = true, body = "x" })
    assert.equal(3, once.accepted)
  end)

  it("does not try again after the first byte", function()
    local server <close> = scripted.server "HTTP/1.1 2"
    local client <close> = http.client { retries = 3 }
    assert.same({ nil, "closed", "header" }, { client:get(server.url) })
    assert.equal(1, server.accepted)
  end)

  it("comes back when a server asks for it", function()
    local busy = "HTTP/1.1 503 Busy\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n"
    local server <close> = scripted.server { busy:format "0", OK }
    local client <close> = http.client { retries = 1 }
    assert.equal("ok", client:get(server.url).body)
    local past <close> = scripted.server { busy:format "Thu, 01 Jan 1970 00:00:00 GMT", OK }
    assert.equal("ok", client:get(past.url).body)
    for _, after in ipairs { "3600", "nonsense" } do
      local later <close> = scripted.server { busy:format(after), OK }
      assert.equal(503, client:get(later.url).status)
    end
    local soon <close> = scripted.server { busy:format "500", OK }
    assert.equal(503, client:get(soon.url, { timeout = 60 }).status)
    local not_asked <close> = scripted.server { busy:format "0", OK }
    assert.equal(503, client:get(not_asked.url, { retries = 0 }).status)
  end)

  it("tells what it cannot reach", function()
    local client <close> = http.client()
    local _, err, phase = client:get "http://[::1]:1/"
    assert.same({ "connection refused", "connect" }, { err, phase })
    _, err, phase = client:get { url = "http://x/", unix = "/nonexistent" }
    assert.equal("connect", phase)
    assert.is_string(err)
    assert.same({ 0, 0 }, { client:counts() })
  end)
end)
