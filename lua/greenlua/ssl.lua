--- TLS for greenlet sockets, by OpenSSL.
--
-- A TLS connection is a socket: it has all methods of one (`receive`, `receive_some`,
-- `read_until`, `lines`, `send`, `settimeout`, `close` …) with the same rules, and
-- some more (see `Connection`). Nothing of TLS ever blocks the thread: not a
-- handshake, not a renegotiation or an update of keys in the midst of things, not
-- the farewell of a `close`.
--
-- A *context* holds what connections are made with. Clients verify: the server
-- must have a certificate for the name it was asked for, from an authority that
-- the system trusts, and speak TLS 1.2 at least. All of that can be set otherwise.
--
-- A connection that ends without a farewell (close\_notify) may have been cut by
-- somebody: `receive "*a"` then gives `nil, "closed"` and what has come, where it
-- gives all of it for a proper end.
--
-- Besides, this module is LuaSec's `ssl`: `newcontext`, `wrap`, `config`, and
-- `core`, `context`, `x509`, with connections whose `dohandshake`, `sni`, `info`,
-- `want` … are LuaSec's, and whose timeouts are called `"wantread"` and
-- `"wantwrite"`. Different from LuaSec's: a passphrase is never asked for at the
-- terminal, `dhparam` is called when the context is made, a peer that
-- cuts the connection is `"closed"`, and reasons say more ("No such file or
-- directory" rather than "system lib").
--
-- @usage
-- local ssl = require "greenlua.ssl"
-- local socket = require "greenlua.socket"
--
-- local ctx = assert(ssl.client { alpn = { "http/1.1" } })
-- local sock = assert(socket.connect("www.lua.org", 443))
-- local conn <close> = assert(ctx:connect(sock, "www.lua.org", 10))
-- conn:send "GET / HTTP/1.0\r\nHost: www.lua.org\r\n\r\n"
-- print(conn:receive "*a")
--
-- @usage
-- local ctx = assert(ssl.server { certificate = "server.pem", key = "server.key" })
-- for sock in listener.accept, listener do
--   green.spawn(function()
--     local conn <close> = ctx:accept(sock, 10)
--     if conn then serve(conn) end
--   end)
-- end
-- @module greenlua.ssl

local context = require "greenlua.ssl.context"
local luasec = require "greenlua.ssl.luasec"

local ssl = {
  _VERSION = "1.3.2",
  _COPYRIGHT = luasec.core.copyright(),
  Context = context.Context,
  config = luasec.config,
  context = luasec.context,
  core = luasec.core,
  x509 = luasec.x509,
  loadcertificate = luasec.x509.load,
  newcontext = luasec.newcontext,
  wrap = luasec.wrap,
}

--- A context for clients. Options, besides those of both kinds (see `server`):
--
-- * `verify`: `false` takes any server for the one it says it is.
-- * `verify_hostname`: `false` takes any name that an authority vouches for.
-- * `ca`: instead of the system's authorities.
-- * `sessions`: `false` begins each connection anew; otherwise one to a server
--   that is known goes on where the last one ended, which is cheaper for both.
-- @usage local ctx = assert(ssl.client { ca = "our-authority.pem" })
-- @tparam[opt] table options
-- @treturn[1] Context
-- @treturn[2] nil
-- @treturn[2] string which file, and what is wrong with it
function ssl.client(options) return context.new("client", options or {}) end

--- A context for servers. Options:
--
-- * `certificate`, `key`: files, or PEM texts: the certificate, followed by those
--   of its chain, and the private key; `password`: of the key, or a function
--   that returns it. `certificates`: a list of tables of these three, one for each
--   kind of key.
-- * `sni`: a table of names (`"*.example.org"` is any one label there) and
--   contexts, or a function that gets the name that the client asks for, or nil.
--   nil there means this context, false refuses the client.
-- * `verify`: `"none"`, `"optional"` or `"required"`: certificates of clients, from
--   authorities `ca`.
-- * `tickets`: `false` gives clients nothing to resume with.
-- * `dhparam`: file or PEM text; without it they are as large as the key needs.
--
-- and for clients as well:
--
-- * `ca`: a file, a directory, a PEM text, `"system"`, or a list of those.
-- * `alpn`: a list of protocols, the dearest one first. A server refuses a client
--   that offers some, but none of these.
-- * `min_version` (`"1.2"`), `max_version`: `"1.0"` to `"1.3"`.
-- * `ciphers` (up to TLS 1.2), `ciphersuites` (TLS 1.3), `curves`: as OpenSSL
--   writes them, with colons. `options`: a list of LuaSec's names of options.
-- * `depth`: how long a chain of certificates may be.
-- * `keylog`: a file to which the secrets are written, for Wireshark.
-- @tparam table options
-- @treturn[1] Context
-- @treturn[2] nil
-- @treturn[2] string which file, and what is wrong with it
function ssl.server(options) return context.new("server", options) end

local default -- client

--- What `tls` means for a client: `true`, a table of options, or a Context.
-- @treturn[1] Context
-- @treturn[2] nil
-- @treturn[2] string message
function ssl.to_client(tls)
  if context.Context.is(tls) then return tls end
  if tls ~= true then return context.new("client", tls) end
  local problem
  if not default then default, problem = context.new("client", {}) end
  return default, problem
end

--- What `tls` means for a server: a table of options, or a Context.
-- @treturn[1] Context
-- @treturn[2] nil
-- @treturn[2] string message
function ssl.to_server(tls)
  if context.Context.is(tls) then return tls end
  return context.new("server", tls)
end

--- LuaSec's context: what `wrap` takes. See LuaSec for the keys of the table.
-- @function newcontext
-- @tparam table cfg
-- @treturn[1] userdata
-- @treturn[2] nil
-- @treturn[2] string message

--- LuaSec's way to a TLS connection, on which `dohandshake` is still to be called.
-- @function wrap
-- @param sock any object with `getfd` and `setfd`; it gives its descriptor up
-- @param cfg a table as for `newcontext`, or what that or `client` or `server` returns
-- @treturn[1] Connection
-- @treturn[2] nil
-- @treturn[2] string message

--- A certificate from a text in PEM, with LuaSec's methods.
-- @function loadcertificate
-- @tparam string text
-- @treturn ?userdata nil if it is none

--- What a TLS connection has besides a socket's methods. LuaSec's are not
-- described: `dohandshake`, `sni`, `want`, `getpeercertificate`, `getpeerchain`,
-- `getpeerverification`, `getfinished`, `getpeerfinished`, `exportkeyingmaterial`,
-- `getsniname`, `setdane`, `settlsa`.
-- @type Connection

--- The protocol that ALPN has agreed on.
-- @function Connection:getalpn
-- @treturn ?string

--- Is this one the continuation of an earlier session?
-- @function Connection:session_reused
-- @treturn boolean

--- What was agreed on: a table with `protocol`, `cipher`, `bits`, `encryption` …, or
-- one of its fields.
-- @function Connection:info
-- @tparam[opt] string field

--- Changes the keys of a TLS 1.3 connection, and asks the peer to do so; both
-- happens with what is sent next.
-- @function Connection:update_keys
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message

return ssl
