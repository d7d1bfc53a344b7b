-- Fetches many pages at once with LuaSocket's own socket.http, unmodified: where it
-- would block the thread, its greenlet waits. Without a URL, a slow server in the
-- same program is asked for 20 pages.
--
-- usage: http_fetch_many.lua [url...]

local green = require "greenlua"
local socket = require "greenlua.socket"

package.loaded.socket = socket -- this is all that socket.http needs
local found, http = pcall(require, "socket.http")
if not found then
  io.stderr:write("http_fetch_many.lua needs LuaSocket's module socket.http.\n",
    "On Debian: apt-get install lua-socket. Elsewhere: luarocks install luasocket\n")
  os.exit(1)
end
http.TIMEOUT = 10

local function respond(peer)
  local conn <close> = peer
  local path = (conn:receive "*l" or ""):match "^GET (%S+)"
  repeat local header = conn:receive "*l" until not header or header == ""
  green.sleep(0.1) -- thinking
  local page = ("This is the page %s.\n"):format(path)
  conn:send { "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ", #page, "\r\n\r\n", page }
end

local function own_pages()
  local server = assert(socket.bind("127.0.0.1", 0))
  green.Greenlet.spawn(function()
    for peer in server.accept, server do green.spawn(respond, peer) end
  end)
  local _, port = server:getsockname()
  local urls = {}
  for i = 1, 20 do urls[i] = ("http://127.0.0.1:%d/%d"):format(port, i) end
  return urls, server
end

local urls, server = arg, nil
if #urls == 0 then urls, server = own_pages() end

local began, bytes = socket.gettime(), 0
local pool = green.Pool(100)
for url, page, err in pool:imap(function(url)
  local page, status = http.request(url)
  if page and status ~= 200 then return url, nil, status end
  return url, page, status
end, urls) do
  bytes = bytes + #(page or "")
  print(url, page and #page .. " bytes" or err)
end
local seconds = socket.gettime() - began
print(("%d pages, %d bytes in %.1f s"):format(#urls, bytes, seconds))
if server then server:close() end
