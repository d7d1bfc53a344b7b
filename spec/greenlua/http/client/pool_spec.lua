-- The client's connections: kept, limited, handed on.

local await = require "spec.support.await"
local core = require "greenlua.core"
local green = require "greenlua"
local http = require "greenlua.http"
local scripted = require "spec.support.scripted"
local web = require "spec.support.http"

local OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

describe("http.client's connections", function()
  local server, gate

  setup(function()
    server = web.server(function(req)
      if req.path == "/wait" then gate:wait() end
      return tostring(select(2, req.socket:getpeername()))
    end)
  end)
  teardown(function() server:stop(0) end)
  before_each(function() gate = green.Event() end)

  local function url(path) return ("http://127.0.0.1:%d%s"):format(server.port, path or "/") end
  local function port_of(client, path) return web.must(client:get(url(path))).body end

  it("are used again", function()
    local client <close> = http.client()
    local first = port_of(client)
    for _ = 1, 5 do assert.equal(first, port_of(client)) end
    assert.same({ 1, 1 }, { client:counts() })
    assert.equal("http.Client: 1 connections, 1 idle", tostring(client))
  end)

  it("carry one request at a time", function()
    local client <close> = http.client()
    local all = {}
    for i = 1, 10 do all[i] = green.spawn(port_of, client, "/wait") end
    green.sleep(0.01)
    gate:set()
    local ports, n = {}, 0
    for _, g in ipairs(all) do
      if not ports[g:get()] then n = n + 1 end
      ports[g:get()] = true
    end
    assert.equal(10, n)
    assert.same({ 10, 10 }, { client:counts() })
  end)

  it("are so many to a host, and who waits is served in order", function()
    local client <close> = http.client { max_per_host = 2 }
    local order, all = {}, {}
    for i = 1, 8 do
      all[i] = green.spawn(function()
        port_of(client, i <= 2 and "/wait" or "/")
        order[#order + 1] = i
      end)
    end
    green.sleep(0.01)
    assert.same({ 2, 0 }, { client:counts() })
    gate:set()
    green.joinall(all)
    assert.equal(8, #order)
    assert.same({ 2, 2 }, { client:counts() })
    local one <close> = http.client { max_per_host = 1 }
    order = {}
    for i = 1, 6 do
      all[i] = green.spawn(function()
        port_of(one)
        order[#order + 1] = i
      end)
    end
    green.joinall(all)
    assert.same({ 1, 2, 3, 4, 5, 6 }, order)
  end)

  it("are so many in all, and an idle one makes room", function()
    local other <close> = scripted.server { OK, OK }
    local client <close> = http.client { max_connections = 1 }
    port_of(client)
    assert.equal("ok", client:get(other.url).body)
    assert.same({ 1, 1 }, { client:counts() })
    local busy = green.spawn(port_of, client, "/wait")
    green.sleep(0.01)
    assert.same({ nil, "timeout", "pool" },
      { client:get { url = other.url, timeouts = { pool = 0.01 } } })
    local waiting = green.spawn(client.get, client, other.url)
    green.sleep(0.01)
    gate:set()
    busy:get()
    assert.equal("ok", waiting:get().body)
    assert.same({ 1, 1 }, { client:counts() })
  end)

  it("are not lost with those who wait for them", function()
    local client <close> = http.client { max_per_host = 1 }
    local busy = green.spawn(port_of, client, "/wait")
    green.sleep(0.01)
    local killed, closed = green.spawn(port_of, client), green.spawn(port_of, client)
    local last = green.spawn(port_of, client)
    green.sleep(0)
    killed:kill()
    gate:set()
    busy:get()
    closed:close() -- perhaps it has been given the connection
    assert.is_string(last:get())
    assert.same({ 1, 1 }, { client:counts() })
  end)

  it("are closed when nobody has used them for a while", function()
    local client <close> = http.client { idle_timeout = 0.02 }
    local function none_left() return client:counts() == 0 end
    port_of(client)
    assert.same({ 1, 1 }, { client:counts() })
    await(none_left)
    port_of(client)
    client.pool.sweeper:kill() -- as a program that kills all greenlets does
    port_of(client)
    await(none_left)
    local none <close> = http.client { idle_timeout = 0 }
    port_of(none)
    assert.same({ 0, 0 }, { none:counts() })
  end)

  it("are replaced when the server has closed them", function()
    local closing <close> = scripted.server(OK)
    local client <close> = http.client()
    for i = 1, 3 do
      assert.equal("ok", client:post(closing.url, { body = "x" }).body)
      closing.greenlets[i]:join() -- it has closed
      green.sleep(0.005)
      assert.equal(i, closing.accepted)
    end
  end)

  -- The first answer keeps the connection, the next request finds it cut.
  local function cutting()
    return scripted.server(function(peer, n, self)
      scripted.read(peer)
      peer:send(OK)
      if n == 1 and scripted.read(peer) then self.cut = true return end
      if scripted.read(peer) then peer:send(OK) end
    end)
  end

  it("are replaced when the server closes them while a request is on its way", function()
    local server_ <close> = cutting()
    local client <close> = http.client()
    assert(client:get(server_.url))
    assert.equal("ok", client:get(server_.url).body)
    assert.same({ true, 2 }, { server_.cut, server_.accepted })
  end)

  it("are not replaced for what must not happen twice", function()
    local server_ <close> = cutting()
    local client <close> = http.client()
    assert(client:get(server_.url))
    assert.same({ nil, "closed", "header" }, { client:post(server_.url, { body = "x" }) })
    assert.equal(1, server_.accepted)
  end)

  it("are not used after bytes that nobody asked for", function()
    local chatty <close> = scripted.server(function(peer, n)
      scripted.read(peer)
      peer:send(OK)
      if n == 1 then peer:send "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" end
      scripted.read(peer)
    end)
    local client <close> = http.client()
    assert.equal("ok", client:get(chatty.url).body)
    green.sleep(0.005)
    assert.equal("ok", client:get(chatty.url).body)
    assert.equal(2, chatty.accepted)
  end)

  it("end when the client is closed", function()
    local client = http.client { max_per_host = 1 }
    port_of(client)
    local busy = green.spawn(port_of, client, "/wait")
    green.sleep(0.01)
    local waiting = green.spawn(client.get, client, url())
    green.sleep(0)
    client:close()
    client:close()
    assert.same({ nil, "closed", "pool" }, { waiting:get() })
    assert.same({ 1, 0 }, { client:counts() })
    gate:set()
    assert.is_string(busy:get())
    assert.same({ 0, 0 }, { client:counts() })
  end)

  it("do not stay behind when a client is forgotten", function()
    local before = #core.live()
    do
      local client = http.client { idle_timeout = 0.01 }
      port_of(client)
    end
    await(function() return #core.live() <= before end)
  end)

  it("of the client that everybody shares are there, too", function()
    assert.equal("2", http.get(url(), { timeout = 60 }).body:gsub("%d+", "2"))
    assert.is_true(http.client.default():counts() >= 1)
    http.client.default():close()
    assert.equal(200, http.head(url()).status)
    http.client.default():close()
  end)
end)
