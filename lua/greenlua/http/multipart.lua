--- Multipart bodies (RFC 7578), read as they come: a file of any size needs no more
-- memory than a piece of it.
--
-- @usage for part in req:parts() do
--   if part.filename then
--     assert(part:save(("uploads/%d"):format(next_id())))
--   else
--     fields[part.name] = part:read()
--   end
-- end
-- @module greenlua.http.multipart

local M = {}

local MAX_HEAD = 16384 -- bytes of a part's fields

-- The input -----------------------------------------------------------------------

-- What has been read and not used, and the boundary that ends a part.
local Input = {}
Input.__index = Input

local function more(self)
  local piece, err = self.req:read_some()
  if not piece then
    if not err then self.req._refusal = { "the body ends within a part", 400 } end
    return nil, err or "the body ends within a part"
  end
  self.rest = self.rest .. piece
  return true
end

-- Bytes up to the delimiter, which is not among them: nil at the delimiter.
function Input:some()
  while true do
    local at = self.rest:find(self.delimiter, 1, true)
    if at == 1 then return nil end
    local n = at and at - 1 or #self.rest - #self.delimiter
    if n > 0 then
      local piece = self.rest:sub(1, n)
      self.rest = self.rest:sub(n + 1)
      return piece
    end
    local ok, err = more(self)
    if not ok then return nil, err end
  end
end

-- Take what stands before a text, and the text itself.
function Input:take_until(text, max)
  while true do
    local first, last = self.rest:find(text, 1, true)
    if first and first <= max then
      local taken = self.rest:sub(1, first - 1)
      self.rest = self.rest:sub(last + 1)
      return taken
    end
    if #self.rest > max then
      self.req._refusal = { "the head of a part is too large", 400 }
      return nil, "the head of a part is too large"
    end
    local ok, err = more(self)
    if not ok then return nil, err end
  end
end

