--- LuaSec's functions: `newcontext`, `wrap`, and the modules `ssl.core`,
-- `ssl.context`, `ssl.x509` and `ssl.config` that programs reach into.
--
-- What is different from LuaSec 1.3 is written in `greenlua.ssl`.
--
-- @module greenlua.ssl.luasec

local connection = require "greenlua.ssl.connection"
local core = require "greenlua.core.ssl"
local modern = require "greenlua.ssl.context"
local object = require "greenlua.object"
local sockets = require "greenlua.core.socket"

local M = {}

local COPYRIGHT = "greenlua.ssl (LuaSec 1.3)"

M.config = {
  algorithms = { ec = true },
  capabilities = {
    alpn = true, curves_list = true, dane = { no_ee_namechecks = true }, ecdh_auto = true,
    psk = true,
  },
  curves = core.curve_names(),
  options = core.option_names(),
  protocols = { tlsv1 = true, tlsv1_1 = true, tlsv1_2 = true, tlsv1_3 = true },
}

M.x509 = { load = core.loadcertificate }

-- --- ssl.context ------------------------------------------------------------

local protocols = {
  any = {}, sslv23 = {},
  tlsv1 = { "1.0", "1.0" }, tlsv1_1 = { "1.1", "1.1" },
  tlsv1_2 = { "1.2", "1.2" }, tlsv1_3 = { "1.3", "1.3" },
}

local context = {}
M.context = context

-- A setting's outcome as LuaSec tells it.
local function told(message, ok, reason)
  if ok then return true end
  return false, ("%s (%s)"):format(message, reason)
end

local function check_string(value, position, name)
  if type(value) ~= "string" then
    error(("bad argument #%d to '%s' (string expected, got %s)")
      :format(position, name, type(value)), 3)
  end
end

--- A context for a LuaSec protocol: `"any"`, `"tlsv1_2"` …
function context.create(protocol)
  check_string(protocol, 1, "create")
  local range = protocols[protocol]
  if not range then return nil, ("invalid protocol (%s)"):format(protocol) end
  local ctx, reason = core.context(range[1], range[2], true)
  if not ctx then return nil, ("error creating context (%s)"):format(reason) end
  return ctx
end

--- `"client"` or `"server"`.
function context.setmode(ctx, mode)
  check_string(mode, 2, "setmode")
  if mode ~= "client" and mode ~= "server" then
    return false, ("invalid mode (%s)"):format(mode)
  end
  ctx:mode(mode)
  return true
end

--- The private key of a file; `password` is a string or a function.
function context.loadkey(ctx, path, password)
  return told("error loading private key", ctx:key(path, true, password))
end

--- The certificate of a file, and its chain.
function context.loadcert(ctx, path)
  check_string(path, 2, "loadcert")
  return told("error loading certificate", ctx:certificate(path, true))
end

--- Do the key and the certificate belong together?
function context.checkkey(ctx) return ctx:checkkey() == true end

--- Files of authorities.
function context.locations(ctx, file, directory)
  if file ~= nil then check_string(file, 2, "locations") end
  if directory ~= nil then check_string(directory, 3, "locations") end
  return told("error loading CA locations", ctx:locations(file, directory))
end

--- Ciphers up to TLS 1.2.
function context.setcipher(ctx, list)
  check_string(list, 2, "setcipher")
  return told("error setting cipher list", ctx:ciphers(list))
end

--- Ciphers of TLS 1.3.
function context.setciphersuites(ctx, list)
  check_string(list, 2, "setciphersuites")
  return told("error setting cipher list", ctx:ciphersuites(list))
end

local function flags(set, name)
  return function(ctx, ...)
    for i = 1, select("#", ...) do
      object.check_string(name, i + 1, (select(i, ...)))
    end
    local ok, reason = ctx[set](ctx, ...)
    return ok or false, reason
  end
end

context.setverify = flags("verify", "setverify")
context.setoptions = flags("options", "setoptions")

--- How long a chain of certificates may be.
function context.setdepth(ctx, depth)
  if not math.tointeger(depth) then
    error(("bad argument #2 to 'setdepth' (integer expected, got %s)"):format(type(depth)), 2)
  end
  return ctx:depth(depth) or false
end

--- The one curve for keys.
function context.setcurve(ctx, name)
  if not M.config.curves[name] or not ctx:curves(name) then
    return false, ("elliptic curve '%s' not supported"):format(name)
  end
  return true
end

--- The curves for keys, the dearest first.
function context.setcurveslist(ctx, list)
  if ctx:curves(list) then return true end
  return false, ("unknown elliptic curve in \"%s\""):format(list)
end

