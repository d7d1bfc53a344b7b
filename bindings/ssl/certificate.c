/* Certificates, with LuaSec's methods. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "ssl.h"

static const char class_name[] = "greenlua.ssl.certificate";

typedef struct certificate {
  X509 *cert;
  bool utf8; /* names are converted; otherwise they are as they are */
} certificate;

void grb_push_certificate(lua_State *L, X509 *cert) {
  if (!cert) {
    lua_pushnil(L);
    return;
  }
  certificate *c = lua_newuserdatauv(L, sizeof *c, 0);
  *c = (certificate){.cert = cert};
  luaL_setmetatable(L, class_name);
}

static certificate *check(lua_State *L, int arg) {
  certificate *c = luaL_checkudata(L, arg, class_name);
  luaL_argcheck(L, c->cert, arg, "the certificate is closed");
  return c;
}

static int free_certificate(lua_State *L) {
  certificate *c = luaL_checkudata(L, 1, class_name);
  if (c->cert) X509_free(c->cert);
  c->cert = NULL;
  return 0;
}

static int to_string(lua_State *L) {
  lua_pushfstring(L, "X509 certificate: %p",
                  (void *)((certificate *)lua_touserdata(L, 1))->cert);
  return 1;
}

/* loadcertificate(pem) -> certificate | nil */
static int load(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  BIO *b = BIO_new_mem_buf(text, (int)n);
  grb_push_certificate(L, b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL);
  BIO_free(b);
  return 1;
}

/* --- ASN.1 --------------------------------------------------------------- */

