-- Fails each allocation in turn while responses are read. From the one that fails on all
-- fail, until the reader has given up. Prints how many there were. See
-- client_allocation_spec.lua.

local core = require "greenlua.core"
local green = require "greenlua"
local native = require "greenlua.core.http"
local socket = require "greenlua.socket"

local function compressed(text)
  local path = os.tmpname()
  local pipe = assert(io.popen("gzip -c >" .. path, "w"))
  pipe:write(text)
  pipe:close()
  local file <close> = assert(io.open(path, "rb"))
  os.remove(path)
  return file:read "a"
end

local text = ("hello "):rep(20000)
local packed = compressed(text)
local response = table.concat {
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n",
  ("%x\r\n%s\r\n"):format(#packed, packed), "0\r\nT: ", ("x"):rep(100), "\r\nU: 2\r\n\r\n",
}
local limits = { max_line = 1000, max_head = 10000, max_headers = 50 }

local function inflate(reader, inflater, out)
  while true do
    local bytes, err = reader:read_some()
    if err then return nil, err end
    if not bytes then return true end
    local ok, problem = inflater:push(bytes)
    if not ok then return nil, problem end
    local piece
    repeat
      piece, problem = inflater:pull()
      if problem then return nil, problem end
      out[#out + 1] = piece
    until not piece
  end
end

local function read(mine)
  local reader = native.reader(mine, limits)
  reader:patience(0.05, nil)
  local head, status = reader:head()
  if not head then return nil, status end
  assert(head:header "x-a" == "b")
  reader:body(false)
  local out = {}
  local ok, err = inflate(reader, native.inflater "gzip", out)
  if not ok then return nil, err end
  assert(reader:trailer():find "U: 2")
  return table.concat(out)
end

local function ask()
  local a, b = socket.pair()
  if not a then error(b, 0) end
  local mine <close> = a
  local its <close> = b
  its:send(response)
  its:close()
  return read(mine)
end

local failures = { ["not enough memory"] = true, closed = true, timeout = true }

local function attempt(n)
  core.fail_allocation(n)
  local ok, got, err = pcall(ask)
  local left = core.fail_allocation(0)
  if not ok and not tostring(got):find "not enough memory" then error(got, 0) end
  if ok and not got then assert(failures[err], err) end
  return ok and left > 0, got
end

green.on_error(function() end)
assert(select(2, attempt(0)) == text)
local n = 0
repeat n = n + 1 until attempt(n)
assert(select(2, attempt(0)) == text, "it is not usable afterwards")
print(n)