-- Go to behind the next delimiter: true: a part follows; false: that was the last.
function Input:next_part()
  repeat
    local piece, err = self:some()
    if err then return nil, err end
  until not piece
  self.rest = self.rest:sub(#self.delimiter + 1)
  while #self.rest < 2 do
    local ok, err = more(self)
    if not ok then return nil, err end
  end
  if self.rest:sub(1, 2) == "--" then return false end
  local padding, err = self:take_until("\r\n", 256)
  if not padding then return nil, err end
  if padding:find "%S" then return nil, "a bad boundary" end
  return true
end

-- Parts ---------------------------------------------------------------------------

--- A part of the body. Fields: `name`, `filename` (nil for a plain field; as the client
-- says, so it is no path to be trusted), `content_type`, `headers` (names in lower case).
-- @type Part
local Part = {}
Part.__index = Part

--- Bytes of the part: what is there, at least one byte.
-- @treturn[1] string
-- @treturn[2] nil at its end
-- @treturn[3] nil
-- @treturn[3] string message
function Part:read_some()
  if self._input.part ~= self then return nil end
  return self._input:some()
end

--- All of the part.
-- @tparam[opt=1048576] integer max bytes
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] string `"too large"` …
function Part:read(max)
  local pieces, size = {}, 0
  while true do
    local piece, err = self:read_some()
    if err then return nil, err end
    if not piece then return table.concat(pieces) end
    size = size + #piece
    if size > (max or 1 << 20) then
      self._input.req:_refuse_body(413)
      return nil, "too large"
    end
    pieces[#pieces + 1] = piece
  end
end

--- Write the part into a file, piece by piece. A file that is not whole is removed.
-- @tparam string path
-- @tparam[opt] integer max bytes
-- @treturn[1] integer bytes
-- @treturn[2] nil
-- @treturn[2] string message
function Part:save(path, max)
  local file, why = io.open(path, "wb")
  if not file then return nil, why end
  local whole <close> = setmetatable({ file = file, path = path }, { __close = function(g)
    g.file:close()
    if not g.size then os.remove(g.path) end
  end })
  local size = 0
  while true do
    local piece, err = self:read_some()
    if err then return nil, err end
    if not piece then break end
    size = size + #piece
    if max and size > max then
      self._input.req:_refuse_body(413)
      return nil, "too large"
    end
    local ok
    ok, err = file:write(piece)
    if not ok then return nil, err end
  end
  local ok, err = file:flush()
  if not ok then return nil, err end
  whole.size = size
  return size
end

--- @section end

-- name="value" of a Content-Disposition. Browsers write %22 for a quote.
local function parameter(text, name)
  local start = ";%s*" .. name .. "="
  local value = text:match(start .. '"([^"]*)"') or text:match(start .. "([^;%s]*)")
  return value and value:gsub("%%22", '"'):gsub("%%0[dD]", "\r"):gsub("%%0[aA]", "\n")
end

local function parse_head(text)
  local headers = {}
  for line in (text == "" and "" or text .. "\r\n"):gmatch "(.-)\r\n" do
    local name, value = line:match "^([^%s:]+):%s*(.*)$"
    if not name then return nil, "a bad field in a part" end
    headers[name:lower()] = value:match "^(.*%S)" or "" -- in one go
  end
  return headers
end

local function read_part(input)
  input.rest = "\r\n" .. input.rest -- a part without fields begins with an empty line
  local text, err = input:take_until("\r\n\r\n", MAX_HEAD)
  if not text then return nil, err end
  local headers
  headers, err = parse_head(text:sub(3))
  if not headers then return nil, err end
  input.rest = "\r\n" .. input.rest -- an empty part ends at once
  local disposition = headers["content-disposition"] or ""
  local part = setmetatable({ headers = headers, content_type = headers["content-type"],
    name = parameter(disposition, "name"), filename = parameter(disposition, "filename"),
    _input = input }, Part)
  input.part = part
  return part
end

-- The line end that was put before the content is taken off again, unless the part ends
-- with its head; that must be known, however little has come.
local function enter(input, part)
  local delimiter = input.delimiter
  while #input.rest < #delimiter and delimiter:sub(1, #input.rest) == input.rest do
    if not more(input) then break end
  end
  input.rest = input.rest:sub(1, #input.delimiter) == input.delimiter and input.rest
    or input.rest:sub(3)
  return part
end

--- Iterate over the parts of a request's body. What is not read of one is passed
-- over. What is wrong with the body is raised, and answered with a 400.
--
-- Options: `max_parts` (1000).
-- @tparam Request req
-- @tparam[opt] table options
-- @treturn function
function M.parts(req, options)
  local value = req:header "content-type" or ""
  local boundary = value:match '[;%s]boundary="([^"]+)"' or value:match "[;%s]boundary=([^;%s]+)"
  local limit = options and options.max_parts or 1000
  local input = setmetatable({ req = req, rest = "\r\n",
    delimiter = "\r\n--" .. (boundary or "") }, Input)
  local count, ended = 0, false

  local function refuse(why)
    if not req._body_status then req:_refuse_body(400) end
    error(why, 0)
  end

  return function()
    if ended then return nil end
    if not req.content_type or not req.content_type:find "^multipart/" or not boundary
      or #boundary > 70 then
      refuse "not a multipart body"
    end
    local follows, err = input:next_part()
    if err then refuse(err) end
    if not follows then
      ended = true
      return nil
    end
    count = count + 1
    if count > limit then refuse "too many parts" end
    local part
    part, err = read_part(input)
    if not part then refuse(err) end
    return enter(input, part)
  end
end

-- Whole forms -------------------------------------------------------------------------

-- Removes the temporary files that are still there.
local Files = { __gc = function(files)
  for _, path in ipairs(files) do os.remove(path) end
end }

local function temporary(options)
  if not options.directory then return os.tmpname() end
  return ("%s/upload-%x-%x"):format(options.directory, os.time(), math.random(0))
end

local function read_file(part, files, options)
  local path = temporary(options)
  files[#files + 1] = path
  local size, err = part:save(path, options.max_file)
  if not size then return nil, err end
  return { name = part.name, filename = part.filename, content_type = part.content_type,
    size = size, path = path }
end

local function read_all(req, options, files)
  local fields, list, left, room = {}, {}, options.max_bytes or 1 << 20, options.max_files or 20
  for part in M.parts(req, options) do
    local value, err
    if part.filename then
      room = room - 1
      if room < 0 then return nil, "too many files" end
      value, err = read_file(part, files, options)
    else
      value, err = part:read(left)
      left = left - #(value or "")
    end
    if not value then return nil, err end
    list[#list + 1] = { name = part.name, value = value }
    if part.name and fields[part.name] == nil then fields[part.name] = value end
  end
  return fields, list
end

--- Read a whole form; see `greenlua.http.forms`. The temporary files go with the
-- request.
-- @tparam Request req
-- @tparam table options
-- @treturn[1] table
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] string message
function M.read(req, options)
  local files = setmetatable({}, Files)
  req._uploads = files
  local ok, fields, list = pcall(read_all, req, options, files)
  if ok then return fields, list end
  if type(fields) == "string" and req._body_status then return nil, fields end
  error(fields, 0)
end

return M
