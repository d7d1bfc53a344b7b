/* What OpenSSL asks us during a handshake.
 *
 * Functions of the program are called from here, on the stack of whoever
 * waits for the handshake, and may wait themselves.  What they raise ends the
 * handshake and is raised again behind OpenSSL's back (grb_tls.raised). */
#include <openssl/err.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "ssl.h"

static grb_tls *connection(SSL *ssl) {
  return SSL_get_app_data(ssl);
}

/* --- calling Lua --------------------------------------------------------- */

/* Push the connection's userdata. */
static void push_connection(lua_State *L) {
  lua_getiuservalue(L, 1, 1);
}

/* Push the function of that name that the context has; false if it has none,
 * or nobody can be called. */
static bool push_function(grb_tls *c, const char *name) {
  lua_State *L = c->L;
  if (!L || c->raised || !lua_checkstack(L, LUA_MINSTACK)) return false;
  push_connection(L);
  lua_getiuservalue(L, -1, GRB_CONTEXT);
  lua_getiuservalue(L, -1, 1);
  lua_getfield(L, -1, name);
  lua_replace(L, -4);
  lua_pop(L, 2);
  if (lua_isfunction(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

/* Call it; false if it has raised something, which stays on the stack. */
static bool call(grb_tls *c, int nargs, int nresults) {
  if (!lua_pcall(c->L, nargs, nresults, 0)) return true;
  c->raised = true;
  return false;
}

/* --- a context for a name ------------------------------------------------ */

/* The host name of a ClientHello's extension (RFC 6066, section 3). */
static const char *host_name(SSL *ssl, size_t *size) {
  const unsigned char *p;
  size_t n;
  if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) || n < 5)
    return NULL;
  size_t list = (size_t)p[0] << 8 | p[1], len = (size_t)p[3] << 8 | p[4];
  if (list != n - 2 || p[2] != TLSEXT_NAMETYPE_host_name || len > n - 5 ||
      memchr(p + 5, 0, len))
    return NULL;
  *size = len;
  return (const char *)p + 5;
}

/* Push the function that chooses: the connection's own, or its context's. */
static bool push_chooser(grb_tls *c) {
  lua_State *L = c->L;
  if (!L || !lua_checkstack(L, LUA_MINSTACK)) return false;
  push_connection(L);
  lua_getiuservalue(L, -1, GRB_CHOOSE);
  lua_remove(L, -2);
  if (lua_isfunction(L, -1)) return true;
  lua_pop(L, 1);
  return push_function(c, "sni");
}

/* Go on with the context on top of the stack. */
static void change_context(grb_tls *c, grb_context *x) {
  lua_State *L = c->L;
  push_connection(L);
  lua_getiuservalue(L, -1, GRB_CONTEXT);
  lua_setiuservalue(L, -2, GRB_FORMER);
  lua_pushvalue(L, -2);
  lua_setiuservalue(L, -2, GRB_CONTEXT);
  lua_pop(L, 1);
  c->context = x;
  SSL_set_SSL_CTX(c->ssl, x->ctx);
  SSL_set_verify(c->ssl, SSL_CTX_get_verify_mode(x->ctx), grb_verify);
  SSL_set_verify_depth(c->ssl, SSL_CTX_get_verify_depth(x->ctx));
  SSL_clear_options(c->ssl,
                    SSL_get_options(c->ssl) & ~SSL_CTX_get_options(x->ctx));
  SSL_set_options(c->ssl, SSL_CTX_get_options(x->ctx));
}

/* First of all, before a session is looked for: a session of one name must be
 * none of another's, whose clients may have to be known. */
static int on_hello(SSL *ssl, int *alert, void *unused) {
  grb_tls *c = connection(ssl);
  size_t size = 0;
  (void)unused;
  if (!push_chooser(c)) return SSL_CLIENT_HELLO_SUCCESS;
  const char *name = host_name(ssl, &size);
  if (name)
    lua_pushlstring(c->L, name, size);
  else
    lua_pushnil(c->L);
  *alert = SSL_AD_INTERNAL_ERROR;
  if (!call(c, 1, 1)) return SSL_CLIENT_HELLO_ERROR;
  bool refused = lua_isboolean(c->L, -1) && !lua_toboolean(c->L, -1);
  grb_context *x = grb_to_context(c->L, -1);
  if (x && x->ctx) change_context(c, x);
  lua_pop(c->L, 1);
  if (!refused) return SSL_CLIENT_HELLO_SUCCESS;
  *alert = SSL_AD_UNRECOGNIZED_NAME;
  return SSL_CLIENT_HELLO_ERROR;
}

/* The name has been heeded. */
static int on_name(SSL *ssl, int *alert, void *unused) {
  (void)ssl, (void)alert, (void)unused;
  return SSL_TLSEXT_ERR_OK;
}

/* --- protocols ----------------------------------------------------------- */

/* The first of `ours` that is among `theirs`: where it is there. */
static const unsigned char *common(const char *ours, size_t nours,
                                   const unsigned char *theirs,
                                   size_t ntheirs) {
  for (size_t i = 0; i < nours; i += 1 + (unsigned char)ours[i])
    for (size_t k = 0; k < ntheirs; k += 1 + theirs[k]) {
      size_t n = (unsigned char)ours[i];
      if (n == theirs[k] && i + n < nours && k + n < ntheirs &&
          !memcmp(ours + i + 1, theirs + k + 1, n))
        return theirs + k;
    }
  return NULL;
}

static int on_protocols(SSL *ssl, const unsigned char **to, unsigned char *n,
                        const unsigned char *theirs, unsigned ntheirs,
                        void *unused) {
  grb_tls *c = connection(ssl);
  grb_context *x = c->context;
  const char *ours = x->alpn;
  size_t nours = x->alpn_len;
  bool asks = !ours && push_function(c, "alpn");
  (void)unused;
  if (asks) {
    lua_pushlstring(c->L, (const char *)theirs, ntheirs);
    if (!call(c, 1, 1)) return SSL_TLSEXT_ERR_ALERT_FATAL;
    ours = lua_tolstring(c->L, -1, &nours);
  }
  const unsigned char *found =
      ours ? common(ours, nours, theirs, ntheirs) : NULL;
  if (asks) lua_pop(c->L, 1);
  if (!found)
    return ours && !x->luasec ? SSL_TLSEXT_ERR_ALERT_FATAL
                              : SSL_TLSEXT_ERR_NOACK;
  *to = found + 1;
  *n = *found;
  return SSL_TLSEXT_ERR_OK;
}

/* --- pre-shared keys ----------------------------------------------------- */

/* Take the key on top of the stack. */
static unsigned take_key(grb_tls *c, unsigned char *to, unsigned max) {
  size_t n;
  const char *key = lua_tolstring(c->L, -1, &n);
  if (!key || n > max) return 0;
  memcpy(to, key, n);
  return (unsigned)n;
}

static unsigned server_key(SSL *ssl, const char *identity, unsigned char *key,
                           unsigned max) {
  grb_tls *c = connection(ssl);
  if (!push_function(c, "psk")) return 0;
  lua_pushstring(c->L, identity);
  lua_pushinteger(c->L, max);
  if (!call(c, 2, 1)) return 0;
  unsigned n = take_key(c, key, max);
  lua_pop(c->L, 1);
  return n;
}

static unsigned client_key(SSL *ssl, const char *hint, char *identity,
                           unsigned max_identity, unsigned char *key,
                           unsigned max) {
  grb_tls *c = connection(ssl);
  size_t size;
  if (!push_function(c, "psk")) return 0;
  lua_pushstring(c->L, hint);
  lua_pushinteger(c->L, max_identity - 1);
  lua_pushinteger(c->L, max);
  if (!call(c, 3, 2)) return 0;
  const char *name = lua_tolstring(c->L, -2, &size);
  bool ok = name && size < max_identity;
  if (ok) memcpy(identity, name, size + 1);
  unsigned n = ok ? take_key(c, key, max) : 0;
  lua_pop(c->L, 2);
  return n;
}

/* psk(): its function will be called */
static int use_keys(lua_State *L) {
  grb_context *x = grb_check_context(L, 1);
  if (x->server)
    SSL_CTX_set_psk_server_callback(x->ctx, server_key);
  else
    SSL_CTX_set_psk_client_callback(x->ctx, client_key);
  return 0;
}

const luaL_Reg grb_handshake_funcs[] = {{"psk", use_keys}, {NULL, NULL}};

/* --- certificates -------------------------------------------------------- */

static void note(grb_tls *c, int depth, int err) {
  size_t n = (size_t)c->nfaults;
  grb_fault *all =
      n < 100 ? gr_realloc(c->faults, (n + 1) * sizeof *all) : NULL;
  if (!all) return;
  all[n] = (grb_fault){depth, err};
  c->faults = all;
  c->nfaults++;
}

int grb_verify(int ok, X509_STORE_CTX *store) {
  if (ok) return 1;
  SSL *ssl =
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
  grb_tls *c = connection(ssl);
  int err = X509_STORE_CTX_get_error(store);
  if (err != X509_V_OK && (c->context->continues || c->context->any_purpose))
    note(c, X509_STORE_CTX_get_error_depth(store), err);
  return c->context->continues;
}

/* --- secrets ------------------------------------------------------------- */

static void on_secret(const SSL *ssl, const char *line) {
  const grb_tls *c = SSL_get_app_data(ssl);
  size_t n = strlen(line);
  char text[1024];
  if (c->context->keylog < 0 || n >= sizeof text) return;
  memcpy(text, line, n);
  text[n++] = '\n';
  if (write(c->context->keylog, text, n) < 0) return; /* then it is not there */
}

void grb_log_secrets(grb_context *x) {
  SSL_CTX_set_keylog_callback(x->ctx, on_secret);
}

void grb_set_callbacks(grb_context *x) {
  SSL_CTX_set_client_hello_cb(x->ctx, on_hello, NULL);
  SSL_CTX_set_tlsext_servername_callback(x->ctx, on_name);
  SSL_CTX_set_alpn_select_cb(x->ctx, on_protocols, NULL);
  SSL_CTX_set_verify(x->ctx, SSL_VERIFY_NONE, grb_verify);
}