--- Parameters for Diffie-Hellman: what `f` returns, in PEM.
function context.setdhparam(ctx, f)
  if type(f) ~= "function" then
    error(("bad argument #2 to 'setdhparam' (function expected, got %s)"):format(type(f)), 2)
  end
  local text = f(false, 2048)
  if type(text) == "string" then ctx:dhparam(text, false) end
end

--- A client's protocols, in wire format.
function context.setalpn(ctx, wire) return told("error setting ALPN", ctx:alpn(wire)) end

--- A server's function from a client's protocols to its own, in wire format.
function context.setalpncb(ctx, f)
  ctx:on("alpn", f)
  return true
end

--- Lets connections use DANE.
function context.setdane(ctx, ...) return ctx:dane(...) == true end

--- What a server tells before it asks for a key.
function context.setpskhint(ctx, hint)
  check_string(hint, 2, "setpskhint")
  return ctx:hint(hint) == true
end

--- The function that knows pre-shared keys.
function context.setserverpskcb(ctx, f)
  ctx:on("psk", f)
  core.psk(ctx)
  return true
end

context.setclientpskcb = context.setserverpskcb

local function check_context(ctx, position, name)
  local mt = type(ctx) == "userdata" and debug.getmetatable(ctx)
  if mt and mt.__name == "SSL:Context" then return end
  error(("bad argument #%d to '%s' (SSL:Context expected, got %s)")
    :format(position, name, mt and mt.__name or type(ctx)), 3)
end

for name, f in pairs(context) do
  if name ~= "create" then
    context[name] = function(ctx, ...)
      check_context(ctx, 1, name)
      return f(ctx, ...)
    end
  end
end

-- --- newcontext -------------------------------------------------------------

-- Each step returns nothing, or what newcontext returns for its failure.

local function listed(set, ctx, value)
  if value == nil or value == false then return true end
  if type(value) == "table" then return set(ctx, table.unpack(value)) end
  return set(ctx, value)
end

local function load_pair(ctx, pair)
  local ok, problem
  if pair.key then
    local kind = type(pair.password)
    if pair.password and kind ~= "function" and kind ~= "string" then
      return "invalid password type"
    end
    ok, problem = context.loadkey(ctx, pair.key, pair.password)
    if not ok then return problem end
  end
  if not pair.certificate then return end
  ok, problem = context.loadcert(ctx, pair.certificate)
  if not ok then return problem end
  if pair.key and not context.checkkey(ctx) then
    return "private key does not match public key"
  end
end

local function load_pairs(ctx, cfg)
  local pairs_ = cfg.certificates or { cfg }
  for _, pair in ipairs(pairs_) do
    local problem = load_pair(ctx, pair)
    if problem then return problem end
  end
end

local function set_agreement(ctx, cfg)
  local ok, problem = true, nil
  if cfg.cafile or cfg.capath then ok, problem = context.locations(ctx, cfg.cafile, cfg.capath) end
  if ok and cfg.ciphers then ok, problem = context.setcipher(ctx, cfg.ciphers) end
  if ok and cfg.ciphersuites then ok, problem = context.setciphersuites(ctx, cfg.ciphersuites) end
  if ok then ok, problem = listed(context.setverify, ctx, cfg.verify) end
  if ok then ok, problem = listed(context.setoptions, ctx, cfg.options) end
  if ok and cfg.depth then ok, problem = context.setdepth(ctx, cfg.depth) end
  if not ok then return problem end
end

local function set_keys(ctx, cfg)
  if cfg.dhparam then
    if type(cfg.dhparam) ~= "function" then return "invalid DH parameter type" end
    context.setdhparam(ctx, cfg.dhparam)
  end
  local ok, problem = true, nil
  if cfg.curveslist then
    ok, problem = context.setcurveslist(ctx, cfg.curveslist)
  elseif cfg.curve then
    ok, problem = context.setcurve(ctx, cfg.curve)
  end
  if ok and cfg.verifyext then ok, problem = listed(ctx.setverifyext, ctx, cfg.verifyext) end
  if not ok then return problem end
end

-- A server's function, which gets and gives lists of names.
local function by_function(f)
  return function(wire)
    local chosen = f(modern.unwire(wire))
    if type(chosen) == "string" then chosen = { chosen } end
    if type(chosen) ~= "table" then return nil end
    return (modern.wire(chosen))
  end
end

local function set_server_alpn(ctx, alpn)
  if type(alpn) == "function" then
    context.setalpncb(ctx, by_function(alpn))
  elseif type(alpn) == "table" then
    local wire, problem = modern.wire(alpn)
    if not wire then return problem end
    context.setalpncb(ctx, function() return wire end)
  else
    return "invalid ALPN parameter"
  end
