-- Certificates for specs, made by openssl:
--
--   local certificates = require "spec.support.certificates"
--
--   local ca <close> = certificates.authority()
--   local server = ca:issue("localhost", { "localhost", "127.0.0.1", "::1" })
--   server.certificate, server.key -- files; ca.certificate is one, too
--
-- The folder goes away with the authority's close.

local lfs = require "lfs"

local M = {}

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local said = pipe:read "a"
  if not pipe:close() then error(command .. ":\n" .. said, 3) end
end

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end
M.read = read

local function new_key(path)
  run("openssl ecparam -name prime256v1 -genkey -noout -out " .. path)
end

local Authority = {}
Authority.__index = Authority

--- An authority of its own in a temporary folder: `folder`, `certificate`, `key`.
function M.authority(name)
  local folder = os.tmpname()
  os.remove(folder)
  assert(lfs.mkdir(folder))
  local self = setmetatable({
    folder = folder, name = name or "spec authority", serial = 1,
    certificate = folder .. "/ca.pem", key = folder .. "/ca.key",
  }, Authority)
  new_key(self.key)
  run(("openssl req -x509 -new -key %s -out %s -days 3650 -subj '/CN=%s'" ..
    " -addext keyUsage=critical,keyCertSign,cRLSign"):format(self.key, self.certificate, self.name))
  return self
end

--- A certificate and its key, for names and addresses (those of `name` alone if
-- there is no list). `options`: `days` (a negative number: it has expired), `purpose`
-- ("serverAuth", "clientAuth"), `subject`, `by` (what issues it; itself if false).
function Authority:issue(name, alternatives, options)
  local o = options or {}
  self.serial = self.serial + 1
  local stem = ("%s/%d-%s"):format(self.folder, self.serial, (name:gsub("[^%w.-]", "_")))
  local names = {}
  for i, text in ipairs(alternatives or { name }) do
    local is_address = text:find "^%d+%.%d+%.%d+%.%d+$" or text:find ":"
    names[i] = (is_address and "IP:" or "DNS:") .. text
  end
  local extensions = { "basicConstraints=critical,CA:FALSE" }
  if #names > 0 then extensions[#extensions + 1] = "subjectAltName=" .. table.concat(names, ",") end
  if o.purpose then extensions[#extensions + 1] = "extendedKeyUsage=" .. o.purpose end
  write(stem .. ".ext", table.concat(extensions, "\n") .. "\n")
  local pair = { certificate = stem .. ".pem", key = stem .. ".key" }
  new_key(pair.key)
  local subject = o.subject or "/CN=" .. name
  run(("openssl req -new -key %s -out %s.csr -subj '%s'"):format(pair.key, stem, subject))
  local issuer = o.by == false and ("-signkey %s"):format(pair.key)
    or ("-CA %s -CAkey %s -set_serial %d"):format((o.by or self).certificate, (o.by or self).key,
      self.serial + 1000)
  run(("openssl x509 -req -in %s.csr -out %s -days %d -extfile %s.ext %s"):format(stem,
    pair.certificate, o.days or 365, stem, issuer))
  return pair
end

--- A file in its folder with that content: the path.
function Authority:file(name, text)
  local path = self.folder .. "/" .. name
  write(path, text)
  return path
end

--- Takes the folder away.
function Authority:close()
  if not self.folder then return end
  for name in lfs.dir(self.folder) do
    if not name:find "^%.%.?$" then os.remove(self.folder .. "/" .. name) end
  end
  lfs.rmdir(self.folder)
  self.folder = nil
end
Authority.__close = Authority.close
Authority.__gc = Authority.close

return M
