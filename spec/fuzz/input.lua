-- How the inputs of targets are laid out: a line that says how, then the bytes themselves.
-- The first bytes of that line are the target's options, bits each; the others say in which
-- pieces the bytes come, again and again: "!" one byte, '"' two … and from "`" on 16 times
-- that. So inputs can be read, written and changed by hand.

local green = require "greenlua"

local M = {}

local MOST <const> = 40 -- pieces; the last one has all that is left

--- Options: a function(bit) -> is it set in the first `count` bytes? The bits 0 to 4 of each
-- byte count, so that all can be letters. Then the cuts, and the bytes.
function M.split(text, count)
  local head, bytes = text:match "^([^\n]*)\n(.*)$"
  if not head then head, bytes = "", text end
  local options = { head:byte(1, count) }
  local function has(bit)
    local byte = options[bit // 5 + 1]
    return byte ~= nil and byte >> bit % 5 & 1 == 1
  end
  return has, head:sub(count + 1), bytes
end

--- Bytes in pieces.
function M.pieces(cuts, bytes)
  local list, at, i = {}, 1, 0
  if cuts == "" then return { bytes } end
  while at <= #bytes do
    local cut = cuts:byte(i % #cuts + 1)
    local size = (cut & 31) + (cut & 31 == 0 and 32 or 0)
    if cut >= 96 then size = size * 16 end
    i = i + 1
    if i == MOST then size = #bytes end
    list[i] = bytes:sub(at, at + size - 1)
    at = at + size
  end
  return list
end

--- Send pieces, each when the one before has been taken, and then no more.
function M.send(sock, pieces, keep)
  for _, piece in ipairs(pieces) do
    if not sock:send(piece) then return end
    green.idle()
  end
  if not keep then sock:shutdown "send" end
end

--- What fails if it is not so.
function M.check(ok, what, ...)
  if ok then return ok end
  local words = {}
  for i, value in ipairs { ... } do
    words[i] = (type(value) == "string" and "%q" or "%s"):format(value)
  end
  error(what .. ": " .. table.concat(words, "\n  "), 2)
end

return M
