/* What the hub calls: it belongs to no greenlet and may not wait. */
#include "greenlet.h"
#include "limit/limit.h"

int gr_call_as_hub(lua_State *L, gr_state *S, int nargs, int nresults) {
  gr_hub *hub = &S->hub;
  gr_waiter *before = hub->current;
  bool passing = hub->passing;
  lua_State *inner = gr_enter_coroutine(S, L);
  hub->current = NULL;
  hub->passing = true;
  int status = lua_pcall(L, nargs, nresults, 0);
  hub->passing = passing;
  hub->current = before;
  gr_enter_coroutine(S, inner);
  return status;
}

/* One thread serves all, by turns or nested. */
void gr_talk(gr_state *S, gr_greenlet *g, int n) {
  if (!lua_checkstack(S->L, LUA_MINSTACK)) { /* it may end others, here again */
    lua_pop(S->talk, n + 1);
    gr_complain(S, g, "not enough memory");
  } else if (gr_call_as_hub(S->talk, S, n, 0)) {
    const char *why = lua_tostring(S->talk, -1);
    gr_complain(S, g, why ? why : "(error object)");
    lua_pop(S->talk, 1);
  }
}
