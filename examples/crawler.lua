-- A crawler that fetches no more than so many pages at a time. The site that it
-- crawls is served by the same program, over real sockets.
--
-- usage: crawler.lua [connections]

local green = require "greenlua"
local http = require "greenlua.http"

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

local function respond(req)
  green.sleep(0.005) -- the server has something to do
  local links = site[req.path]
  if not links then return 404, "gone\n" end
  local page = {}
  for i, link in ipairs(links) do page[i] = ('<a href="%s">%s</a>\n'):format(link, link) end
  return page
end

local function crawl(site_url, connections)
  local client <close> = http.client { max_per_host = connections }
  local pool <close> = green.Pool(connections) -- its end waits for all pages
  local status_of, most = {}, 0
  local function visit(path)
    most = math.max(most, #pool)
    local res = assert(client:get(site_url .. path))
    status_of[path] = res.status
    for link in res.body:gmatch 'href="(.-)"' do
      if not status_of[link] then
        status_of[link] = "on its way"
        pool:apply_async(visit, link) -- we are in the pool: waiting might be for ever
      end
    end
  end
  pool:spawn(visit, "/")
  pool:join()
  return status_of, most
end

local server <close> = http.Server("127.0.0.1:0", respond)
assert(server:start())

local status_of, most = crawl("http://127.0.0.1:" .. server.port, tonumber(arg[1]) or 3)
local paths = {}
for path in pairs(status_of) do paths[#paths + 1] = path end
table.sort(paths)
for _, path in ipairs(paths) do print(status_of[path], path) end
print(("%d pages, %d at a time"):format(#paths, most))
