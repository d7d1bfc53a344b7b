-- The host programs in examples/, which CMake builds.

local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"
local support = require "spec.support"

local function run(name, ...)
  return support.run { program = support.built("examples/" .. name), ... }
end

describe("examples/embed_minimal.c", function()
  it("runs its script until every greenlet has ended", function()
    local code, out, err = run "embed_minimal"
    assert.equal("good morning from C\ngood night, Alan\ngood night, Ada\n", out)
    assert.equal("", err)
    assert.equal(0, code)
  end)

  it("runs a script of the user's, with arguments", function()
    local code, out = run("embed_minimal", "examples/context_switch.lua")
    assert.equal(0, code)
    assert.matches("Implicit context switch back to bar\n$", out)
    local bad, _, err = run("embed_minimal", "no/such/file")
    assert.equal(1, bad)
    assert.matches("cannot open no/such/file", err)
  end)
end)

describe("examples/embed_game.c, with embed_game.lua", function()
  it("plays frames, and no time passes while it is paused", function()
    local code, out, err = run("embed_game", "--fast", "500", "120")
    assert.equal("", err)
    assert.matches("^500 characters, 120 frames, %d+ moves, 0 of them while paused\n", out)
    -- 1.67 s of the game: two alarms, 50 guards; 50 pairs of talkers
    assert.matches("\nguards have heard 100 alarms, talkers told 300 times\n", out)
    assert.matches("\nscripts per frame: mean [%d.]+ ms, 99%% [%d.]+ ms, most [%d.]+ ms\n$", out)
    assert.equal(0, code)
  end)

  it("tells a script's error", function()
    local code, _, err = run("embed_game", "5", "5", "examples/embed_server.lua")
    assert.matches("attempt to call a nil value", err)
    assert.equal(0, code)
  end)
end)

describe("examples/embed_server.c, with embed_server.lua", function()
  local server, port

  setup(function()
    server = support.start { program = support.built "examples/embed_server", "0" }
    port = sockets.port_of(server)
  end)

  teardown(function() server:close() end)

  local function connect()
    local conn = assert(socket.connect("127.0.0.1", port))
    conn:settimeout(60)
    return conn
  end

  local function ask(conn, line)
    assert(conn:send(line .. "\n"))
    return (assert(conn:receive()))
  end

  it("answers line by line, in their order", function()
    local conn <close> = connect()
    assert.equal("a b", ask(conn, "echo a b"))
    conn:send "sleep 0.01\necho after\n"
    assert.equal("slept for 0.01 s", conn:receive())
    assert.equal("after", conn:receive())
    assert.equal("error: unknown command: dance", ask(conn, "dance"))
    assert.matches("^error: .*a number of seconds expected$", ask(conn, "sleep x"))
  end)

  it("lets one connection wait for another", function()
    local a <close> = connect()
    local waiter = green.spawn(ask, a, "wait")
    local b <close> = connect()
    repeat assert.equal("ding", ask(b, "ring")) until waiter:join(0.01)
    assert.equal("the bell has rung", waiter.value)
  end)

  it("ends a handler whose peer has gone", function()
    local first = connect()
    first:send "sleep 1000\n"
    first:close()
    local conn <close> = connect()
    assert.equal("visitor number 1", ask(conn, "visit"))
  end)

  it("closes with handlers at work", function()
    local conn <close> = connect()
    conn:send "wait\n"
    assert.equal("x", ask(connect(), "echo x"))
    server:kill "INT"
    assert.same({ nil, "closed", "" }, { conn:receive() })
    local _, err = sockets.await_end(server)
    assert.equal("", err)
  end)
end)

describe("examples/embed_foreign_loop.c", function()
  it("is driven by an epoll of its own", function()
    local code, out, err = run "embed_foreign_loop"
    assert.equal([[
ANY
LOOP
WILL
DO
the other end has closed
the program's own timer has ticked
]], out)
    assert.equal("", err)
    assert.equal(0, code)
  end)
end)

describe("examples/embed_cfunction.c", function()
  it("shows each way to block in C", function()
    local code, out, err = run "embed_cfunction"
    assert.equal([[
contents of a
contents of b
contents of c
false	timeout
checksum	12000000
nil	timeout
hello
buffers in use	1
after the kill	0
false
]], out)
    assert.equal("", err)
    assert.equal(0, code)
  end)
end)
