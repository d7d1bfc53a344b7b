#include "greenlet.h"

/* (state): a new one is the warm one. */
static int add_warm(lua_State *L) {
  gr_state *S = lua_touserdata(L, 1);
  S->warm = lua_newthread(L);
  lua_xmove(L, S->L, 1);
  lua_replace(S->L, GR_T_WARM);
  return 0;
}

void gr_settle_coroutine(gr_state *S, bool needed) {
  lua_State *T = S->L;
  if (S->warm_of && needed) {
    lua_rawgeti(T, GR_T_LIVE, S->warm_of->slot);
    lua_pushvalue(T, GR_T_WARM);
    lua_setiuservalue(T, -2, 1);
    lua_pop(T, 1);
  }
  S->warm = NULL;
  S->warm_of = NULL;
}

lua_State *gr_find_coroutine(gr_state *S) {
  if (S->warm_of) gr_settle_coroutine(S, true);
  if (S->warm) return S->warm;
  if (!S->nspare) {
    lua_pushcfunction(S->talk, add_warm);
    lua_pushlightuserdata(S->talk, S);
    return lua_pcall(S->talk, 1, 0, 0) == LUA_OK ? S->warm : NULL;
  }
  lua_rawgeti(S->L, GR_T_SPARE, (int)S->nspare--);
  S->warm = lua_tothread(S->L, -1);
  lua_replace(S->L, GR_T_WARM);
  return S->warm;
}

void gr_keep_coroutine(gr_state *S, const gr_greenlet *g, lua_State *co) {
  if (lua_gethookmask(co)) lua_sethook(co, NULL, 0, 0);
  if (S->warm_of == g) S->warm_of = NULL;
  if (S->warm == co || S->nspare == GR_MAX_SPARE) return;
  lua_pushthread(co);
  lua_xmove(co, S->L, 1);
  lua_rawseti(S->L, GR_T_SPARE, (int)++S->nspare);
}
