-- The functions that stand for those of io and os, for specs; nothing is patched.

local luaio = require "greenlua.core.luaio"

local methods = getmetatable(io.stdout).__index

return {
  read = luaio.wrap("read", methods.read),
  lines = luaio.wrap("lines", methods.lines),
  write = luaio.wrap("write", methods.write),
  close = luaio.wrap("close", methods.close),
  open = luaio.wrap("io.open", io.open),
  popen = luaio.wrap("io.popen", io.popen),
  execute = luaio.wrap("os.execute", os.execute),
}
