/* Connections: made from a context, put under a socket, asked about. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "alloc.h"
#include "ssl.h"

static const char class_name[] = "greenlua.ssl.connection";

grb_tls *grb_check_tls(lua_State *L, int arg) {
  grb_tls *c = luaL_testudata(L, arg, class_name);
  if (c || lua_type(L, arg) != LUA_TUSERDATA) return c ? c : NULL;
  lua_getiuservalue(L, arg, 1);
  c = luaL_testudata(L, -1, class_name);
  lua_pop(L, 1);
  return c;
}

/* Argument 1 as a connection; raises. */
static grb_tls *check(lua_State *L) {
  grb_tls *c = grb_check_tls(L, 1);
  if (!c) luaL_typeerror(L, 1, "TLS connection");
  return c;
}

/* --- life ---------------------------------------------------------------- */

static int free_connection(lua_State *L) {
  grb_tls *c = lua_touserdata(L, 1);
  gr_stream *s = c->filter.stream;
  if (s) gr_stream_close(s);
  if (c->ssl) SSL_free(c->ssl);
  gr_free(c->name);
  gr_free(c->reason);
  gr_free(c->faults);
  c->ssl = NULL;
  c->name = c->reason = NULL;
  c->faults = NULL;
  c->filter.message = NULL;
  return 0;
}

/* connection(context) -> what greenlua.core.socket takes | nil, message */
static int new_connection(lua_State *L) {
  grb_context *x = grb_check_context(L, 1);
  luaL_argcheck(L, x->ctx, 1, "the context is closed");
  grb_tls *c = lua_newuserdatauv(L, sizeof *c, 3);
  *c = (grb_tls){.context = x};
  gr_filter_init(&c->filter, &grb_tls_type);
  luaL_setmetatable(L, class_name);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, GRB_CONTEXT);
  ERR_clear_error();
  c->ssl = SSL_new(x->ctx);
  if (!c->ssl || grb_set_bio(L, c)) return grb_ssl_fail(L, grb_reason());
  SSL_set_app_data(c->ssl, c);
  if (x->luasec) {
    c->filter.late[0] = "wantread";
    c->filter.late[1] = "wantwrite";
  }
  if (x->server)
    SSL_set_accept_state(c->ssl);
  else
    SSL_set_connect_state(c->ssl);
  return 1;
}

/* --- before the handshake ------------------------------------------------ */

static bool is_address(const char *name) {
  ASN1_OCTET_STRING *ip = a2i_IPADDRESS(name);
  ASN1_OCTET_STRING_free(ip);
  return ip != NULL;
}

static bool expect_name(SSL *ssl, const char *name) {
  X509_VERIFY_PARAM *p = SSL_get0_param(ssl);
  if (is_address(name)) return X509_VERIFY_PARAM_set1_ip_asc(p, name) == 1;
  X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                         X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  return X509_VERIFY_PARAM_set1_host(p, name, 0) == 1;
}

/* name(connection, host [, verify]): whom a client wants to talk to; sessions
 * are kept under that name.  Addresses are not sent (RFC 6066, section 3). */
static int set_name(lua_State *L) {
  grb_tls *c = check(L);
  size_t n;
  const char *name = luaL_checklstring(L, 2, &n);
  if (!c->ssl) return grb_ssl_fail(L, "closed");
  /* With a dot in front OpenSSL would take any name below it. */
  luaL_argcheck(L, n && n < 256 && *name != '.' && !memchr(name, 0, n), 2,
                "name of a host expected");
  ERR_clear_error();
  if ((!is_address(name) && SSL_set_tlsext_host_name(c->ssl, name) != 1) ||
      (lua_toboolean(L, 3) && !expect_name(c->ssl, name)))
    return grb_ssl_fail(L, grb_reason());
  char *copy = gr_realloc(c->name, n + 1);
  if (!copy) return luaL_error(L, "not enough memory");
  c->name = memcpy(copy, name, n + 1);
  grb_resume(c);
  lua_pushboolean(L, 1);
  return 1;
}

/* sni(connection, name): LuaSec's: nothing else comes of it */
static int set_sni(lua_State *L) {
  grb_tls *c = check(L);
  const char *name = luaL_checkstring(L, 2);
  if (c->ssl) SSL_set_tlsext_host_name(c->ssl, name);
  return 0;
}

/* choose(socket, function(name) -> context | nil | false) */
static int set_chooser(lua_State *L) {
  check(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (!luaL_testudata(L, 1, class_name)) {
    lua_getiuservalue(L, 1, 1);
    lua_replace(L, 1);
  }
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, GRB_CHOOSE);
  return 0;
}

