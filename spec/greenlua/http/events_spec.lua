local green = require "greenlua"
local http = require "greenlua.http"
local web = require "spec.support.http"

describe("http.events", function()
  local server, handler

  setup(function() server = web.server(function(req, res) return handler(req, res) end) end)

  teardown(function() server:stop(0) end)

  before_each(function() server.failures = {} end)

  local function open(fields)
    local conn = web.connect(server)
    conn:send("GET / HTTP/1.1\r\nHost: x\r\n" .. (fields or "") .. "\r\n")
    return conn, conn:read_until "\r\n\r\n"
  end

  local function chunk(conn)
    local size = tonumber(conn:read_until "\r\n", 16)
    local text = conn:receive(size + 2)
    return text:sub(1, -3)
  end

  it("sends events as the standard has them", function()
    handler = function(_, res)
      local events = res:events { retry = 1.5 }
      events:send "plain"
      events:send { event = "price", id = 7, data = "two\nlines\r\n" }
      events:send { data = "", retry = 2 }
      events:send { data = 42 }
      events:comment "a\nb"
    end
    local conn <close>, head = open()
    assert.matches("\r\nContent%-Type: text/event%-stream\r\n", head)
    assert.matches("\r\nCache%-Control: no%-store\r\n", head)
    assert.equal("retry: 1500\n\n", chunk(conn))
    assert.equal("data: plain\n\n", chunk(conn))
    assert.equal("event: price\nid: 7\ndata: two\ndata: lines\ndata: \n\n", chunk(conn))
    assert.equal("retry: 2000\ndata: \n\n", chunk(conn))
    assert.equal("data: 42\n\n", chunk(conn))
    assert.equal(": a\n: b\n\n", chunk(conn))
    assert.equal("0\r\n\r\n", conn:receive(5))
    -- the connection can go on
    handler = function() return "next" end
    conn:send "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert.equal("next", web.read(conn).body)
  end)

  it("knows what the client has seen", function()
    local id
    handler = function(req, res) id = http.events(req, res).last_id end
    local conn <close> = open "Last-Event-ID: 41\r\n"
    chunk(conn)
    assert.equal("41", id)
  end)

  it("keeps the connection alive with comments", function()
    handler = function(_, res)
      res:events { keep_alive = 0.01 }
      green.Event():wait()
    end
    local conn <close> = open()
    for _ = 1, 3 do assert.equal(":\n\n", chunk(conn)) end
  end)

  it("ends a handler whose client has gone, though it waits for something else", function()
    local over = green.Event()
    handler = function(_, res)
      local _ <close> = setmetatable({}, { __close = function() over:set() end })
      res:events()
      green.Event():wait()
    end
    local conn = open()
    assert.is_false(over:wait(0.01))
    conn:close()
    over:wait()
    assert.same({}, server.failures)
  end)

  it("tells it instead if it wants to know", function()
    local told, result, waits = green.AsyncResult(), green.AsyncResult(), green.Event()
    handler = function(_, res)
      local events = res:events { on_gone = function(e) told:set(e) end }
      assert(not events:wait(0.01))
      waits:set()
      assert(events:wait())
      result:set({ events:send "x" })
    end
    local conn = open()
    waits:wait()
    conn:close()
    assert.is_true(told:get().gone:is_set())
    assert.same({ nil, "closed" }, result:get())
  end)

  it("does not take a next request for the client's going", function()
    local go = green.Event()
    handler = function(_, res)
      local events = res:events()
      go:wait()
      events:send "x"
      handler = function() return "next" end
    end
    local conn <close> = open()
    conn:send "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    green.sleep(0.01)
    go:set()
    assert.equal(":\n\n", chunk(conn))
    assert.equal("data: x\n\n", chunk(conn))
    assert.equal("0\r\n\r\n", conn:receive(5))
    assert.equal("next", web.read(conn).body)
  end)

  it("answers an error of the handler with a cut", function()
    handler = function(_, res)
      res:events():send "x"
      error("oops", 0)
    end
    local conn <close> = open()
    chunk(conn)
    chunk(conn)
    assert.is_nil(conn:read_until "0\r\n\r\n")
    assert.same({ "oops" }, server.failures)
  end)

  it("refuses what would break the stream", function()
    local failures = {}
    handler = function(_, res)
      for _, options in ipairs { { keep_alive = 0 }, { retry = -1 }, { on_gone = 1 } } do
        failures[#failures + 1] = select(2, pcall(res.events, res, options))
      end
      local events = res:events()
      for _, event in ipairs { { id = "a\nb" }, { event = "a\rb", data = "x" }, { id = "\0" },
        {} } do
        failures[#failures + 1] = select(2, pcall(events.send, events, event))
      end
    end
    local conn <close> = open()
    chunk(conn)
    conn:receive(5)
    for i = 1, 3 do assert.matches("bad argument #2 to 'events'", failures[i]) end
    for i = 4, 7 do assert.matches("bad argument #1 to 'send'", failures[i]) end
  end)

  it("gives up a client that takes too little", function()
    local ended = green.AsyncResult()
    local strict <close> = web.server(function(req, res)
      req.socket:setoption("send-buffer-size", 16384)
      local events = res:events { on_gone = function() end }
      local ok, err
      repeat ok, err = events:send(("x"):rep(10000)) until not ok
      ended:set(err)
    end, { write_rate = 1e9, write_grace = 0.05 })
    local conn <close> = web.connect(strict)
    conn:setoption("recv-buffer-size", 4096)
    conn:send(web.request("GET", "/"))
    local sipping <close> = green.spawn(function()
      while conn:receive_some(100) do green.sleep(0.001) end
    end)
    assert.equal("timeout", ended:get(10))
    sipping:kill()
  end)
end)
