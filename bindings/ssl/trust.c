/* Contexts: whom they trust, and what they agree to. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "ssl.h"

static grb_context *check(lua_State *L) {
  grb_context *x = grb_check_context(L, 1);
  luaL_argcheck(L, x->ctx, 1, "the context is closed");
  ERR_clear_error();
  return x;
}

static int result(lua_State *L, bool ok) {
  if (!ok) return grb_ssl_fail(L, grb_reason());
  lua_pushboolean(L, 1);
  return 1;
}

static int refuse(lua_State *L, const char *what) {
  lua_pushnil(L);
  lua_pushfstring(L, "invalid %s (%s)", what, lua_tostring(L, -2));
  return 2;
}

/* --- certificates of authorities ----------------------------------------- */

/* Servers tell clients whose certificates they take. */
static void name_authorities(SSL_CTX *ctx, STACK_OF(X509_NAME) * names) {
  if (names) SSL_CTX_set_client_CA_list(ctx, names);
}

/* locations([file [, directory]]) */
static int set_locations(lua_State *L) {
  grb_context *x = check(L);
  const char *file = luaL_optstring(L, 2, NULL);
  const char *directory = luaL_optstring(L, 3, NULL);
  bool ok = SSL_CTX_load_verify_locations(x->ctx, file, directory) == 1;
  if (ok && file && x->server && !x->luasec)
    name_authorities(x->ctx, SSL_load_client_CA_file(file));
  return result(L, ok);
}

/* system(): those that the system trusts */
static int set_system(lua_State *L) {
  return result(L, SSL_CTX_set_default_verify_paths(check(L)->ctx) == 1);
}

/* authorities(text): in PEM, one or more */
static int add_authorities(lua_State *L) {
  size_t n;
  grb_context *x = check(L);
  X509_STORE *store = SSL_CTX_get_cert_store(x->ctx);
  const char *text = luaL_checklstring(L, 2, &n);
  BIO *b = BIO_new_mem_buf(text, (int)n);
  int count = 0;
  X509 *cert;
  while (b && (cert = PEM_read_bio_X509(b, NULL, NULL, NULL))) {
    bool added = X509_STORE_add_cert(store, cert) == 1;
    if (added && x->server) SSL_CTX_add_client_CA(x->ctx, cert);
    X509_free(cert);
    if (!added) break;
    count++;
  }
  BIO_free(b);
  unsigned long e = ERR_peek_last_error();
  return result(L, count && ERR_GET_REASON(e) == PEM_R_NO_START_LINE);
}

/* --- verification -------------------------------------------------------- */

/* verify(mode …) */
static int set_verify(lua_State *L) {
  static const char *const names[] = {"none", "peer", "fail_if_no_peer_cert",
                                      "client_once", NULL};
  static const int flags[] = {SSL_VERIFY_NONE, SSL_VERIFY_PEER,
                              SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                              SSL_VERIFY_CLIENT_ONCE};
  grb_context *x = check(L);
  int mode = 0;
  for (int i = 2, top = lua_gettop(L); i <= top; i++) {
    const char *name = luaL_checkstring(L, i);
    int k = 0;
    while (names[k] && strcmp(name, names[k])) k++;
    if (!names[k]) {
      lua_pushvalue(L, i);
      return refuse(L, "verify option");
    }
    mode |= flags[k];
  }
  SSL_CTX_set_verify(x->ctx, mode, grb_verify);
  return result(L, true);
}

static int any_purpose(X509_STORE_CTX *store, void *unused) {
  X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(store);
  (void)unused;
  if (param) {
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    X509_VERIFY_PARAM_set_trust(param, X509_TRUST_SSL_SERVER);
  }
  return X509_verify_cert(store);
}

/* setverifyext(option …), as LuaSec's */
static int set_verify_ext(lua_State *L) {
  grb_context *x = check(L);
  unsigned long crl = 0;
  x->continues = x->any_purpose = false;
  for (int i = 2, top = lua_gettop(L); i <= top; i++) {
    const char *name = luaL_checkstring(L, i);
    if (!strcmp(name, "lsec_continue")) {
      x->continues = true;
    } else if (!strcmp(name, "lsec_ignore_purpose")) {
      x->any_purpose = true;
    } else if (!strcmp(name, "crl_check")) {
      crl |= X509_V_FLAG_CRL_CHECK;
    } else if (!strcmp(name, "crl_check_chain")) {
      crl |= X509_V_FLAG_CRL_CHECK_ALL;
    } else {
      lua_pushvalue(L, i);
      return refuse(L, "verify option");
    }
  }
  if (x->any_purpose)
    SSL_CTX_set_cert_verify_callback(x->ctx, any_purpose, NULL);
  X509_STORE_set_flags(SSL_CTX_get_cert_store(x->ctx), crl);
  return result(L, true);
}

