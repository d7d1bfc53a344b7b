--- What TLS connections are made with: certificates, whom to trust, what to agree
-- to. `greenlua.ssl.client` and `greenlua.ssl.server` make contexts.
--
-- @module greenlua.ssl.context

local connection = require "greenlua.ssl.connection"
local core = require "greenlua.core.ssl"
local object = require "greenlua.object"

local M = {}

--- Certificates, trust and terms for connections.
-- @type Context

--- Is that a Context?
-- @function Context.is
-- @param value
-- @treturn boolean
local Context = object.class "Context"
M.Context = Context

--- The wire format of a list of protocols (RFC 7301), or nil and why not.
function M.wire(protocols)
  local parts = {}
  for i, name in ipairs(protocols) do
    if type(name) ~= "string" then return nil end
    if name == "" then return nil, "invalid ALPN name (empty string)" end
    if #name > 255 then return nil, "invalid ALPN name (length > 255)" end
    parts[i] = string.char(#name) .. name
  end
  if #parts == 0 then return nil, "invalid ALPN list (empty)" end
  return table.concat(parts)
end

--- The list that such a string stands for.
function M.unwire(text)
  local list, at = {}, 1
  while at <= #text do
    local n = text:byte(at)
    list[#list + 1] = text:sub(at + 1, at + n)
    at = at + n + 1
  end
  return list
end

-- --- options ----------------------------------------------------------------

local common = {
  alpn = "table", ca = "string or table", certificate = "string", certificates = "table",
  ciphers = "string", ciphersuites = "string", curves = "string", depth = "integer",
  key = "string", keylog = "string", max_version = "string", min_version = "string",
  options = "table", password = "string or function", verify = "boolean or string",
}
local only = {
  client = { sessions = "boolean", verify_hostname = "boolean" },
  server = { dhparam = "string", sni = "table or function", tickets = "boolean" },
}
local versions = { ["1.0"] = true, ["1.1"] = true, ["1.2"] = true, ["1.3"] = true }

local function wrong(mode, text, ...)
  error(("bad argument #1 to '%s' (%s)"):format(mode, text:format(...)), 0)
end

local function check_type(mode, name, value, expected)
  local kind = math.type(value) or type(value)
  if not (" " .. expected .. " "):find(" " .. kind .. " ", 1, true) then
    wrong(mode, "%s: %s expected, got %s", name, expected, kind)
  end
end

local function check_alpn(mode, alpn)
  local text, problem = M.wire(alpn)
  if not text then wrong(mode, "alpn: %s", problem or "a list of strings expected") end
end

local verifies = {
  client = { [true] = "required", [false] = "none", required = "required", none = "none" },
  server = {
    [true] = "required", [false] = "none", required = "required", none = "none",
    optional = "optional",
  },
}

local function check_verify(mode, o)
  local verify = verifies[mode][o.verify]
  if o.verify ~= nil and not verify then wrong(mode, "verify: unknown kind '%s'", o.verify) end
  if mode == "server" and verify and verify ~= "none" and not o.ca then
    wrong(mode, "verify: needs the option ca")
  end
end

local function check_certificates(mode, o)
  if o.certificate and not o.key and not o.certificate:find "PRIVATE KEY" then
    wrong(mode, "certificate: needs the option key")
  end
  for i, one in ipairs(o.certificates or {}) do
    if type(one) ~= "table" or type(one.certificate) ~= "string" then
      wrong(mode, "certificates[%d]: a table with certificate and key expected", i)
    end
    check_certificates(mode, one)
  end
end

local names -- the names of `options`

local function check_names(mode, list)
  names = names or core.option_names()
  for _, name in ipairs(list) do
    if not names[name] then wrong(mode, "options: unknown '%s'", tostring(name)) end
  end
end

local function check_options(mode, o)
  if type(o) ~= "table" then wrong(mode, "table expected, got %s", type(o)) end
  for name, value in pairs(o) do
    local expected = common[name] or only[mode][name]
    if not expected then wrong(mode, "unknown option '%s'", tostring(name)) end
    check_type(mode, name, value, expected)
  end
  for _, name in ipairs { "min_version", "max_version" } do
    if o[name] and not versions[o[name]] then wrong(mode, "%s: unknown '%s'", name, o[name]) end
  end
  if o.alpn then check_alpn(mode, o.alpn) end
  if o.options then check_names(mode, o.options) end
  check_verify(mode, o)
  check_certificates(mode, o)
  if mode == "server" and not (o.certificate or o.certificates or o.sni) then
    wrong(mode, "a certificate is needed")
  end
end

-- --- building ---------------------------------------------------------------

local function is_pem(text) return text:find("-----BEGIN", 1, true) ~= nil end

local function fail(what, path, reason)
  if path and not is_pem(path) then what = what .. " " .. path end
  error({ message = ("%s: %s"):format(what, reason) }, 0)
end

-- The error of a setting, told with what was being set.
local function must(what, path, ok, reason)
  if not ok then fail(what, path, reason) end
end

local function load_pair(context, pair)
  local certificate, key = pair.certificate, pair.key or pair.certificate
  must("certificate", certificate, context:certificate(certificate, not is_pem(certificate)))
  must("key", key, context:key(key, not is_pem(key), pair.password))
  must("key", key, context:checkkey())
end

local EISDIR = 21

local function trust_file(context, path)
  local file <close>, problem = io.open(path, "rb")
  if not file then fail("ca", nil, problem) end
  local text, reason, code = file:read "a"
  if text then
    must("ca", path, context:authorities(text))
  elseif code == EISDIR then
    must("ca", path, context:locations(nil, path))
  else
    fail("ca", path, reason)
  end
end

local function trust(context, ca)
  if type(ca) == "table" then
    for _, one in ipairs(ca) do trust(context, one) end
  elseif ca == "system" then
    must("ca", "system", context:system())
  elseif is_pem(ca) then
    must("ca", ca, context:authorities(ca))
  else
    trust_file(context, ca)
  end
end

local modes = { none = { "none" }, optional = { "peer" },
  required = { "peer", "fail_if_no_peer_cert" } }

local plain = { "ciphers", "ciphersuites", "curves", "depth", "keylog" }

local function set_all(context, mode, o)
  local verify = verifies[mode][o.verify] or (mode == "client" and "required" or "none")
  context:mode(mode)
  context:automatic()
  if o.certificate then load_pair(context, o) end
  for _, pair in ipairs(o.certificates or {}) do load_pair(context, pair) end
  if o.ca or verify ~= "none" then trust(context, o.ca or "system") end
  context:verify(table.unpack(modes[verify]))
  for _, name in ipairs(plain) do
    if o[name] then must(name, tostring(o[name]), context[name](context, o[name])) end
  end
  local dh = o.dhparam
  if dh then must("dhparam", dh, context:dhparam(dh, not is_pem(dh))) end
  if o.options then must("options", nil, context:options(table.unpack(o.options))) end
  if o.tickets == false then context:options "no_ticket" end
  if o.alpn then must("alpn", nil, context:alpn(M.wire(o.alpn))) end
  return verify
end

local function core_of(context)
  if context == nil or context == false then return context end
  if not Context.is(context) then
    error(("sni: a Context, nil or false expected, got %s"):format(type(context)))
  end
  return context._core
end

-- What chooses a context by name: "*.example.org" is any one label there.
local function chooser(sni)
  if type(sni) == "function" then return function(name) return core_of(sni(name)) end end
  return function(name)
    name = name and name:lower():gsub("%.$", "")
    return name and core_of(sni[name] or sni[name:gsub("^[^.]*", "*", 1)])
  end
end

-- One for each context that knows its clients: a session of one is none of
-- another's.
local last_id = 0

local function new_id()
  last_id = last_id + 1
  return "greenlua " .. last_id
end

local function build(mode, o, id)
  local context, problem = core.context(o.min_version or "1.2", o.max_version)
  if not context then fail("context", nil, problem) end
  local verify = set_all(context, mode, o)
  if mode == "server" then
    if not id or verify ~= "none" then id = new_id() end
    context:sessions(id)
    if o.sni then context:on("sni", chooser(o.sni)) end
  elseif o.sessions ~= false then
    context:sessions()
  end
  return context, verify, id
end

-- build, with what the world does wrong as nil, message.
local function try_to_build(...)
  local ok, context, verify, id = pcall(build, ...)
  if ok then return context, verify, id end
  local err = context
  if type(err) == "table" and err.message then return nil, err.message end
  error(err, 0)
end

-- --- the class --------------------------------------------------------------

--- What is wrong with the options of a context, if anything is.
-- @tparam string mode
-- @param options
-- @treturn ?string
function M.check(mode, options)
  local ok, problem = pcall(check_options, mode, options)
  return not ok and problem or nil
end

--- Makes a context: raises misuse, returns nil and a message for the world's part.
-- @tparam string mode `"client"` or `"server"`
-- @tparam table options
function M.new(mode, options)
  local problem = M.check(mode, options)
  if problem then error(problem, 2) end -- who has come by a tail call
  local context, verify, id = try_to_build(mode, options)
  if not context then return nil, verify end
  return Context(mode, options, context, verify, id)
end

function Context:_init(mode, options, context, verify, id)
  self.mode, self.verify = mode, verify
  self._options, self._core, self._id = options, context, id
end

function Context:__tostring() return ("Context(%s): %p"):format(self.mode, self) end

--- Reads the certificates, keys and authorities again and uses them for
-- connections to come; those that there are go on as they are. On failure all
-- stays as it was.
-- @function Context:reload
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string which file, and what is wrong with it
function Context:reload()
  local context, verify, id = try_to_build(self.mode, self._options, self._id)
  if not context then return nil, verify end
  self._core:replace(context)
  self._id = id
  return true
end

local guard = { __close = function(self) if self.sock then self.sock:close() end end }

-- A socket whose handshake fails, or is not waited for any longer, is closed.
local function secure(self, sock, timeout, prepare)
  local open <close> = setmetatable({}, guard)
  local ok, err = connection.attach(sock, self._core, prepare)
  open.sock = sock
  if ok then ok, err = connection.handshake(sock, timeout) end
  if not ok then return nil, err end
  open.sock = nil
  return sock
end

local function connectable(sock)
  local class = type(sock) == "userdata" and sock.class
  return class and (class:find "^tcp{[cm]" or class:find "^unixstream{[cm]")
end

local function check_call(self, mode, name, sock, timeout, position)
  if not Context.is(self) then error(("bad self to '%s' (Context expected)"):format(name), 3) end
  if self.mode ~= mode then error(("'%s' on the context of a %s"):format(name, self.mode), 3) end
  local ok, fits = pcall(connectable, sock)
  if not (ok and fits) then
    error(("bad argument #1 to '%s' (a connected socket expected, got %s)"):format(name,
      tostring(sock)), 3)
  end
  object.check_seconds(name, position, timeout)
end

local LONGEST = 255 -- bytes of a name

local function is_name(host)
  return type(host) == "string" and host ~= "" and #host <= LONGEST and not host:find "^%."
    and not host:find("\0", 1, true)
end

--- Does the handshake of a client on a connected socket, which is a TLS connection
-- from then on. If it fails the socket is closed.
-- @function Context:connect
-- @tparam Client sock
-- @tparam[opt] string hostname the name (or address) that the server must prove,
--   which it is told, too; needed unless the context does not verify
-- @tparam[opt] number|Timeout timeout for all of it; without one the socket's own counts
-- @treturn[1] Connection the same socket
-- @treturn[2] nil
-- @treturn[2] string `"timeout"`, `"closed"`, `"certificate verify failed: …"`,
--   `"hostname mismatch, …"` …
function Context:connect(sock, hostname, timeout)
  check_call(self, "client", "connect", sock, timeout, 3)
  local verifies_name = self.verify ~= "none" and self._options.verify_hostname ~= false
  if not is_name(hostname) and (hostname ~= nil or verifies_name) then
    error(("bad argument #2 to 'connect' (name of a host expected, got %s)")
      :format(type(hostname) == "string" and ("%q"):format(hostname) or type(hostname)), 2)
  end
  return secure(self, sock, timeout, hostname and function(conn)
    core.name(conn, (hostname:gsub("%.$", "")), verifies_name)
  end)
end

--- Does the handshake of a server on a connected socket, as `connect` does.
-- @function Context:accept
-- @tparam Client sock
-- @tparam[opt] number|Timeout timeout
-- @treturn[1] Connection the same socket
-- @treturn[2] nil
-- @treturn[2] string message
function Context:accept(sock, timeout)
  check_call(self, "server", "accept", sock, timeout, 2)
  return secure(self, sock, timeout)
end

return M
