/* Contexts: what connections are made with.  Settings return true, or nil and
 * OpenSSL's reason; the Lua side says what was being set. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "ssl.h"

static const char class_name[] = "greenlua.ssl.context";

grb_context *grb_check_context(lua_State *L, int arg) {
  return luaL_checkudata(L, arg, class_name);
}

grb_context *grb_to_context(lua_State *L, int arg) {
  return luaL_testudata(L, arg, class_name);
}

int grb_ssl_fail(lua_State *L, const char *message) {
  lua_pushnil(L);
  lua_pushstring(L, message);
  return 2;
}

/* What a setting returns. */
static int result(lua_State *L, bool ok) {
  if (!ok) return grb_ssl_fail(L, grb_reason());
  lua_pushboolean(L, 1);
  return 1;
}

/* --- life ---------------------------------------------------------------- */

static int version(lua_State *L, int arg) {
  static const char *const names[] = {"1.0", "1.1", "1.2", "1.3", NULL};
  static const int numbers[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION,
                                TLS1_3_VERSION};
  if (lua_isnoneornil(L, arg)) return 0;
  return numbers[luaL_checkoption(L, arg, NULL, names)];
}

/* context([lowest version [, highest version [, luasec]]]) */
static int new_context(lua_State *L) {
  int lowest = version(L, 1), highest = version(L, 2);
  bool luasec = lua_toboolean(L, 3);
  grb_context *x = lua_newuserdatauv(L, sizeof *x, 1);
  *x = (grb_context){.keylog = -1, .luasec = luasec};
  luaL_setmetatable(L, class_name);
  ERR_clear_error();
  x->ctx = SSL_CTX_new(TLS_method());
  if (!x->ctx) return grb_ssl_fail(L, grb_reason());
  SSL_CTX_set_min_proto_version(x->ctx, lowest);
  SSL_CTX_set_max_proto_version(x->ctx, highest);
  SSL_CTX_set_session_cache_mode(x->ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(x->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                               SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                               SSL_MODE_RELEASE_BUFFERS);
  grb_set_callbacks(x);
  lua_newtable(L);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

static int free_context(lua_State *L) {
  grb_context *x = grb_check_context(L, 1);
  grb_drop_sessions(x);
  if (x->ctx) SSL_CTX_free(x->ctx);
  if (x->keylog >= 0) close(x->keylog);
  gr_free(x->alpn);
  *x = (grb_context){.keylog = -1};
  return 0;
}

/* Argument 1, if it has not been closed. */
static grb_context *check(lua_State *L) {
  grb_context *x = grb_check_context(L, 1);
  luaL_argcheck(L, x->ctx, 1, "the context is closed");
  ERR_clear_error();
  return x;
}

static int set_mode(lua_State *L) {
  grb_context *x = check(L);
  static const char *const modes[] = {"client", "server", NULL};
  x->server = luaL_checkoption(L, 2, NULL, modes);
  return 0;
}

/* replace(other): take the other's settings.  A server's sessions stay good;
 * its connections go on with what they were made with. */
static int replace(lua_State *L) {
  unsigned char keys[256];
  grb_context *x = check(L), *other = grb_check_context(L, 2), old = *x;
  long size = SSL_CTX_get_tlsext_ticket_keys(x->ctx, NULL, 0);
  luaL_argcheck(L, other->ctx, 2, "the context is closed");
  if (x->server && size <= (long)sizeof keys &&
      SSL_CTX_get_tlsext_ticket_keys(x->ctx, keys, size) == 1)
    SSL_CTX_set_tlsext_ticket_keys(other->ctx, keys, size);
  OPENSSL_cleanse(keys, sizeof keys);
  *x = *other;
  *other = old;
  lua_getiuservalue(L, 2, 1);
  lua_setiuservalue(L, 1, 1);
  return 0;
}

static int to_string(lua_State *L) {
  lua_pushfstring(L, "SSL context: %p", (void *)grb_check_context(L, 1));
  return 1;
}

/* --- certificates and keys ----------------------------------------------- */

typedef struct password {
  lua_State *L;
  int at; /* index of a string, or of a function that gives one */
  bool raised;
} password;

/* Without this OpenSSL would ask at the terminal. */
static int give_password(char *to, int size, int writing, void *of) {
  password *p = of;
  size_t n;
  (void)writing;
  lua_pushvalue(p->L, p->at);
  if (lua_isfunction(p->L, -1) && lua_pcall(p->L, 0, 1, 0)) {
    p->raised = true;
    return -1;
  }
  const char *text = lua_tolstring(p->L, -1, &n);
  int fits = text && n < (size_t)size;
  if (fits) memcpy(to, text, n);
  lua_pop(p->L, 1);
  return fits ? (int)n : -1;
}

/* A file's, or a string's; NULL and errno's message in the queue. */
static BIO *source(lua_State *L, bool is_file) {
  size_t n;
  const char *text = luaL_checklstring(L, 2, &n);
  return is_file ? BIO_new_file(text, "r") : BIO_new_mem_buf(text, (int)n);
}

static bool use_chain(SSL_CTX *ctx, BIO *b, password *p) {
  X509 *cert = PEM_read_bio_X509_AUX(b, NULL, give_password, p);
  bool ok = cert && SSL_CTX_use_certificate(ctx, cert) == 1;
  X509_free(cert);
  SSL_CTX_clear_chain_certs(ctx);
  while (ok && (cert = PEM_read_bio_X509(b, NULL, give_password, p))) {
    ok = SSL_CTX_add0_chain_cert(ctx, cert) == 1;
    if (!ok) X509_free(cert);
  }
  unsigned long e = ERR_peek_last_error();
  if (ok && ERR_GET_LIB(e) == ERR_LIB_PEM &&
      ERR_GET_REASON(e) == PEM_R_NO_START_LINE)
    ERR_clear_error(); /* that was all of them */
  return ok && !ERR_peek_error();
}

static bool use_key(SSL_CTX *ctx, BIO *b, password *p) {
  EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, give_password, p);
  bool ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1;
  EVP_PKEY_free(key);
  return ok;
}

static int use(lua_State *L, bool (*with)(SSL_CTX *, BIO *, password *)) {
  grb_context *x = check(L);
  lua_settop(L, 4);
  password p = {.L = L, .at = 4};
  BIO *b = source(L, lua_toboolean(L, 3));
  bool ok = b && with(x->ctx, b, &p);
  BIO_free(b);
  if (p.raised) return lua_error(L);
  return result(L, ok);
}

/* certificate(text, is a file's name): and what follows it of its chain */
static int set_certificate(lua_State *L) {
  return use(L, use_chain);
}

/* key(text, is a file's name [, password | function]) */
static int set_key(lua_State *L) {
  return use(L, use_key);
}

static int check_key(lua_State *L) {
  return result(L, SSL_CTX_check_private_key(check(L)->ctx) == 1);
}

/* dhparam(text, is a file's name) */
static int set_dhparam(lua_State *L) {
  grb_context *x = check(L);
  BIO *b = source(L, lua_toboolean(L, 3));
  EVP_PKEY *key = b ? PEM_read_bio_Parameters(b, NULL) : NULL;
  bool ok = key && SSL_CTX_set0_tmp_dh_pkey(x->ctx, key) == 1;
  if (!ok) EVP_PKEY_free(key);
  BIO_free(b);
  return result(L, ok);
}

/* --- the rest ------------------------------------------------------------ */

/* alpn(protocols in wire format) */
static int set_alpn(lua_State *L) {
  size_t n;
  grb_context *x = check(L);
  const char *list = luaL_checklstring(L, 2, &n);
  if (!x->server)
    return result(L, !SSL_CTX_set_alpn_protos(
                         x->ctx, (const unsigned char *)list, (unsigned)n));
  char *copy = gr_realloc(x->alpn, n + 1);
  if (!copy) return grb_ssl_fail(L, "not enough memory");
  memcpy(copy, list, n);
  x->alpn = copy;
  x->alpn_len = n;
  return result(L, true);
}

/* on(name, function): sni, alpn, psk */
static int set_callback(lua_State *L) {
  check(L);
  luaL_checkstring(L, 2);
  lua_settop(L, 3);
  lua_getiuservalue(L, 1, 1);
  lua_insert(L, 2);
  lua_settable(L, 2);
  return 0;
}

/* keylog(path) */
static int set_keylog(lua_State *L) {
  grb_context *x = check(L);
  const char *path = luaL_checkstring(L, 2);
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return grb_ssl_fail(L, strerror(errno));
  if (x->keylog >= 0) close(x->keylog);
  x->keylog = fd;
  grb_log_secrets(x);
  return result(L, true);
}

/* sessions(how a server tells its own from others'), sessions(): a client's */
static int set_sessions(lua_State *L) {
  size_t n;
  grb_context *x = check(L);
  const char *id = luaL_optlstring(L, 2, "", &n);
  if (!x->server) grb_keep_sessions(x);
  return result(L, SSL_CTX_set_session_id_context(
                       x->ctx, (const unsigned char *)id, (unsigned)n));
}

static int drop_sessions(lua_State *L) {
  grb_drop_sessions(check(L));
  return 0;
}

const luaL_Reg grb_context_funcs[] = {{"context", new_context}, {NULL, NULL}};

void grb_open_contexts(lua_State *L) {
  static const luaL_Reg methods[] = {{"mode", set_mode},
                                     {"replace", replace},
                                     {"certificate", set_certificate},
                                     {"key", set_key},
                                     {"checkkey", check_key},
                                     {"dhparam", set_dhparam},
                                     {"alpn", set_alpn},
                                     {"on", set_callback},
                                     {"keylog", set_keylog},
                                     {"sessions", set_sessions},
                                     {"forget", drop_sessions},
                                     {NULL, NULL}};
  static const luaL_Reg meta[] = {{"__gc", free_context},
                                  {"__close", free_context},
                                  {"__tostring", to_string},
                                  {NULL, NULL}};
  luaL_newmetatable(L, class_name);
  luaL_setfuncs(L, meta, 0);
  lua_pushliteral(L, "SSL:Context");
  lua_setfield(L, -2, "__name");
  luaL_newlib(L, methods);
  luaL_setfuncs(L, grb_trust_methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
