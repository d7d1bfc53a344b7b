--- Files as responses: with types, conditions, ranges, and straight from the kernel.
--
-- @module greenlua.http.static

local conditions = require "greenlua.http.static.conditions"
local core = require "greenlua.core.http"
local object = require "greenlua.object"
local types = require "greenlua.http.types"

local M = {}

local LOT = 65536 -- bytes read at once, where the kernel cannot send by itself

-- Bodies ---------------------------------------------------------------------------

local function stream_part(res, file, first, last)
  while first <= last do
    local piece, err = file:read_part(first, math.min(LOT, last - first + 1))
    if not piece or piece == "" then
      res:abort()
      return nil, err or "the file has become shorter"
    end
    local ok
    ok, err = res:write(piece)
    if not ok then return nil, err end
    first = first + #piece
  end
  return true
end

local function part_head(boundary, kind, range, size)
  return ("\r\n--%s\r\nContent-Type: %s\r\nContent-Range: bytes %d-%d/%d\r\n\r\n")
    :format(boundary, kind, range[1], range[2], size)
end

local function send_ranges(res, file, size, ranges)
  local boundary = ("%016x%016x"):format(math.random(0), math.random(0))
  local kind, length, heads = res:get_header "Content-Type", 0, {}
  for i, range in ipairs(ranges) do
    heads[i] = part_head(boundary, kind, range, size)
    length = length + #heads[i] + range[2] - range[1] + 1
  end
  local tail = ("\r\n--%s--\r\n"):format(boundary)
  res:set_header("Content-Type", "multipart/byteranges; boundary=" .. boundary)
  res:set_header("Content-Length", length + #tail)
  for i, range in ipairs(ranges) do
    local ok, err = res:write(heads[i])
    if ok then ok, err = stream_part(res, file, range[1], range[2]) end
    if not ok then return nil, err end
  end
  return res:write(tail)
end

local function send_whole(res, file, size)
  if size > 0 and res:gzips(size) then
    if res.request.method == "HEAD" then return res:write "" end
    return stream_part(res, file, 0, size - 1)
  end
  return res:send_part(file, 0, size)
end

-- One range, or several, or a refusal.
local function send_asked(res, file, size, ranges)
  if ranges == false then
    res.status = 416
    res:set_header("Content-Encoding", nil)
    res:set_header("Content-Range", "bytes */" .. size)
    return res:send("Range Not Satisfiable\n")
  end
  res.status = 206
  if #ranges > 1 then return send_ranges(res, file, size, ranges) end
  local first, last = ranges[1][1], ranges[1][2]
  res:set_header("Content-Range", ("bytes %d-%d/%d"):format(first, last, size))
  return res:send_part(file, first, last - first + 1)
end

local function set(res, name, value)
  if value and not res:get_header(name) then res:set_header(name, value) end
end

-- The name in both forms: who knows the second prefers it (RFC 6266).
local function disposition(name)
  local plain = name:gsub('[%c"\\\127-\255]', "_")
  return ('attachment; filename="%s"; filename*=UTF-8\'\'%s'):format(plain,
    (name:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end)))
end

-- The file, or what has been made of it beforehand.
local function open(res, path, precompressed)
  local file, size, modified, tag = core.open_file(path)
  if not file or not precompressed or not res.compress or res:get_header "Content-Encoding" then
    return file, size, modified, tag
  end
  res:_vary()
  if not res:_accepts_gzip() then return file, size, modified, tag end
  local packed, packed_size, at, packed_tag = core.open_file(path .. ".gz")
  if not packed or at < modified then
    if packed then packed:close() end
    return file, size, modified, tag
  end
  file:close()
  res:set_header("Content-Encoding", "gzip")
  return packed, packed_size, at, packed_tag
end

--- Send a file, or the part of it that the request asks for, or a 304 if the client has
-- it. Sets Content-Type, Last-Modified and ETag unless they are there.
--
-- Options: `type`; `download`: a name to save it as; `cache`: a Cache-Control;
-- `precompressed`: if there is a file of that name with `.gz` behind, which is no older,
-- send that to clients who accept it.
-- @tparam Response res
-- @tparam string path
-- @tparam[opt] table options
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message: it cannot be read, and nothing is sent, or the client has
--   gone
function M.send_file(res, path, options)
  options = options or {}
  local opened, size, modified, tag = open(res, path, options.precompressed)
  if not opened then return nil, size end
  local file <close> = opened
  local req = res.request
  set(res, "Last-Modified", core.date(modified))
  set(res, "ETag", tag)
  set(res, "Cache-Control", options.cache)
  local depends = res.status == 200 and req:_conditional()
  local status = depends and conditions.status(req, tag, modified)
  if status then
    res.status = status
    return res:send()
  end
  set(res, "Content-Type", options.type or types.of(path))
  set(res, "Accept-Ranges", "bytes")
  if options.download then set(res, "Content-Disposition", disposition(options.download)) end
  if depends then
    local ranges = conditions.ranges(req, size, tag, modified)
    if ranges ~= nil then return send_asked(res, file, size, ranges) end
  end
  return send_whole(res, file, size)
end

-- Directories ------------------------------------------------------------------------

-- The path below the root, or nil if it leads out of it, or to what is hidden.
local function resolve(raw, hidden)
  local list = {}
  for segment in raw:gmatch "[^/]+" do
    local name = core.unescape(segment)
    if name:find "[/\\%z]" or name == ".." then return nil end
    if name ~= "." then
      if name:sub(1, 1) == "." and not hidden then return nil end
      list[#list + 1] = name
    end
  end
  return table.concat(list, "/"), raw:sub(-1) == "/" or raw == ""
end

local function missing()
  return 404, "Not Found\n"
end

local function redirect_to_directory(req, res)
  local query = req.query_string ~= "" and "?" .. req.query_string or ""
  -- Of several slashes a browser would make another host.
  return res:redirect((req.raw_path:gsub("^/+", "/")) .. "/" .. query, 301)
end

--- A handler for the files below a directory.
--
-- What begins with a dot is not there, unless `hidden` is true. `..` never leads out;
-- symbolic links do, if somebody has made them. A directory is answered by its
-- `index` (`"index.html"`). Other options are those of `send_file`.
--
-- Below `router:mount` it takes the rest of the path.
-- @usage router:mount("/static", http.static.handler("public", { cache = "max-age=3600" }))
-- @tparam string root
-- @tparam[opt] table options
-- @treturn function
function M.handler(root, options)
  root = object.check_string("handler", 1, root):gsub("/+$", "")
  options = object.check_table("handler", 2, options or {})
  local index = options.index or "index.html"
  return function(req, res)
    if req.method ~= "GET" and req.method ~= "HEAD" then
      return 405, { Allow = "GET, HEAD" }, "Method Not Allowed\n"
    end
    local raw = req._mounted and req.raw_path:sub(#req._mounted + 1) or req.raw_path
    local path, directory = resolve(raw, options.hidden)
    if not path then return missing() end
    local full = root .. "/" .. path
    local ok, err = res:send_file(directory and full .. (path == "" and "" or "/") .. index or full,
      options)
    if ok or res.head_sent then return end
    if err == "Is a directory" and not directory then return redirect_to_directory(req, res) end
    return missing()
  end
end

return M
