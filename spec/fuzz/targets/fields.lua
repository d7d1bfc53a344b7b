-- What stands in fields and URLs. The first byte of an input says what it is; the readers of
-- greenlua and short ones here must agree, and what is written again must be read as the same.

local base64 = require "greenlua.http.client.base64"
local conditions = require "greenlua.http.static.conditions"
local cookies = require "greenlua.http.cookies"
local core = require "greenlua.core.http"
local extension = require "greenlua.websocket.extension"
local input = require "spec.fuzz.input"
local Jar = require("greenlua.http.client.cookies").Jar
local json = require "greenlua.http.json"
local native = require "fuzz.core"
local trailers = require "greenlua.http.trailers"
local urls = require "greenlua.http.client.url"

local check = input.check
local kinds = {}

local function trim(text) return text:match "^%s*(.-)%s*$" end

-- An escape, as RFC 3986 has it; with `plus`, as forms do.
function kinds.q(text)
  local function plain(s)
    return (s:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
  end
  check(core.unescape(text) == plain(text), "unescape", text)
  check(core.unescape(text, true) == plain((text:gsub("+", " "))), "unescape", text)
end

function kinds.c(text)
  local wanted = {}
  for pair in text:gmatch "[^;]+" do
    local name, value = pair:match "^([^=]*)=(.*)$"
    name, value = name and trim(name), value and trim(value)
    if name and name ~= "" and not name:find "%s" and wanted[name] == nil then
      wanted[name] = value:match '^"(.*)"$' or value
    end
  end
  local got = cookies.parse(text)
  for name, value in pairs(got) do check(wanted[name] == value, "a cookie", name, value) end
  for name in pairs(wanted) do check(got[name], "a cookie", name) end
  for name, value in pairs(got) do
    local ok, line = pcall(cookies.format, name, value)
    if ok then check(cookies.parse((line:match "^[^;]*"))[name] == value, "format", line) end
  end
end

-- RFC 6265, 5.4
local function sent_to(jar, url)
  local host, path = url:match "^http://([^/]*)([^?]*)"
  local list = {}
  for i, cookie in ipairs(jar:all()) do
    local inside = host == cookie.domain
      or not cookie.host_only and ("." .. host):sub(-#cookie.domain - 1) == "." .. cookie.domain
    local below = path == cookie.path or path:sub(1, #cookie.path) == cookie.path
      and (cookie.path:find "/$" or path:sub(#cookie.path + 1):find "^/")
    if inside and below then list[#list + 1] = { #cookie.path, i, cookie } end
  end
  table.sort(list, function(a, b) return a[1] > b[1] or a[1] == b[1] and a[2] < b[2] end)
  for i, found in ipairs(list) do list[i] = found[3].name .. "=" .. found[3].value end
  return list[1] and table.concat(list, "; ")
end

-- Set-Cookie fields, a line each.
function kinds.s(text)
  local jar = Jar()
  local mine = urls.parse "http://a.example.org/b/c"
  for line in text:gmatch "[^\n]+" do jar:store(mine, line, 1000) end
  check(#jar == #jar:all() and #jar <= 50 * 2, "their number", #jar)
  for _, cookie in ipairs(jar:all()) do
    check(cookie.domain == "a.example.org" or not cookie.host_only, "domain", cookie.domain)
    check(("." .. "a.example.org"):sub(-#cookie.domain - 1) == "." .. cookie.domain, "domain",
      cookie.domain)
    check(not cookie.secure, "secure")
    check(cookie.path:sub(1, 1) == "/", "path", cookie.path)
  end
  for _, other in ipairs { "http://a.example.org/b/c", "http://b.example.net/b/c",
    "http://aa.example.org/b/", "http://org/b/c" } do
    local value = jar:header(urls.parse(other), 1000)
    check(value == sent_to(jar, other), "what is sent", other, value, sent_to(jar, other))
    check(not value or not value:find "[%z\1-\8\10-\31\127]", "a Cookie field", value)
  end
end

local function message(fields)
  return { method = "GET", header = function(_, name) return fields[name] end }
end

-- RFC 9110, 14.1.2; the number of bytes in the file comes first.
function kinds.r(text)
  local size, value = text:match "^(%d%d?%d?)=(.*)$"
  if not size or #value == 0 then return end
  size = tonumber(size)
  local got = conditions.ranges(message { range = "bytes=" .. value }, size, '"x"', 0)
  local list, sound = {}, value:find "[^, ]" ~= nil
  for part in value:gmatch "[^,]+" do
    if part:find "%S" then
      local first, last = trim(part):match "^(%d*)%s*%-%s*(%d*)$"
      if not first or first .. last == "" or #first > 18 or #last > 18
        or first ~= "" and last ~= "" and tonumber(first) > tonumber(last) then
        sound = false
      else
        local from = tonumber(first) or math.max(size - tonumber(last), 0)
        local to = first ~= "" and tonumber(last) or size - 1
        to = math.min(to, size - 1)
        if from <= to then list[#list + 1] = { from, to } end
      end
    end
  end
  if not sound then return check(not got, "a range that is none", value) end
  if got == nil then return end -- too much is asked for
  check(#(got or {}) == #list, "ranges", #(got or {}), #list)
  for i, range in ipairs(got or {}) do
    check(range[1] == list[i][1] and range[2] == list[i][2], "a range", range[1], range[2])
    check(range[1] >= 0 and range[1] <= range[2] and range[2] < size, "a range", range[1], range[2])
  end
end

function kinds.i(text)
  local name, value = text:match "^(%l)(.*)$"
  local names = { m = "if-match", n = "if-none-match", u = "if-unmodified-since",
    s = "if-modified-since" }
  if not names[name] then return end
  local got = conditions.status(message { [names[name]] = value }, '"tag"', 1000000000)
  check(got == nil or got == 304 or got == 412, "a status", got)
  if name == "n" and value:find('"tag"', 1, true) == 1 then check(got == 304, "the tag", value) end
end

function kinds.d(text)
  local at = core.date_value(text)
  if not at then return end
  check(math.type(at) == "integer", "a date", at)
  if at < 0 or at > 253402300799 then return end -- four digits for the year
  check(core.date_value(core.date(at)) == at, "a date", text, at)
end

local function sound_url(url)
  check(url.scheme == "http" or url.scheme == "https", "scheme", url.scheme)
  check(url.port >= 1 and url.port <= 65535, "port", url.port)
  check(url.target:find "^/[\33-\34\36-\126]*$", "target", url.target)
  if not url.unix then
    local host = url.host
    check(host:find "^[%w%-._]+$" or host:find "^[%x:.]+$" or host:find "^[%x:.]+%%[%w%-._~]+$",
      "host", host)
    check(not urls.authority(url):find "[^%w%-._:%[%]]", "authority", urls.authority(url))
  end
  local again = check(urls.parse(urls.format(url)), "format", urls.format(url))
  for _, name in ipairs { "scheme", "host", "port", "target", "unix" } do
    check(again[name] == url[name], name, again[name], url[name])
  end
  check(urls.origin(again) == urls.origin(url), "origin")
end

function kinds.u(text)
  local url, err = urls.parse(text)
  check(url or type(err) == "string", "no message")
  if url then sound_url(url) end
end

-- RFC 3986, 5.2.4, word for word.
local function remove_dots(path)
  local out = ""
  while path ~= "" do
    if path:find "^%.%.?/" then path = path:gsub("^%.%.?/", "", 1)
    elseif path:find "^/%./" then path = path:sub(3)
    elseif path == "/." then path = "/"
    elseif path:find "^/%.%./" then path, out = path:sub(4), out:gsub("/?[^/]*$", "", 1)
    elseif path == "/.." then path, out = "/", out:gsub("/?[^/]*$", "", 1)
    elseif path == "." or path == ".." then path = ""
    else
      local segment = path:match "^/?[^/]*"
      path, out = path:sub(#segment + 1), out .. segment
    end
  end
  return out
end

function kinds.l(text)
  local base = urls.parse "http://h.example:81/a/b/c?d"
  local url, err = urls.resolve(base, text)
  check(url or type(err) == "string", "no message")
  if not url then return end
  sound_url(url)
  text = trim(text)
  if text:find "^%a[%w+.-]*:" or text:find "^//" then return end
  check(url.host == base.host and url.port == 81 and url.scheme == "http", "another place", text)
  local path, query = text:gsub("#.*", ""):match "^([^?]*)(.*)$"
  if path == "" then path, query = "/a/b/c", query ~= "" and query or "?d"
  elseif path:sub(1, 1) == "/" then path = remove_dots(path)
  else path = remove_dots("/a/b/" .. path) end
  local function escaped(s)
    return (s:gsub('[^%w%-._~!$&\'()*+,;=:@/?%%%[%]|]', function(c)
      return ("%%%02X"):format(c:byte())
    end))
  end
  check(url.target == escaped(path .. query), "target", url.target, escaped(path .. query))
end

function kinds.x(text)
  local what = { compress = true }
  local answer, settings = extension.accept(text, true)
  if answer then
    check(settings.send_bits >= 9 and settings.send_bits <= 15, "send_bits", settings.send_bits)
    check(settings.receive_bits >= 8 and settings.receive_bits <= 15, "receive_bits")
    check(extension.confirm(answer, true), "an answer that is none", answer)
  end
  local confirmed, err = extension.confirm(text, what.compress)
  check(confirmed or type(err) == "string", "no message")
end

function kinds.k(text)
  local lines = trailers.parse(text)
  for i = 1, math.huge do
    local name, value = lines:field(i)
    if not name then break end
    check(trailers.allowed(name), "a trailer", name)
    check(not (name .. value):find "[\r\n]", "a trailer", name, value)
    check(lines:header(name), "a trailer", name)
  end
end

function kinds.b(text)
  local encoded = base64.encode(text)
  check(encoded == native.base64(text), "base64", text, encoded)
  local bits, n, out = 0, 0, {}
  for c in encoded:gmatch "[^=]" do
    local at = ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):find(c, 1, true)
    bits, n = bits << 6 | at - 1, n + 6
    if n >= 8 then
      n = n - 8
      out[#out + 1] = string.char(bits >> n & 255)
    end
  end
  check(table.concat(out) == text, "base64", text)
end

-- JSON: bytes make a value, and its text is read back here.

local function make(text, at, depth)
  local c = text:sub(at, at)
  if c == "[" or c == "{" then
    local t, n = {}, 0
    at = at + 1
    while at <= #text and text:sub(at, at) ~= "]" and depth < 50 do
      local key, value = n + 1 -- luacheck: ignore
      if c == "{" then key, at = make(text, at, 60) end
      value, at = make(text, at, depth + 1)
      if key ~= nil and key == key and value ~= nil and type(key) ~= "boolean"
        and type(key) ~= "table" then
        t[key], n = value, n + 1
      end
    end
    return t, at + 1
  elseif c == "n" and at + 8 <= #text then return ("<d"):unpack(text, at + 1), at + 9
  elseif c == "i" and at + 8 <= #text then return ("<i8"):unpack(text, at + 1), at + 9
  elseif c:find "%d" then
    local digits = text:match("^[%d.]+", at)
    return tonumber(digits) or 0, at + #digits
  elseif c == "t" then return true, at + 1
  elseif c == "f" then return false, at + 1
  end
  local stop = text:find("[%[%]{,]", at) or #text + 1
  return text:sub(at, stop - 1), stop == at and at + 1 or stop
end

local read

local function read_string(text, at)
  local parts = {}
  at = at + 1
  while true do
    local plain, after = text:match('^([^"\\%z\1-\31]*)()', at)
    parts[#parts + 1], at = plain, after
    local c = text:sub(at, at)
    if c == '"' then return table.concat(parts), at + 1 end
    check(c == "\\", "a string", text)
    local e = text:sub(at + 1, at + 1)
    local plain_escape = ({ b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"',
      ["\\"] = "\\" })[e]
    if plain_escape then
      parts[#parts + 1], at = plain_escape, at + 2
    else
      local hex = check(text:match("^u00(%x%x)", at + 1), "an escape", text)
      parts[#parts + 1], at = string.char(tonumber(hex, 16)), at + 6
    end
  end
end

local function read_list(text, at)
  local t, n = {}, 0
  at = at + 1
  if text:sub(at, at) == "]" then return t, at + 1 end
  while true do
    n = n + 1
    t[n], at = read(text, at)
    local c = text:sub(at, at)
    at = at + 1
    if c == "]" then return t, at end
    check(c == ",", "a list", text)
  end
end

local function read_object(text, at)
  local t = {}
  at = at + 1
  if text:sub(at, at) == "}" then return t, at + 1 end
  while true do
    local key
    key, at = read_string(text, at)
    check(text:sub(at, at) == ":", "an object", text)
    t[key], at = read(text, at + 1)
    local c = text:sub(at, at)
    at = at + 1
    if c == "}" then return t, at end
    check(c == ",", "an object", text)
  end
end

function read(text, at)
  local c = text:sub(at, at)
  if c == '"' then return read_string(text, at) end
  if c == "[" then return read_list(text, at) end
  if c == "{" then return read_object(text, at) end
  for word, value in pairs { ["true"] = true, ["false"] = false } do
    if text:sub(at, at + #word - 1) == word then return value, at + #word end
  end
  local number = check(text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at), "a value", text:sub(at))
  check(not number:find "^-?0%d" and not number:find "%.$" and not number:find "%.[eE]"
    and not number:find "[eE+-]$", "a number", number)
  return tonumber(number), at + #number
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    local other = b[key]
    -- keys of objects are strings
    if other == nil and type(key) == "number" then return true end
    if not same(value, other) then return false end
  end
  return true
end

function kinds.j(text)
  local value = make(text, 1, 1)
  local ok, encoded = pcall(json.encode, value)
  if not ok then
    return check(encoded:find "^no JSON: ", "an error", encoded)
  end
  local again, stop = read(encoded, 1)
  check(stop == #encoded + 1, "more than a value", encoded)
  check(same(value, again), "JSON", encoded)
end

return function(text)
  local kind = kinds[text:sub(1, 1)]
  if kind then kind(text:sub(2)) end
end
