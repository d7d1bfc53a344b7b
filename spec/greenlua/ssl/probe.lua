-- Prints what a LuaSec answers to many calls: the real one, or ours.
-- usage: probe.lua MODULE SOCKET FOLDER      (see luasec_spec.lua)

local ssl, socket, folder = require(arg[1]), require(arg[2]), arg[3]
local peer = arg[4] -- port of a TLS server that sends "hello\n" and echoes lines

local function show(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if math.tointeger(value) and type(value) == "number" then value = math.tointeger(value) end
  if type(value) ~= "table" then return (tostring(value):gsub("0x%x+", "PTR")) end
  local keys, parts = {}, {}
  for k in pairs(value) do keys[#keys + 1] = tostring(k) end
  table.sort(keys)
  for i, k in ipairs(keys) do
    parts[i] = k .. "=" .. show(value[k] == nil and value[tonumber(k)] or value[k])
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function say(what, ...)
  local list = table.pack(...)
  for i = 1, list.n do list[i] = show(list[i]) end
  print(what .. ": " .. table.concat(list, " | "))
end

print "== contexts"
local function context(what, cfg)
  local all = { mode = "client", protocol = "any" }
  for k, v in pairs(cfg) do all[k] = v end
  local ctx, err = ssl.newcontext(all)
  say(what, ctx and true, err and err:gsub("^(error loading [^(]*) %(.*", "%1"))
end
local pem, key = folder .. "/server.pem", folder .. "/server.key"
context("plain", {})
for _, protocol in ipairs { "any", "sslv23", "tlsv1_2", "tlsv1_3", "sslv3", "dtls" } do
  context(protocol, { protocol = protocol })
end
context("no such certificate", { certificate = "/nowhere" })
context("no such key", { key = "/nowhere" })
context("no such authority", { cafile = "/nowhere" })
context("pair", { certificate = pem, key = key })
context("pairs", { certificates = { { certificate = pem, key = key } } })
context("not a pair", { certificate = pem, key = folder .. "/ca.key" })
context("password", { key = key, password = 42 })
context("verify", { verify = { "peer", "fail_if_no_peer_cert", "client_once" } })
context("verify none", { verify = "none" })
context("bad verify", { verify = "some" })
context("options", { options = { "all", "no_sslv2", "no_sslv3", "no_tlsv1" } })
context("bad option", { options = "bad" })
context("ciphers", { ciphers = "HIGH" })
context("bad curve", { curve = "bad" })
context("curve", { curve = "secp384r1" })
context("curves", { curveslist = "P-256:X25519" })
context("bad curves", { curveslist = "bad" })
context("alpn", { alpn = { "h2" } })
context("bad alpn", { alpn = {} })
context("empty alpn", { alpn = { "" } })
context("odd alpn", { alpn = 7 })
context("verifyext", { verifyext = { "lsec_continue", "crl_check" } })
context("bad verifyext", { verifyext = "bad" })
context("one bad verifyext", { verifyext = { "bad", "crl_check" } })
context("one bad verify", { verify = { "bad", "peer" } })
context("one bad option", { options = { "bad", "all" } })
context("dhparam", { dhparam = 1 })
context("depth", { depth = 3 })
context("dane", { dane = true })
say("config", ssl.config.protocols, ssl.config.options, ssl.config.curves, ssl.config.algorithms)

print "== connections"
local function dial() return assert(socket.connect("127.0.0.1", tonumber(peer))) end

local function wrapped(cfg)
  local all = { mode = "client", protocol = "any", verify = "none", options = "all" }
  for k, v in pairs(cfg or {}) do all[k] = v end
  local sock = dial()
  local conn = assert(ssl.wrap(sock, all))
  return conn, sock
end

local conn, sock = wrapped { protocol = "tlsv1_2" }
say("given up", sock:getfd())
say("class", (tostring(conn):gsub("%x+$", "")))
say("before", conn:receive())
say("before", conn:send "x")
say("before", conn:info())
say("before", conn:getpeercertificate())
say("before", conn:getpeerverification())
say("before", conn:getalpn())
say("want", conn:want())
say("sni", conn:sni "localhost")
say("settimeout", conn:settimeout(60))
say("dohandshake", conn:dohandshake())
say("again", conn:dohandshake())
say("info", conn:info())
for _, field in ipairs { "protocol", "cipher", "bits", "compression", "nonsense" } do
  say("info " .. field, conn:info(field))
end
say("sni name", conn:getsniname())
say("verification", conn:getpeerverification())
say("finished", #conn:getfinished(), #conn:getpeerfinished())
say("exported", #conn:exportkeyingmaterial("a label", 20))
say("receive", conn:receive())
say("dirty", conn:dirty())
say("send", conn:send "abc\n")
say("send part", conn:send("xxabc\nxx", 3, 6))
say("receive", conn:receive(3), conn:receive())
say("prefix", conn:receive("*l", "> "))
conn:settimeout(0)
say("poll", conn:receive())
conn:settimeout(0.01)
say("poll", conn:receive("*a"))
conn:settimeout(60)
say("closing", conn:send "quit\n")
say("closed", conn:receive "*a")
say("closed", conn:receive())
conn:close()
say("after", conn:receive())
say("after", conn:send "x")
say("after", conn:getpeercertificate())
say("after", conn:want())
say("after", conn:dirty())
say("after", (tostring(conn):gsub("0x%x+", "PTR")))

print "== verification"
conn = wrapped { verify = "peer" }
say("refused", conn:dohandshake())
conn = wrapped { verify = "peer", cafile = folder .. "/ca.pem" }
say("taken", conn:dohandshake())
say("verification", conn:getpeerverification())
conn = wrapped { verify = "peer", verifyext = "lsec_continue" }
say("continued", conn:dohandshake())
say("verification", conn:getpeerverification())

print "== certificates"
local cert = conn:getpeercertificate()
local file = io.open(pem)
local loaded = ssl.loadcertificate(file:read "a")
file:close()
for _, c in ipairs { cert, loaded } do
  say("subject", c:subject())
  say("issuer", c:issuer())
  say("extensions", c:extensions())
  say("serial", c:serial())
  say("digest", c:digest(), c:digest "sha256", c:digest "sha512", c:digest "md5")
  say("pem", c:pem())
  say("pubkey", c:pubkey())
  say("valid", c:validat(os.time()), c:validat(0), c:validat(1 << 33))
  say("dates", c:notbefore(), c:notafter())
  say("signature", c:getsignaturename())
  say("encode", c:setencode "utf8", c:setencode "x", c:subject())
  say("issued", c:issued(c))
  say("class", (tostring(c):gsub("0x%x+", "PTR")))
end
say("index", conn:getpeercertificate(0))
say("index", conn:getpeercertificate(9))
say("index", conn:getpeercertificate(math.mininteger))
say("chain", #conn:getpeerchain() > 0)
say("no certificate", ssl.loadcertificate "nonsense")

print "== handshakes"
conn = ssl.wrap(dial(), { mode = "client", protocol = "any", alpn = { "x" } })
conn:settimeout(0)
local turns, ok, why = 0 -- luacheck: ignore
repeat
  ok, why = conn:dohandshake()
  turns = turns + 1
  if not ok then (socket.select)({ conn }, nil, 1) end
until ok or why ~= "wantread" or turns > 100
say("by turns", ok, why)
say("alpn", conn:getalpn())
local listener = assert(socket.bind("127.0.0.1", 0))
local quiet = assert(socket.connect("127.0.0.1", (select(2, listener:getsockname()))))
conn = ssl.wrap(quiet, { mode = "client", protocol = "any" })
conn:settimeout(0.01)
say("nobody", conn:dohandshake())
say("want", conn:want())
say("tcp", pcall(ssl.wrap, quiet, { mode = "client", protocol = "bad" }))