static int set_depth(lua_State *L) {
  SSL_CTX_set_verify_depth(check(L)->ctx, (int)luaL_checkinteger(L, 2));
  return result(L, true);
}

/* dane(flag …) */
static int set_dane(lua_State *L) {
  static const char *const names[] = {"no_ee_namechecks", NULL};
  grb_context *x = check(L);
  bool ok = SSL_CTX_dane_enable(x->ctx) > 0;
  for (int i = 2; ok && i <= lua_gettop(L); i++) {
    luaL_checkoption(L, i, NULL, names);
    SSL_CTX_dane_set_flags(x->ctx, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
  }
  return result(L, ok);
}

/* --- agreement ----------------------------------------------------------- */

static int set_ciphers(lua_State *L) {
  grb_context *x = check(L);
  return result(L, SSL_CTX_set_cipher_list(x->ctx, luaL_checkstring(L, 2)));
}

static int set_ciphersuites(lua_State *L) {
  grb_context *x = check(L);
  return result(L, SSL_CTX_set_ciphersuites(x->ctx, luaL_checkstring(L, 2)));
}

static int set_curves(lua_State *L) {
  grb_context *x = check(L);
  return result(L, SSL_CTX_set1_curves_list(x->ctx, luaL_checkstring(L, 2)));
}

/* automatic(): what needs no thought */
static int set_automatic(lua_State *L) {
  grb_context *x = check(L);
  SSL_CTX_set_dh_auto(x->ctx, 1);
  SSL_CTX_set_options(x->ctx, SSL_OP_NO_COMPRESSION |
                                  SSL_OP_CIPHER_SERVER_PREFERENCE |
                                  SSL_OP_PRIORITIZE_CHACHA);
  return 0;
}

/* hint(text): of a server's pre-shared keys */
static int set_hint(lua_State *L) {
  grb_context *x = check(L);
  return result(
      L, SSL_CTX_use_psk_identity_hint(x->ctx, luaL_checkstring(L, 2)) == 1);
}

/* --- options ------------------------------------------------------------- */

#define OPTION(name, NAME)                                                     \
  { name, SSL_OP_##NAME }

static const struct {
  const char *name;
  uint64_t bits;
} options[] = {
    OPTION("all", ALL),
    OPTION("allow_client_renegotiation", ALLOW_CLIENT_RENEGOTIATION),
    OPTION("allow_no_dhe_kex", ALLOW_NO_DHE_KEX),
    OPTION("allow_unsafe_legacy_renegotiation",
           ALLOW_UNSAFE_LEGACY_RENEGOTIATION),
    OPTION("cipher_server_preference", CIPHER_SERVER_PREFERENCE),
    OPTION("cisco_anyconnect", CISCO_ANYCONNECT),
    OPTION("cleanse_plaintext", CLEANSE_PLAINTEXT),
    OPTION("cookie_exchange", COOKIE_EXCHANGE),
    OPTION("cryptopro_tlsext_bug", CRYPTOPRO_TLSEXT_BUG),
    OPTION("disable_tlsext_ca_names", DISABLE_TLSEXT_CA_NAMES),
    OPTION("dont_insert_empty_fragments", DONT_INSERT_EMPTY_FRAGMENTS),
    {"enable_ktls", 0}, /* the descriptor is not OpenSSL's */
    OPTION("enable_middlebox_compat", ENABLE_MIDDLEBOX_COMPAT),
    OPTION("ephemeral_rsa", EPHEMERAL_RSA),
    OPTION("ignore_unexpected_eof", IGNORE_UNEXPECTED_EOF),
    OPTION("legacy_server_connect", LEGACY_SERVER_CONNECT),
    OPTION("microsoft_big_sslv3_buffer", MICROSOFT_BIG_SSLV3_BUFFER),
    OPTION("microsoft_sess_id_bug", MICROSOFT_SESS_ID_BUG),
    OPTION("msie_sslv2_rsa_padding", MSIE_SSLV2_RSA_PADDING),
    OPTION("netscape_ca_dn_bug", NETSCAPE_CA_DN_BUG),
    OPTION("netscape_challenge_bug", NETSCAPE_CHALLENGE_BUG),
    OPTION("netscape_demo_cipher_change_bug", NETSCAPE_DEMO_CIPHER_CHANGE_BUG),
    OPTION("netscape_reuse_cipher_change_bug",
           NETSCAPE_REUSE_CIPHER_CHANGE_BUG),
    OPTION("no_anti_replay", NO_ANTI_REPLAY),
    OPTION("no_compression", NO_COMPRESSION),
    OPTION("no_dtls_mask", NO_DTLS_MASK),
    OPTION("no_dtlsv1", NO_DTLSv1),
    OPTION("no_dtlsv1_2", NO_DTLSv1_2),
    OPTION("no_encrypt_then_mac", NO_ENCRYPT_THEN_MAC),
    OPTION("no_extended_master_secret", NO_EXTENDED_MASTER_SECRET),
    OPTION("no_query_mtu", NO_QUERY_MTU),
    OPTION("no_renegotiation", NO_RENEGOTIATION),
    OPTION("no_session_resumption_on_renegotiation",
           NO_SESSION_RESUMPTION_ON_RENEGOTIATION),
    OPTION("no_ssl_mask", NO_SSL_MASK),
    OPTION("no_sslv2", NO_SSLv2),
    OPTION("no_sslv3", NO_SSLv3),
    OPTION("no_ticket", NO_TICKET),
    OPTION("no_tlsv1", NO_TLSv1),
    OPTION("no_tlsv1_1", NO_TLSv1_1),
    OPTION("no_tlsv1_2", NO_TLSv1_2),
    OPTION("no_tlsv1_3", NO_TLSv1_3),
    OPTION("pkcs1_check_1", PKCS1_CHECK_1),
    OPTION("pkcs1_check_2", PKCS1_CHECK_2),
    OPTION("prioritize_chacha", PRIORITIZE_CHACHA),
    OPTION("safari_ecdhe_ecdsa_bug", SAFARI_ECDHE_ECDSA_BUG),
    OPTION("single_dh_use", SINGLE_DH_USE),
    OPTION("single_ecdh_use", SINGLE_ECDH_USE),
    OPTION("ssleay_080_client_dh_bug", SSLEAY_080_CLIENT_DH_BUG),
    OPTION("sslref2_reuse_cert_type_bug", SSLREF2_REUSE_CERT_TYPE_BUG),
    OPTION("tls_block_padding_bug", TLS_BLOCK_PADDING_BUG),
    OPTION("tls_d5_bug", TLS_D5_BUG),
    OPTION("tls_rollback_bug", TLS_ROLLBACK_BUG),
    OPTION("tlsext_padding", TLSEXT_PADDING),
    {NULL, 0}};

/* options(name …) */
static int set_options(lua_State *L) {
  grb_context *x = check(L);
  uint64_t bits = 0;
  for (int i = 2, top = lua_gettop(L); i <= top; i++) {
    const char *name = luaL_checkstring(L, i);
    int k = 0;
    while (options[k].name && strcmp(name, options[k].name)) k++;
    if (!options[k].name) {
      lua_pushvalue(L, i);
      return refuse(L, "option");
    }
    bits |= options[k].bits;
  }
  SSL_CTX_set_options(x->ctx, bits);
  return result(L, true);
}

/* option_names() -> {name = true} */
static int option_names(lua_State *L) {
  lua_newtable(L);
  for (int k = 0; options[k].name; k++) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, options[k].name);
  }
  return 1;
}

const luaL_Reg grb_trust_methods[] = {{"locations", set_locations},
                                      {"system", set_system},
                                      {"authorities", add_authorities},
                                      {"verify", set_verify},
                                      {"setverifyext", set_verify_ext},
                                      {"depth", set_depth},
                                      {"dane", set_dane},
                                      {"ciphers", set_ciphers},
                                      {"ciphersuites", set_ciphersuites},
                                      {"curves", set_curves},
                                      {"automatic", set_automatic},
                                      {"hint", set_hint},
                                      {"options", set_options},
                                      {NULL, NULL}};

const luaL_Reg grb_option_funcs[] = {{"option_names", option_names},
                                     {NULL, NULL}};
