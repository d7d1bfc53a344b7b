-- Random reads of random bytes that come in random pieces, with timeouts and kills
-- between. A model says what each read must give: whatever was sent is read once,
-- in its order.
--
-- FUZZ=seed runs that one.

local core = require "greenlua.core"
local generator = require "spec.support.random"
local green = require "greenlua"
local socket = require "greenlua.socket"
local sockets = require "spec.support.sockets"

local SEEDS = core.fail_allocation(0) == -1 and 60 or 6
local BYTES = { "\n", "\r", "\r\n", "\0", "a", "bc", "--", "-", ("x"):rep(100), ("y\n"):rep(40),
  ("z"):rep(9000) }

local function seeds()
  local chosen = tonumber(os.getenv "FUZZ")
  local list = {}
  for seed = chosen or 1, chosen or SEEDS do list[#list + 1] = seed end
  return list
end

local function text_of(random)
  local parts = {}
  for i = 1, random(300) do parts[i] = BYTES[random(#BYTES)] end
  return table.concat(parts)
end

-- Sends it in pieces, giving way now and then, and ends the stream.
local function feed(random, sock, text)
  local at = 1
  while at <= #text do
    local n = random(4) == 1 and random(20000) or random(30)
    if not sock:send(text, at, math.min(at + n - 1, #text)) then return end
    at = at + n
    for _ = 1, random(3) - 1 do green.sleep(0) end
    if random(20) == 1 then green.sleep(0.0005) end
  end
  sock:shutdown "send"
end

-- What is left, and the reads that take from it.
local Model = {}
Model.__index = Model

function Model:take(n)
  local data = self.rest:sub(1, n)
  self.rest = self.rest:sub(n + 1)
  return data
end

local function same(expected, got)
  if expected ~= got then
    error(("%q expected, got %q"):format(expected:sub(1, 60), tostring(got):sub(1, 60)), 0)
  end
end

local function plain(data) return data end
local function line_of(data) return (data:gsub("\r", "")) end

-- A read failed, with what it has consumed: so many bytes, by the socket's count.
function Model:failed(sock, err, partial, clean)
  if not (err == "timeout" or err == "closed") then error(err, 0) end
  local n = sock:getstats() - (self.size - #self.rest)
  if err == "closed" and n ~= #self.rest then error("closed too early", 0) end
  same(clean(self:take(n)), partial)
end

local reads = {
  function(m, sock) -- a line
    local line, err, partial = sock:receive()
    if not line then return m:failed(sock, err, partial, line_of) end
    local at = m.rest:find("\n", 1, true)
    same(line_of(m:take(at)):sub(1, -2), line)
  end,
  function(m, sock, random) -- a number
    local n = random(3) == 1 and random(30000) or random(50)
    local data, err, partial = sock:receive(n)
    if not data then return m:failed(sock, err, partial, plain) end
    same(m:take(n), data)
  end,
  function(m, sock, random) -- with a prefix
    local prefix, n = ("p"):rep(random(20)), random(40)
    local data, err, partial = sock:receive(n, prefix)
    if not data then
      same(prefix, partial:sub(1, #prefix))
      return m:failed(sock, err, partial:sub(#prefix + 1), plain)
    end
    same(prefix .. (n > #prefix and m:take(n - #prefix) or ""), data)
  end,
  function(m, sock, random)
    local max = random(3) == 1 and random(30000) or random(20)
    local data, err, partial = sock:receive_some(max)
    if not data then return m:failed(sock, err, partial, plain) end
    if #data < 1 or #data > max then error("a wrong size", 0) end
    same(m:take(#data), data)
  end,
  function(m, sock, random)
    local delimiter = ({ "-", "--", "\r\n", "a\n", "\0", "\n\n" })[random(6)]
    local max = random(2) == 1 and random(200) or nil
    local data, err, partial = sock:read_until(delimiter, max)
    local at, last = m.rest:find(delimiter, 1, true)
    if err == "too long" then
      if at and at - 1 <= max then error("not too long", 0) end
      return
    end
    if not data then return m:failed(sock, err, partial, plain) end
    same(m:take(last), data .. delimiter)
  end,
  function(_, sock, random) -- misuse takes nothing
    local bad = ({ "*n", -1, "", {}, true, 0 / 0 })[random(6)]
    if pcall(sock.receive, sock, bad) then error("a bad pattern was taken", 0) end
  end,
  function(_, sock, random) sock:settimeout(({ 0, 0.0002, nil })[random(3)]) end,
  function(m, sock, random) -- a kill or a Timeout takes nothing
    local ways = { { 1 << 30 }, { "*a" }, {}, { 20000 } }
    local way = ways[random(4)]
    sock:settimeout()
    local results
    local g = green.spawn(function() results = table.pack(sock:receive(table.unpack(way))) end)
    for _ = 1, random(3) do green.sleep(0) end
    if random(2) == 1 then g:kill() else g:close() end
    if not results then return end -- otherwise it was faster
    local data, err, partial = table.unpack(results)
    if not data then return m:failed(sock, err, partial, #way == 0 and line_of or plain) end
    if #way == 0 then
      same(line_of(m:take((m.rest:find("\n", 1, true)))):sub(1, -2), data)
    else
      same(m:take(#data), data)
    end
  end,
}

local function run(seed, a, b)
  local random = generator(seed)
  local text = text_of(random)
  local model = setmetatable({ rest = text, size = #text }, Model)
  local feeder = green.spawn(feed, random, b, model.rest)
  local ok, err = pcall(function()
    while model.rest ~= "" do
      for _ = 1, random(3) - 1 do green.sleep(0) end
      reads[random(#reads)](model, a, random)
    end
  end)
  a:settimeout(60)
  if ok then
    assert.same({ nil, "closed", "" }, { a:receive "*a" })
  end
  a:close()
  feeder:join()
  b:close()
  assert.is_true(ok, ("seed %d: %s"):format(seed, err))
end

describe("receive, at random", function()
  for name, couple in pairs { TCP = sockets.couple, UNIX = socket.pair } do
    it("gives every byte once, in its order: " .. name, function()
      for _, seed in ipairs(seeds()) do run(seed, couple()) end
    end)
  end

  it("gives every datagram once, in its order, cut to the size asked for", function()
    for _, seed in ipairs(seeds()) do
      local random = generator(seed)
      local a <close>, b = socket.udp4(), socket.udp4()
      assert(a:setsockname("127.0.0.1", 0))
      a:setoption("recv-buffer-size", 1 << 22)
      local _, port = a:getsockname()
      if random(2) == 1 then b:setpeername("127.0.0.1", port) end
      local queue = {}
      local sender = green.spawn(function()
        for _ = 1, 60 do
          local datagram = text_of(random):sub(1, random(3) == 1 and 20000 or random(100) - 1)
          if b.class == "udp{connected}" then
            assert(b:send(datagram))
          else
            assert(b:sendto(datagram, "127.0.0.1", port))
          end
          queue[#queue + 1] = datagram
          for _ = 1, random(3) - 1 do green.sleep(0) end
        end
      end)
      while not (sender:ready() and #queue == 0) do
        local size = ({ nil, 0, random(50), 65536, 9000.5, 1e300, "-1", {}, "x" })[random(9)]
        a:settimeout(({ 0, 0.0002 })[random(2)])
        local ok, datagram, err = pcall(random(2) == 1 and a.receive or a.receivefrom, a, size)
        if not ok then
          assert.matches("number expected", datagram)
        elseif datagram then
          local most = math.floor(math.min(size or 8192, 65536))
          assert.equal(table.remove(queue, 1):sub(1, most), datagram, "seed " .. seed)
        else
          assert.equal(size == "-1" and "out of memory" or "timeout", err)
        end
        green.sleep(0)
      end
      assert.is_true(sender:successful())
      b:close()
    end
  end)
end)
