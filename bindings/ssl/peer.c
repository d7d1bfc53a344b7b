/* Connections: who the peer is, and what only it and we know. */

#include "ssl.h"

/* Argument 1 as an open connection; NULL: nil (or false) and "closed" are on
 * the stack. */
static grb_tls *check(lua_State *L, bool boolean) {
  grb_tls *c = grb_check_tls(L, 1);
  if (!c) luaL_typeerror(L, 1, "TLS connection");
  if (c->filter.open) return c;
  if (boolean)
    lua_pushboolean(L, 0);
  else
    lua_pushnil(L);
  lua_pushliteral(L, "closed");
  return NULL;
}

/* A reference of its own to the n-th certificate of a chain. */
static X509 *nth(STACK_OF(X509) * chain, lua_Integer n) {
  X509 *cert = n < sk_X509_num(chain) ? sk_X509_value(chain, (int)n) : NULL;
  if (cert) X509_up_ref(cert);
  return cert;
}

/* getpeercertificate([n]) -> certificate, nil | nil, message */
static int get_certificate(lua_State *L) {
  grb_tls *c = check(L, false);
  if (!c) return 2;
  lua_Integer n = luaL_optinteger(L, 2, 1);
  if (n < 1) return grb_ssl_fail(L, "invalid certificate index");
  if (--n == 0) {
    grb_push_certificate(L, SSL_get1_peer_certificate(c->ssl));
    return 1;
  }
  /* What a client sends comes without its own. */
  if (c->context->server) n--;
  grb_push_certificate(L, nth(SSL_get_peer_cert_chain(c->ssl), n));
  return 1;
}

static int get_chain(lua_State *L) {
  grb_tls *c = check(L, false);
  if (!c) return 2;
  X509 *own = c->context->server ? SSL_get1_peer_certificate(c->ssl) : NULL;
  lua_newtable(L);
  if (own) {
    grb_push_certificate(L, own);
    lua_rawseti(L, -2, 1);
  }
  STACK_OF(X509) *chain = SSL_get_peer_cert_chain(c->ssl);
  for (int i = 0; i < sk_X509_num(chain); i++) {
    grb_push_certificate(L, nth(chain, i));
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
  return 1;
}

/* Push depth + 1 -> list of messages. */
static void push_faults(lua_State *L, const grb_tls *c) {
  lua_newtable(L);
  for (int i = 0; i < c->nfaults; i++) {
    const grb_fault *f = &c->faults[i];
    if (lua_rawgeti(L, -1, f->depth + 1) != LUA_TTABLE) {
      lua_pop(L, 1);
      lua_newtable(L);
      lua_pushvalue(L, -1);
      lua_rawseti(L, -3, f->depth + 1);
    }
    lua_pushstring(L, X509_verify_cert_error_string(f->err));
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
  }
}

/* getpeerverification() -> true | false, message or table of them */
static int get_verification(lua_State *L) {
  grb_tls *c = check(L, true);
  if (!c) return 2;
  long err = SSL_get_verify_result(c->ssl);
  lua_pushboolean(L, err == X509_V_OK);
  if (err == X509_V_OK) return 1;
  if (c->nfaults)
    push_faults(L, c);
  else
    lua_pushstring(L, X509_verify_cert_error_string(err));
  return 2;
}

/* --- secrets ------------------------------------------------------------- */

static int finished(lua_State *L, size_t get(const SSL *, void *, size_t)) {
  char text[EVP_MAX_MD_SIZE];
  grb_tls *c = check(L, false);
  if (!c) return 2;
  size_t n = get(c->ssl, text, sizeof text);
  if (!n) return 0;
  lua_pushlstring(L, text, n < sizeof text ? n : sizeof text);
  return 1;
}

static int get_finished(lua_State *L) {
  return finished(L, SSL_get_finished);
}

static int get_peer_finished(lua_State *L) {
  return finished(L, SSL_get_peer_finished);
}

/* exportkeyingmaterial(label, length [, context]) -> string | nil, message */
static int export_keys(lua_State *L) {
  grb_tls *c = check(L, false);
  size_t nlabel, ncontext = 0;
  if (!c) return 2;
  const char *label = luaL_checklstring(L, 2, &nlabel);
  lua_Integer n = luaL_checkinteger(L, 3);
  const char *context = luaL_optlstring(L, 4, NULL, &ncontext);
  luaL_argcheck(L, n > 0 && n < 1 << 16, 3, "length out of range");
  luaL_Buffer b;
  unsigned char *to = (unsigned char *)luaL_buffinitsize(L, &b, (size_t)n);
  if (SSL_export_keying_material(c->ssl, to, (size_t)n, label, nlabel,
                                 (const unsigned char *)context, ncontext,
                                 context != NULL) != 1)
    return grb_ssl_fail(L, "error exporting keying material");
  luaL_pushresultsize(&b, (size_t)n);
  return 1;
}

const luaL_Reg grb_peer_funcs[] = {{"getpeercertificate", get_certificate},
                                   {"getpeerchain", get_chain},
                                   {"getpeerverification", get_verification},
                                   {"getfinished", get_finished},
                                   {"getpeerfinished", get_peer_finished},
                                   {"exportkeyingmaterial", export_keys},
                                   {NULL, NULL}};
