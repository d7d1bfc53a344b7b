-- All that can be read of a socket, by a script: every byte comes once, in its order, as a
-- model says, however the bytes come.
--
-- The second line is the script, words: "l" a line, "a" all, a number of bytes, with a prefix
-- behind a colon ("20:abc"), "s7" some of at most so many, "u7:x" until an x, within so many,
-- "i" the next of lines(), "0" a timeout of none, "-" of a second, "k7" a kill while so many are
-- waited for, "." others run.

local green = require "greenlua"
local input = require "spec.fuzz.input"
local socket = require "greenlua.socket"

local check = input.check

-- What is left, and the reads that take from it.
local Model = {}
Model.__index = Model

function Model:take(n)
  local data = self.rest:sub(1, n)
  self.rest = self.rest:sub(n + 1)
  return data
end

local function line_of(data) return (data:gsub("\r", "")) end
local function plain(data) return data end

-- A read failed, with what it has consumed: so many bytes, by the socket's count.
function Model:failed(sock, err, partial, clean)
  check(err == "timeout" or err == "closed", "an error", err)
  local n = sock:getstats() - (self.size - #self.rest)
  check(err ~= "closed" or n == #self.rest, "closed too early", n, #self.rest)
  local wanted = clean(self:take(n))
  check(partial == wanted, "what there is", partial, wanted)
end

local function same(got, wanted, what)
  check(got == wanted, what, got, wanted)
end

function Model:line(sock, read)
  local line, err, partial = read(sock)
  if not line then return self:failed(sock, err, partial, line_of) end
  local at = check(self.rest:find("\n", 1, true), "a line too early", line)
  same(line .. "\n", line_of(self:take(at)), "a line")
end

function Model:all(sock)
  local data, err, partial = sock:receive "*a"
  if not data then return self:failed(sock, err, partial, plain) end
  same(data, self:take(#self.rest), "all")
end

function Model:exact(sock, n, prefix)
  local data, err, partial = sock:receive(n, prefix)
  if data then
    return same(data, prefix .. (n > #prefix and self:take(n - #prefix) or ""), "bytes")
  end
  same(partial:sub(1, #prefix), prefix, "the prefix")
  self:failed(sock, err, partial:sub(#prefix + 1), plain)
end

function Model:some(sock, n)
  local data, err, partial = sock:receive_some(n)
  if not data then return self:failed(sock, err, partial, plain) end
  check(#data >= 1 and #data <= n, "some", data)
  same(data, self:take(#data), "some")
end

function Model:up_to(sock, delimiter, max)
  local data, err, partial = sock:read_until(delimiter, max)
  local at, last = self.rest:find(delimiter, 1, true)
  if err == "too long" then return check(not at or at - 1 > max, "too long", at, max) end
  if not data then return self:failed(sock, err, partial, plain) end
  check(at - 1 <= max, "not too long", at, max)
  same(data .. delimiter, self:take(last), "until")
end

-- An iterator gives what is left without an end, too, and raises a timeout.
function Model:next_line(sock, next_line)
  local ok, line = pcall(next_line, sock)
  if not ok then return check(tostring(line):find "timeout", "an error", line) end
  if not line then return same(self.rest, "", "the end of the lines") end
  local at = self.rest:find("\n", 1, true)
  if at then return same(line .. "\n", line_of(self:take(at)), "a line") end
  same(line, line_of(self:take(#self.rest)), "the last line")
end

-- Who is killed has taken nothing.
function Model:kill(sock, n)
  local data, err, partial
  local reader = green.spawn(function() data, err, partial = sock:receive(n) end)
  green.sleep(0)
  reader:close()
  if data then return same(data, self:take(n), "bytes") end
  if err then self:failed(sock, err, partial, plain) end
end

function Model:do_word(sock, word)
  local letter, number, rest = word:match "^(%a?)(%d*):?(.*)$"
  local n = math.tointeger(tonumber(number:sub(1, 17)))
  if word == "l" then self:line(sock, sock.receive)
  elseif word == "a" then self:all(sock)
  elseif word == "i" then self:next_line(sock, sock:lines())
  elseif word == "." then green.idle()
  elseif word == "0" then sock:settimeout(0)
  elseif word == "-" then sock:settimeout(1)
  elseif not letter or not n then
    check(tonumber(word) or not pcall(sock.receive, sock, word), "a bad pattern", word)
  elseif letter == "" then self:exact(sock, n, rest)
  elseif letter == "s" then self:some(sock, n + 1)
  elseif letter == "u" and rest ~= "" then self:up_to(sock, rest, n)
  elseif letter == "k" then self:kill(sock, n)
  end
end

return function(text)
  local has, cuts, bytes = input.split(text, 1)
  local script, data = bytes:match "^([^\n]*)\n(.*)$"
  if not script then return end
  local a, b = socket.pair()
  local model = setmetatable({ rest = data, size = #data }, Model)
  local sending = green.spawn(input.send, b, input.pieces(cuts, data))
  if has(0) then green.idle() end
  for word in script:gmatch "%S+" do
    -- what is no number for us may be one for Lua, or a pattern
    if not (word:find "^%*" or word:find "^[^%w.%-]") then model:do_word(a, word) end
  end
  a:settimeout()
  local rest, err, partial = a:receive "*a"
  same(rest or partial, model.rest, "the rest")
  check(rest or err == "closed", "the end", err)
  a:close()
  sending:join()
  b:close()
end