end

local function set_client_alpn(ctx, alpn)
  if type(alpn) == "string" then alpn = { alpn } end
  if type(alpn) ~= "table" then return "invalid ALPN parameter" end
  local wire, problem = modern.wire(alpn)
  if not wire then return problem end
  local ok
  ok, problem = context.setalpn(ctx, wire)
  if not ok then return problem end
end

local function set_alpn(ctx, cfg)
  if not cfg.alpn then return end
  if cfg.mode == "server" then return set_server_alpn(ctx, cfg.alpn) end
  return set_client_alpn(ctx, cfg.alpn)
end

local function set_psk(ctx, cfg)
  local psk = cfg.psk
  if not psk then return end
  if cfg.mode == "server" and type(psk) == "table" then
    if type(psk.hint) ~= "string" or type(psk.callback) ~= "function" then
      return "invalid PSK configuration"
    end
    if not context.setpskhint(ctx, psk.hint) then return "invalid PSK hint" end
    psk = psk.callback
  end
  if type(psk) ~= "function" then return "invalid PSK configuration" end
  context.setserverpskcb(ctx, psk)
end

local steps = { load_pairs, set_agreement, set_keys, set_alpn, set_psk }

local function check_config(cfg, position, name)
  if type(cfg) ~= "table" then
    error(("bad argument #%d to '%s' (table expected, got %s)")
      :format(position, name, type(cfg)), 3)
  end
  for _, key in ipairs { "protocol", "mode" } do
    if type(cfg[key]) ~= "string" then
      error(("bad argument #%d to '%s' (%s: string expected, got %s)"):format(position, name, key,
        type(cfg[key])), 3)
    end
  end
end

--- See `greenlua.ssl.newcontext`.
function M.newcontext(cfg)
  check_config(cfg, 1, "newcontext")
  local ctx, problem = context.create(cfg.protocol)
  if not ctx then return nil, problem end
  local ok
  ok, problem = context.setmode(ctx, cfg.mode)
  if not ok then return nil, problem end
  for _, step in ipairs(steps) do
    problem = step(ctx, cfg)
    if problem then return nil, problem end
  end
  if cfg.dane then listed(context.setdane, ctx, cfg.dane ~= true and cfg.dane or {}) end
  return ctx
end

-- --- wrap -------------------------------------------------------------------

local function has_descriptor(sock)
  return type(sock.getfd) == "function"
end

-- The descriptor of a socket, which gives it up, and what it has read of it.
local function take_descriptor(sock)
  local fd = sock:getfd()
  if fd < 0 then return fd end
  local is_ours, taken, bytes = pcall(sockets.classes["tcp{client}"].detach, sock)
  if is_ours then return taken, bytes end
  sock:setfd(-1)
  return fd
end

--- See `greenlua.ssl.wrap`.
function M.wrap(sock, cfg)
  local ok, fits = pcall(has_descriptor, sock)
  if not (ok and fits) then
    error(("bad argument #1 to 'wrap' (a socket expected, got %s)"):format(type(sock)), 2)
  end
  local ctx, problem = cfg, nil
  if modern.Context.is(cfg) then
    ctx = cfg._core
  elseif type(cfg) == "table" then
    check_config(cfg, 2, "wrap")
    ctx, problem = M.newcontext(cfg)
  end
  if problem then return nil, problem end
  check_context(ctx, 2, "wrap")
  local fd, bytes = take_descriptor(sock)
  if not fd then return nil, bytes end
  local conn
  if fd < 0 then
    conn = sockets.tcp()
  else
    conn, problem = sockets.fromfd(fd)
  end
  if not conn then return nil, problem end
  return connection.attach(conn, ctx, nil, bytes)
end

-- --- ssl.core ---------------------------------------------------------------

-- Made, and given no descriptor yet.
local fresh = setmetatable({}, { __mode = "k" })

M.core = {
  SOCKET_INVALID = -1,
  compression = function() end, -- nobody does that any more
  copyright = function() return COPYRIGHT end,
  create = function(ctx)
    check_context(ctx, 1, "create")
    local conn, problem = connection.attach(sockets.tcp(), ctx)
    if conn then fresh[conn] = ctx end
    return conn, problem
  end,
  info = core.describe,
  setfd = function(conn, fd)
    if not fresh[conn] then error("bad argument #1 to 'setfd' (invalid SSL object state)", 2) end
    conn:setfd(fd)
    if fd >= 0 then assert(connection.attach(conn, fresh[conn])) end
    fresh[conn] = nil
  end,
  setmethod = function(name, f) connection.methods[name] = f end,
}

return M