static void push_object(lua_State *L, const ASN1_OBJECT *o, bool number) {
  char text[256];
  int n = OBJ_obj2txt(text, sizeof text, o, number);
  lua_pushlstring(L, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

static void push_text(lua_State *L, const ASN1_STRING *s, bool utf8) {
  unsigned char *text = NULL;
  int n = s && utf8 ? ASN1_STRING_to_UTF8(&text, s) : -1;
  if (n >= 0)
    lua_pushlstring(L, (const char *)text, (size_t)n);
  else if (s && !utf8)
    lua_pushlstring(L, (const char *)ASN1_STRING_get0_data(s),
                    (size_t)ASN1_STRING_length(s));
  else
    lua_pushnil(L);
  OPENSSL_free(text);
}

static void push_address(lua_State *L, const ASN1_STRING *s) {
  char text[INET6_ADDRSTRLEN];
  int n = ASN1_STRING_length(s);
  bool known = n == 4 || n == 16;
  lua_pushstring(L, known
                        ? inet_ntop(n == 4 ? AF_INET : AF_INET6,
                                    ASN1_STRING_get0_data(s), text, sizeof text)
                        : NULL);
}

/* What OpenSSL writes to memory. */
static int push_memory(lua_State *L, BIO *b, bool ok) {
  char *text;
  long n = b && ok ? BIO_get_mem_data(b, &text) : 0;
  if (n > 0)
    lua_pushlstring(L, text, (size_t)n);
  else
    lua_pushnil(L);
  BIO_free(b);
  return 1;
}

static int push_time(lua_State *L, const ASN1_TIME *t) {
  BIO *b = BIO_new(BIO_s_mem());
  return push_memory(L, b, b && ASN1_TIME_print(b, t));
}

/* --- names --------------------------------------------------------------- */

/* A list of {oid =, name =, value =}. */
static int push_name(lua_State *L, X509_NAME *name, bool utf8) {
  int n = X509_NAME_entry_count(name);
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
    lua_createtable(L, 0, 3);
    push_object(L, X509_NAME_ENTRY_get_object(e), true);
    lua_setfield(L, -2, "oid");
    push_object(L, X509_NAME_ENTRY_get_object(e), false);
    lua_setfield(L, -2, "name");
    push_text(L, X509_NAME_ENTRY_get_data(e), utf8);
    lua_setfield(L, -2, "value");
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static int subject(lua_State *L) {
  certificate *c = check(L, 1);
  return push_name(L, X509_get_subject_name(c->cert), c->utf8);
}

static int issuer(lua_State *L) {
  certificate *c = check(L, 1);
  return push_name(L, X509_get_issuer_name(c->cert), c->utf8);
}

/* Push the table that the one on top has under `key`, made if it has none;
 * true then. */
static bool push_subtable(lua_State *L, const char *key) {
  if (lua_getfield(L, -1, key) == LUA_TTABLE) return false;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, key);
  return true;
}

/* Add what is on top to the list `key` of the table below it. */
static void add_to(lua_State *L, const char *key) {
  lua_insert(L, -2);
  push_subtable(L, key);
  lua_rotate(L, -3, -1);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

static void add_other_name(lua_State *L, const OTHERNAME *o, bool utf8) {
  char key[256];
  OBJ_obj2txt(key, sizeof key, o->type_id, 1);
  if (push_subtable(L, key)) {
    push_object(L, o->type_id, false);
    lua_setfield(L, -2, "name");
  }
  push_text(L, o->value->value.asn1_string, utf8);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

static void add_general_name(lua_State *L, const GENERAL_NAME *g, bool utf8) {
  switch (g->type) {
  case GEN_OTHERNAME:
    add_other_name(L, g->d.otherName, utf8);
    return;
  case GEN_DNS:
    push_text(L, g->d.dNSName, utf8);
    add_to(L, "dNSName");
    return;
  case GEN_EMAIL:
    push_text(L, g->d.rfc822Name, utf8);
    add_to(L, "rfc822Name");
    return;
  case GEN_URI:
    push_text(L, g->d.uniformResourceIdentifier, utf8);
    add_to(L, "uniformResourceIdentifier");
    return;
  case GEN_IPADD:
    push_address(L, g->d.iPAddress);
    add_to(L, "iPAddress");
    return;
  }
}

/* extensions() -> those that name the subject, by OID */
static int extensions(lua_State *L) {
  certificate *c = check(L, 1);
  lua_newtable(L);
  for (int i = -1;
       (i = X509_get_ext_by_NID(c->cert, NID_subject_alt_name, i)) >= 0;) {
    X509_EXTENSION *e = X509_get_ext(c->cert, i);
    char key[256];
    GENERAL_NAMES *names = X509V3_EXT_d2i(e);
    if (!names) break;
    OBJ_obj2txt(key, sizeof key, X509_EXTENSION_get_object(e), 1);
    push_subtable(L, key);
    push_object(L, X509_EXTENSION_get_object(e), false);
    lua_setfield(L, -2, "name");
    for (int k = 0; k < sk_GENERAL_NAME_num(names); k++)
      add_general_name(L, sk_GENERAL_NAME_value(names, k), c->utf8);
    GENERAL_NAMES_free(names);
    lua_pop(L, 1);
  }
  return 1;
}

/* --- the rest ------------------------------------------------------------ */

static int pem(lua_State *L) {
  certificate *c = check(L, 1);
  BIO *b = BIO_new(BIO_s_mem());
  return push_memory(L, b, b && PEM_write_bio_X509(b, c->cert));
}

static const char *key_type(const EVP_PKEY *key) {
  switch (EVP_PKEY_get_base_id(key)) {
  case EVP_PKEY_RSA:
    return "RSA";
  case EVP_PKEY_DSA:
    return "DSA";
  case EVP_PKEY_DH:
    return "DH";
  case EVP_PKEY_EC:
    return "EC";
  default:
    return "Unknown";
  }
}

/* pubkey() -> PEM, type, bits */
static int pubkey(lua_State *L) {
  EVP_PKEY *key = X509_get0_pubkey(check(L, 1)->cert);
  BIO *b = BIO_new(BIO_s_mem());
  push_memory(L, b, b && key && PEM_write_bio_PUBKEY(b, key));
  if (lua_isnil(L, -1)) return 1;
  lua_pushstring(L, key_type(key));
  lua_pushinteger(L, EVP_PKEY_get_bits(key));
  return 3;
}

/* digest([algorithm]) -> hexadecimal */
static int digest(lua_State *L) {
  certificate *c = check(L, 1);
  const char *name = luaL_optstring(L, 2, "sha1");
  const EVP_MD *md = !strcmp(name, "sha1")     ? EVP_sha1()
                     : !strcmp(name, "sha256") ? EVP_sha256()
                     : !strcmp(name, "sha512") ? EVP_sha512()
                                               : NULL;
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  if (!md) {
    lua_pushnil(L);
    lua_pushfstring(L, "digest algorithm not supported (%s)", name);
    return 2;
  }
  ERR_clear_error();
  if (!X509_digest(c->cert, md, bytes, &n))
    return grb_ssl_fail(L, grb_reason());
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, 2 * (size_t)n);
  for (unsigned i = 0; i < n; i++) {
    to[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
    to[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
  }
  luaL_pushresultsize(&b, 2 * (size_t)n);
  return 1;
}

/* validat(time) -> boolean */
static int valid_at(lua_State *L) {
  certificate *c = check(L, 1);
  time_t at = (time_t)luaL_checkinteger(L, 2), before = at - 1;
  lua_pushboolean(L,
                  X509_cmp_time(X509_get0_notBefore(c->cert), &at) == -1 &&
                      X509_cmp_time(X509_get0_notAfter(c->cert), &before) == 1);
  return 1;
}

static int serial(lua_State *L) {
  const ASN1_INTEGER *number = X509_get0_serialNumber(check(L, 1)->cert);
  BIGNUM *n = ASN1_INTEGER_to_BN(number, NULL);
  char *text = n ? BN_bn2hex(n) : NULL;
  lua_pushstring(L, text);
  OPENSSL_free(text);
  BN_free(n);
  return 1;
}

static int not_before(lua_State *L) {
  return push_time(L, X509_get0_notBefore(check(L, 1)->cert));
}

static int not_after(lua_State *L) {
  return push_time(L, X509_get0_notAfter(check(L, 1)->cert));
}

static int signature_name(lua_State *L) {
  lua_pushstring(L, OBJ_nid2sn(X509_get_signature_nid(check(L, 1)->cert)));
  return 1;
}

/* setencode("ai5" | "utf8") -> boolean */
static int set_encode(lua_State *L) {
  certificate *c = check(L, 1);
  const char *name = luaL_checkstring(L, 2);
  bool utf8 = !strncmp(name, "utf8", 4), plain = !strncmp(name, "ai5", 3);
  if (utf8 || plain) c->utf8 = utf8;
  lua_pushboolean(L, utf8 || plain);
  return 1;
}

/* issued(subject [, intermediate …]) -> true | nil, message */
static int issued(lua_State *L) {
  int top = lua_gettop(L);
  for (int i = 1; i <= (top < 2 ? 2 : top); i++) check(L, i);
  X509_STORE_CTX *store = X509_STORE_CTX_new();
  X509_STORE *roots = X509_STORE_new();
  STACK_OF(X509) *others = sk_X509_new_null();
  const char *why = "not enough memory";
  for (int i = 3; others && i <= top; i++)
    sk_X509_push(others, check(L, i)->cert);
  if (store && roots && others &&
      X509_STORE_add_cert(roots, check(L, 1)->cert) &&
      X509_STORE_CTX_init(store, roots, check(L, 2)->cert, others))
    why = X509_verify_cert(store) > 0
              ? NULL
              : X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
  X509_STORE_CTX_free(store);
  X509_STORE_free(roots);
  sk_X509_free(others);
  if (why) return grb_ssl_fail(L, why);
  lua_pushboolean(L, 1);
  return 1;
}

const luaL_Reg grb_certificate_funcs[] = {{"loadcertificate", load},
                                          {NULL, NULL}};

void grb_open_certificates(lua_State *L) {
  static const luaL_Reg methods[] = {{"digest", digest},
                                     {"setencode", set_encode},
                                     {"extensions", extensions},
                                     {"getsignaturename", signature_name},
                                     {"issuer", issuer},
                                     {"notbefore", not_before},
                                     {"notafter", not_after},
                                     {"issued", issued},
                                     {"pem", pem},
                                     {"pubkey", pubkey},
                                     {"serial", serial},
                                     {"subject", subject},
                                     {"validat", valid_at},
                                     {NULL, NULL}};
  static const luaL_Reg meta[] = {{"__gc", free_certificate},
                                  {"__close", free_certificate},
                                  {"__tostring", to_string},
                                  {NULL, NULL}};
  luaL_newmetatable(L, class_name);
  luaL_setfuncs(L, meta, 0);
  lua_pushliteral(L, "SSL:Certificate");
  lua_setfield(L, -2, "__name");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
