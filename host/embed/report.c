/* What is told of failures where the Lua half has no say. */
#include <stdio.h>

#include "greenlet.h"

void gr_complain(gr_state *S, const gr_greenlet *g, const char *why) {
  char text[200];
  if (g)
    snprintf(text, sizeof text, "greenlua: at the end of Greenlet-%u: %s\n",
             (unsigned)g->slot, why);
  else
    snprintf(text, sizeof text, "greenlua: %s\n", why);
  if (!gr_report_to_host(S, text)) fputs(text, stderr);
}

/* (greenlet): what the Lua half would say of it. */
int gr_report_plainly(lua_State *L) {
  gr_state *S = gr_state_peek(L);
  gr_push_name(L, S, 1);
  gr_push_extra(L, S, 1, false);
  if (lua_istable(L, -1)) lua_getfield(L, -1, "traceback");
  const char *trace = lua_tostring(L, -1), *name = lua_tostring(L, 3);
  lua_getiuservalue(L, 1, 1);
  const char *err = luaL_tolstring(L, -1, NULL);
  const char *text = lua_pushfstring(L, "%s\n%s\n%s failed with %s\n\n", err,
                                     trace ? trace : "", name, err);
  if (!gr_report_to_host(S, text)) fputs(text, stderr);
  return 0;
}
