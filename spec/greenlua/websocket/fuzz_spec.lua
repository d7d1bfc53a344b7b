-- Frames, good ones and spoilt ones, cut into pieces at random places, for a server and
-- for a client. Whatever comes, each end comes to an end, what is sent is well-formed, and
-- nothing is left. GREENLUA_FUZZ_SEED runs another one.

local green = require "greenlua"
local random_from = require "spec.support.random"
local raw = require "spec.support.websocket"

local seed = tonumber(os.getenv "GREENLUA_FUZZ_SEED") or 1
local ROUNDS <const> = 150

describe("a WebSocket, given noise (seed " .. seed .. ")", function()
  local roll

  before_each(function() roll = random_from(seed) end)

  local function pick(list) return list[roll(#list)] end

  local function bytes(n)
    local list = {}
    for i = 1, n do list[i] = string.char(roll(256) - 1) end
    return table.concat(list)
  end

  local payloads = {
    function() return "" end,
    function() return ("text "):rep(roll(60)) end,
    function() return bytes(roll(40)) end,
    function() return ("κόσμε"):sub(1, roll(10)) end,
    function() return ("x"):rep(pick { 125, 126, 127, 4090, 4096, 5000, 65535, 65536, 70000 }) end,
    function() return "\xf2\x48\xcd\xc9\xc9\x07\x00" end,
    function() return string.pack(">I2", pick { 1000, 1001, 1005, 3000, 4999, 5000 }) .. "why" end,
  }

  local function new_frame(masked)
    local how = { mask = masked }
    if roll(20) == 1 then how.mask = not masked end
    if roll(3) == 1 then how.fin = false end
    if roll(4) == 1 then how.rsv = pick { 4, 4, 4, 4, 1, 2, 7 } end
    if roll(30) == 1 then how.size = pick { 1, 10, 126, 1 << 20, 1 << 40, math.maxinteger } end
    if roll(30) == 1 then how.long = pick { 2, 8 } end
    local opcode = pick { 0, 0, 0, 1, 1, 1, 2, 2, 2, 8, 9, 9, 10, roll(16) - 1 }
    return raw.frame(opcode, payloads[roll(#payloads)](), how)
  end

  local function spoil(s)
    if roll(3) > 1 or s == "" then return s end
    local at = roll(#s)
    return s:sub(1, at - 1) .. bytes(roll(3) - 1) .. s:sub(at + roll(2))
  end

  local function stream(masked)
    local list = {}
    for i = 1, roll(8) do list[i] = new_frame(masked) end
    return spoil(table.concat(list))
  end

  local function send_in_pieces(conn, s)
    local at = 1
    while at <= #s do
      local n = pick { 1, 2, 3, 7, 50, 1000, 5000, 100000 }
      if not conn:send(s:sub(at, at + n - 1)) then return end
      at = at + n
      if roll(2) == 1 then green.sleep(0) end
    end
  end

  -- The other end: all that comes must be frames that may come from such a one.
  local function read_replies(conn, client)
    local closed = false
    for name in raw.read, conn do
      assert(not closed, name .. " after a close frame")
      assert((name:find "masked" ~= nil) == client, name)
      assert(name:find "^text" or name:find "^binary" or name:find "^more" or name:find "^pong"
        or name:find "^close", name)
      closed = name:find "^close" ~= nil
    end
  end

  local function use(ws)
    local pieces = roll(2) == 1
    while true do
      local message, kind, last
      if pieces then
        message, kind, last = ws:receive_some(60)
      else
        message, kind = ws:receive(60)
      end
      if not message then
        assert(kind == "closed" and math.type(last or ws.code) == "integer", kind)
        assert(ws.over)
        return
      end
      assert(kind == "text" or kind == "binary")
      if not pieces and kind == "text" then assert(utf8.len(message)) end
      if roll(4) == 1 then ws:send(kind == "text" and "text" or message, kind) end
      if roll(30) == 1 then ws:close(4000) end
    end
  end

  for _, client in ipairs { false, true } do
    it(client and "as a client, lives" or "as a server, lives", function()
      for _ = 1, ROUNDS do
        local compress = roll(2) == 1 and 15 or 0
        local conn <close>, ws = raw.accept_one { client = client, receive_bits = compress,
          receive_fresh = roll(2) == 1, send_bits = roll(2) == 1 and compress or 0, level = 1,
            min = 0,
          max_message = pick { 100, 66000, 200000 }, max_queue = pick { 100, 1 << 20 },
          close_timeout = 0.2 }
        local user = green.spawn(use, ws)
        local replies = green.spawn(read_replies, conn, client)
        send_in_pieces(conn, stream(not client))
        conn:shutdown "send"
        user:get()
        ws:_cut()
        replies:get()
      end
    end)
  end
end)
