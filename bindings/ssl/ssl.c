/* greenlua.core.ssl: TLS by OpenSSL.  lua/greenlua/ssl.lua builds the public
 * module on it. */
#include "ssl.h"

#include <openssl/ec.h>
#include <stdlib.h>

#include "greenlualib.h"

static void add_curve(lua_State *L, const char *name) {
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, name);
}

/* curve_names() -> {name = true} */
static int curve_names(lua_State *L) {
  size_t n = EC_get_builtin_curves(NULL, 0);
  EC_builtin_curve *all = lua_newuserdatauv(L, (n + 1) * sizeof *all, 0);
  EC_get_builtin_curves(all, n);
  lua_newtable(L);
  for (size_t i = 0; i < n; i++) {
    const char *name = OBJ_nid2sn(all[i].nid);
    const char *nist = EC_curve_nid2nist(all[i].nid);
    if (name) add_curve(L, name);
    if (nist && nist[0] == 'P' &&
        EC_curve_nist2nid(nist) != NID_X9_62_prime192v1 &&
        all[i].nid != NID_secp224r1)
      add_curve(L, nist);
  }
  add_curve(L, "X25519");
  add_curve(L, "X448");
  return 1;
}

int luaopen_greenlua_core_ssl(lua_State *L) {
  static const luaL_Reg funcs[] = {{"curve_names", curve_names}, {NULL, NULL}};
  const char *problem = grb_load_openssl();
  if (problem) return luaL_error(L, "cannot load OpenSSL: %s", problem);
  /* What has gathered is still written when exit(3) is called, which is later
   * than OpenSSL would free what it needs for that. */
  OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL);
  grb_open_wire(L);
  grb_open_contexts(L);
  grb_open_connections(L);
  grb_open_certificates(L);
  luaL_newlib(L, funcs);
  luaL_setfuncs(L, grb_context_funcs, 0);
  luaL_setfuncs(L, grb_option_funcs, 0);
  luaL_setfuncs(L, grb_handshake_funcs, 0);
  luaL_setfuncs(L, grb_connection_funcs, 0);
  luaL_setfuncs(L, grb_peer_funcs, 0);
  luaL_setfuncs(L, grb_certificate_funcs, 0);
  return 1;
}