/* server(connection) -> of the context's mode */
static int is_server(lua_State *L) {
  lua_pushboolean(L, check(L)->context->server);
  return 1;
}

static int set_dane(lua_State *L) {
  grb_tls *c = check(L);
  const char *name = luaL_checkstring(L, 2);
  lua_pushboolean(L, c->ssl && SSL_dane_enable(c->ssl, name) > 0);
  return 1;
}

/* settlsa(usage, selector, type, data) -> boolean */
static int set_tlsa(lua_State *L) {
  grb_tls *c = check(L);
  size_t n;
  uint8_t usage = (uint8_t)luaL_checkinteger(L, 2);
  uint8_t selector = (uint8_t)luaL_checkinteger(L, 3);
  uint8_t type = (uint8_t)luaL_checkinteger(L, 4);
  const char *data = luaL_checklstring(L, 5, &n);
  ERR_clear_error();
  lua_pushboolean(L, c->ssl &&
                         SSL_dane_tlsa_add(c->ssl, usage, selector, type,
                                           (const unsigned char *)data, n) > 0);
  return 1;
}

/* --- after it ------------------------------------------------------------ */

/* open(socket): may one read and write? */
static int is_open(lua_State *L) {
  lua_pushboolean(L, check(L)->filter.open);
  return 1;
}

static int has_stream(lua_State *L) {
  grb_tls *c = grb_check_tls(L, 1);
  lua_pushboolean(L, c && c->filter.stream);
  return 1;
}

/* describe(socket) -> cipher's description, bits, its algorithm's bits,
 * version | nothing */
static int describe(lua_State *L) {
  grb_tls *c = check(L);
  const SSL_CIPHER *cipher = c->ssl ? SSL_get_current_cipher(c->ssl) : NULL;
  char text[256] = "";
  int all = 0;
  if (!cipher) return 0;
  lua_pushstring(L, SSL_CIPHER_description(cipher, text, sizeof text));
  lua_pushinteger(L, SSL_CIPHER_get_bits(cipher, &all));
  lua_pushinteger(L, all);
  lua_pushstring(L, SSL_get_version(c->ssl));
  return 4;
}

static int get_alpn(lua_State *L) {
  grb_tls *c = check(L);
  const unsigned char *data = NULL;
  unsigned n = 0;
  if (c->ssl) SSL_get0_alpn_selected(c->ssl, &data, &n);
  if (data)
    lua_pushlstring(L, (const char *)data, n);
  else
    lua_pushnil(L);
  return 1;
}

static int get_sni_name(lua_State *L) {
  grb_tls *c = check(L);
  lua_pushstring(
      L, c->ssl ? SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name) : NULL);
  return 1;
}

static int session_reused(lua_State *L) {
  grb_tls *c = check(L);
  lua_pushboolean(L, c->filter.open && SSL_session_reused(c->ssl));
  return 1;
}

/* want() -> what OpenSSL waits for */
static int want(lua_State *L) {
  grb_tls *c = check(L);
  int what = c->ssl && c->filter.stream ? SSL_want(c->ssl) : SSL_NOTHING;
  lua_pushstring(L, what == SSL_READING       ? "read"
                    : what == SSL_WRITING     ? "write"
                    : what == SSL_X509_LOOKUP ? "x509lookup"
                                              : "nothing");
  return 1;
}

/* Key updates and renegotiations are for specs: true | nil, message. */
static int update_keys(lua_State *L) {
  grb_tls *c = check(L);
  if (!c->filter.open) return grb_ssl_fail(L, "closed");
  ERR_clear_error();
  if (SSL_key_update(c->ssl, SSL_KEY_UPDATE_REQUESTED) != 1)
    return grb_ssl_fail(L, grb_reason());
  lua_pushboolean(L, 1);
  return 1;
}

const luaL_Reg grb_connection_funcs[] = {{"connection", new_connection},
                                         {"name", set_name},
                                         {"sni", set_sni},
                                         {"choose", set_chooser},
                                         {"server", is_server},
                                         {"setdane", set_dane},
                                         {"settlsa", set_tlsa},
                                         {"open", is_open},
                                         {"attached", has_stream},
                                         {"describe", describe},
                                         {"getalpn", get_alpn},
                                         {"getsniname", get_sni_name},
                                         {"want", want},
                                         {"session_reused", session_reused},
                                         {"update_keys", update_keys},
                                         {NULL, NULL}};

void grb_open_connections(lua_State *L) {
  static const luaL_Reg meta[] = {{"__gc", free_connection}, {NULL, NULL}};
  luaL_newmetatable(L, class_name);
  luaL_setfuncs(L, meta, 0);
  lua_pop(L, 1);
}
