--- Which proxy a request goes through: what the program says, or the environment.
-- For greenlua's own modules.
--
-- @module greenlua.http.client.proxy

local base64 = require "greenlua.http.client.base64"
local urls = require "greenlua.http.client.url"

local M = {}

-- HTTP_PROXY is not asked: in a CGI program a client sets it, by a field "Proxy".
local variables = {
  http = { "http_proxy", "all_proxy", "ALL_PROXY" },
  https = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" },
}

local function ask(names)
  for _, name in ipairs(names) do
    local value = os.getenv(name)
    if value and value ~= "" then return value end
  end
end

-- "10.0.0.0/8", "fd00::/8"
local function is_in_network(host, network, bits)
  local address, base = urls.address(host), urls.address(network)
  if not address or not base or #address ~= #base or bits > 8 * #base then return false end
  local whole, rest = bits // 8, 8 - bits % 8
  return address:sub(1, whole) == base:sub(1, whole)
    and (rest == 8 or address:byte(whole + 1) >> rest == base:byte(whole + 1) >> rest)
end

local function excepts(entry, url)
  if entry == "*" then return true end
  local network, bits = entry:match "^%[?([^%]]*)%]?/(%d%d?%d?)$"
  if network then return is_in_network(url.host, network, math.tointeger(tonumber(bits))) end
  local host, port = entry:match "^(.-):(%d+)$"
  if entry:find "^%[" then
    host, port = entry:match "^%[(.-)%]:?(%d*)$"
  elseif not host or entry:find ":.*:" then
    host, port = entry, nil
  end
  if not host then return false end
  if port and port ~= "" and tonumber(port) ~= url.port then return false end
  host = host:lower():gsub("^%*?%.", "")
  return url.host == host or url.host:sub(-#host - 1) == "." .. host
end

--- Is the host one that is asked directly?
-- @tparam string list `"localhost,.example.org,10.0.0.1:8080,10.1.0.0/16"`; `"*"` is all
-- @tparam table url
-- @treturn boolean
function M.excepted(list, url)
  for entry in list:gmatch "[^%s,]+" do
    if excepts(entry, url) then return true end
  end
  return false
end

local ports = { http = 80, https = 443, socks5 = 1080, socks5h = 1080 }

local function parse(text)
  if not text:find "://" then text = "http://" .. text end
  local proxy, problem = urls.parse(text, ports)
  if not proxy then return nil, "bad proxy: " .. problem end
  if proxy.unix then return nil, "bad proxy: a UNIX socket is none" end
  proxy.socks = proxy.scheme:find "^socks" ~= nil
  if proxy.user and proxy.socks then
    if #proxy.user > 255 or #proxy.password > 255 or proxy.user == "" then
      return nil, "bad proxy: a user and a password have at most 255 bytes"
    end
  elseif proxy.user then
    proxy.authorization = base64.basic(proxy.user, proxy.password)
  end
  return proxy
end

--- The proxy for a URL.
-- @tparam table url
-- @tparam[opt] string|boolean option a URL; false: none; nil: as the environment says
-- @treturn[1] ?table as `url.parse` has it, and `authorization`; `socks`: is it one of SOCKS?
--   nil: none
-- @treturn[2] nil
-- @treturn[2] string what is wrong with it
function M.find(url, option)
  if option == false or url.unix then return nil end
  if type(option) == "string" then return parse(option) end
  local text = ask(variables[url.scheme])
  if not text or M.excepted(ask { "no_proxy", "NO_PROXY" } or "", url) then return nil end
  return parse(text)
end

return M
