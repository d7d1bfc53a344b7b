-- A crawler that fetches no more than so many pages at a time. The site that it
-- crawls is served by the same program, over real sockets.
--
-- usage: crawler.lua [connections]

local green = require "greenlua"
local socket = require "greenlua.socket"

-- The site: path -> the paths that its page links to.
local site = {
  ["/"] = { "/news", "/shop", "/about" },
  ["/news"] = { "/news/1", "/news/2", "/news/3", "/" },
  ["/news/1"] = { "/news/2" },
  ["/news/2"] = { "/news/3", "/gone" },
  ["/news/3"] = {},
  ["/shop"] = { "/shop/tea", "/shop/coffee", "/about" },
  ["/shop/tea"] = { "/shop" },
  ["/shop/coffee"] = { "/shop" },
  ["/about"] = { "/" },
}

local busy, most = 0, 0

local function respond(peer)
  local conn <close> = peer
  local path = (conn:receive "*l" or ""):match "^GET (%S+)"
  busy = busy + 1
  most = math.max(most, busy)
  green.sleep(0.005) -- the server has something to do
  busy = busy - 1
  local links = site[path]
  conn:send(links and "200\n" or "404\n")
  for _, link in ipairs(links or {}) do conn:send(link .. "\n") end
end

local function serve(server)
  while true do green.spawn(respond, assert(server:accept())) end
end

local function fetch(port, path)
  local conn <close> = assert(socket.connect("127.0.0.1", port))
  conn:send(("GET %s\n"):format(path))
  local status, links = conn:receive "*l", {}
  for link in conn:lines() do links[#links + 1] = link end
  return status, links
end

local function crawl(port, connections)
  local pool <close> = green.Pool(connections) -- its end waits for all pages
  local status_of = {}
  local function visit(path)
    local status, links = fetch(port, path)
    status_of[path] = status
    for _, link in ipairs(links) do
      if not status_of[link] then
        status_of[link] = "on its way"
        pool:apply_async(visit, link) -- we are in the pool: waiting might be for ever
      end
    end
  end
  pool:spawn(visit, "/")
  pool:join()
  return status_of
end

local server <close> = assert(socket.bind("127.0.0.1", 0))
local _, port = server:getsockname()
local _ <close> = setmetatable({ green.spawn(serve, server) }, {
  __close = function(self) self[1]:kill() end,
})

local status_of = crawl(port, tonumber(arg[1]) or 3)
local paths = {}
for path in pairs(status_of) do paths[#paths + 1] = path end
table.sort(paths)
for _, path in ipairs(paths) do print(status_of[path], path) end
print(("%d pages, %d at a time"):format(#paths, most))
