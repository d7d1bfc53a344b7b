/* Hooks of a thread that was left inside of one.
 *
 * Lua calls no hook inside of a hook: a byte of the thread says so, and is set
 * right when the hook returns.  A thread that an error has led out of a hook,
 * or that is closed while it stands in one, is never told.  What it then calls
 * to close its variables could not be stopped.  Lua has no function for that,
 * so we find the byte (lua_State.allowhook) by its behaviour. */
#include <string.h>

#include "limit.h"

/* What is looked at: a link and the first small fields. */
enum { HEAD = sizeof(void *) + 4 };

typedef unsigned char head[HEAD];

static void look(lua_State *T, lua_Debug *ar) {
  (void)ar;
  memcpy(*(head **)lua_getextraspace(T), T, HEAD);
}

static int nothing(lua_State *L) {
  (void)L;
  return 0;
}

/* The one that is set outside, before and after, and not inside. */
static int differs(const head before, const head inside, const head after) {
  int found = -1;
  for (int i = 0; i < HEAD; i++)
    if (before[i] == 1 && inside[i] == 0 && after[i] == 1)
      found = found < 0 ? i : HEAD;
  return found < HEAD ? found : -1;
}

int gr_hook_flag(lua_State *L) {
  head before, inside, after, *to = &inside;
  lua_State *T = lua_newthread(L);
  memcpy(lua_getextraspace(T), &to, sizeof to);
  lua_sethook(T, look, LUA_MASKCALL, 0);
  lua_pushcfunction(T, nothing);
  memcpy(before, T, HEAD);
  memcpy(inside, T, HEAD);
  lua_call(T, 0, 0);
  memcpy(after, T, HEAD);
  lua_pop(L, 1);
  return differs(before, inside, after);
}

void gr_hook_again(const gr_state *S, lua_State *co) {
  if (S->limits) ((unsigned char *)co)[S->limits->hook_flag] = 1;
}
