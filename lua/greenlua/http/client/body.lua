--- What a request sends after its head: strings, lists, iterators, files.
-- For greenlua's own modules.
--
-- A body has `length` (nil: nobody knows), `type` (a Content-Type), `again` (can it be sent
-- more than once?), `brief` (it fits what the kernel takes at once) and
-- `send(conn, arm)`; `arm` is called before each piece, to limit how long that waits. `pieces()`
-- is an iterator over it.
--
-- @module greenlua.http.client.body

local M = {}

local BRIEF = 64 << 10 -- bytes
local PIECE = 64 << 10 -- of a file that can only be read

local function bad(what, ...)
  error(("bad request (%s)"):format(what:format(...)), 0)
end

-- An iterator over a list.
local function each(list)
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

local function of_string(text)
  return {
    length = #text, again = true, brief = #text <= BRIEF, text = text,
    pieces = function() return each { text } end,
    send = function(conn, arm)
      if text == "" then return true end
      arm()
      return conn.sock:send(text)
    end,
  }
end

local function of_list(list)
  local length = 0
  for i, piece in ipairs(list) do
    if type(piece) ~= "string" then bad("body[%d]: string expected, got %s", i, type(piece)) end
    length = length + #piece
  end
  return {
    length = length, again = true, brief = length <= BRIEF,
    pieces = function() return each(list) end,
    send = function(conn, arm)
      if length == 0 then return true end
      arm()
      return conn.sock:send(list)
    end,
  }
end

local function check_piece(piece)
  if type(piece) ~= "string" then
    bad("body: an iterator gave a %s where a string was expected", type(piece))
  end
end

local function send_chunks(next_piece, trailer, conn, arm)
  while true do
    local piece, err = next_piece()
    if piece == nil then
      if err then error(err, 0) end
      local fields = trailer and trailer() or ""
      arm()
      return conn.sock:send { "0\r\n", fields, "\r\n" }
    end
    check_piece(piece)
    if piece ~= "" then
      arm()
      local ok
      ok, err = conn.sock:send { ("%x\r\n"):format(#piece), piece, "\r\n" }
      if not ok then return nil, err end
    end
  end
end

local function send_counted(next_piece, length, conn, arm)
  local left = length
  while left > 0 do
    local piece, err = next_piece()
    if piece == nil then
      if err then error(err, 0) end
      bad("body: %d bytes fewer than its Content-Length", left)
    end
    check_piece(piece)
    if #piece > left then bad("body: more bytes than its Content-Length") end
    left = left - #piece
    arm()
    local ok
    ok, err = conn.sock:send(piece)
    if not ok then return nil, err end
  end
  return true
end

local function of_iterator(next_piece, length)
  return {
    length = length,
    pieces = function() return next_piece end,
    send = function(conn, arm)
      if length then return send_counted(next_piece, length, conn, arm) end
      return send_chunks(next_piece, nil, conn, arm)
    end,
  }
end

local function of_file(file)
  local from = file:seek "cur"
  local to = from and file:seek "end"
  if not to or not file:seek("set", from) then
    return of_iterator(function() return file:read(PIECE) end)
  end
  local length = math.max(to - from, 0)
  return {
    length = length, again = true,
    pieces = function()
      file:seek("set", from)
      return function() return file:read(PIECE) end
    end,
    send = function(conn, arm)
      local at = from
      while at < to do
        arm()
        local n, err = conn.sock:sendfile(file, at, math.min(to - at, 1 << 20))
        if not n then return nil, err end
        if n == 0 then bad("body: the file has become shorter") end
        at = at + n
      end
      return true
    end,
  }
end

local function is_callable(value)
  local mt = type(value) == "table" and getmetatable(value)
  return type(value) == "function" or (type(mt) == "table" and mt.__call ~= nil)
end

local function make(value, length)
  if type(value) == "string" then return of_string(value) end
  if io.type(value) == "file" then return of_file(value) end
  if is_callable(value) then return of_iterator(value, length) end
  if type(value) == "table" then return of_list(value) end
  bad("body: a string, a list of strings, a function or an open file expected, got %s",
    io.type(value) or type(value))
end

-- Only chunks have anything behind them.
local function with_trailer(body, trailer)
  return {
    again = body.again, type = body.type,
    send = function(conn, arm) return send_chunks(body.pieces(), trailer, conn, arm) end,
  }
end

--- The body that a request's options ask for.
-- @tparam table options `body`, `json` or `form`
-- @tparam ?integer length what its Content-Length field says
-- @tparam ?function trailer returns the lines that follow it
-- @treturn ?table nil: none
function M.of(options, length, trailer)
  local given
  for _, name in ipairs { "body", "json", "form" } do
    if options[name] ~= nil then
      if given then bad("%s and %s: one of them is enough", given, name) end
      given = name
    end
  end
  if not given and trailer then bad "trailers: there is no body" end
  if not given then return nil end
  local body
  if given == "json" then
    body = of_string(require("greenlua.http.json").encode(options.json))
    body.type = "application/json"
  elseif given == "form" then
    body = of_string(require("greenlua.http.forms").encode(options.form))
    body.type = "application/x-www-form-urlencoded"
  else
    body = make(options.body, length)
  end
  if length and body.length ~= length then
    bad("body: %d bytes, but the field Content-Length says %d", body.length or -1, length)
  end
  if length and trailer then bad "trailers: they follow chunks, not a Content-Length" end
  return trailer and with_trailer(body, trailer) or body
end

return M
