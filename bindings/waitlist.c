/* greenlua.core.waitlist: parked greenlets in the order of their arrival, for
 * Lua modules to build on.
 *
 *   list:wait(timeout [, ...])   true and the waker's values, or false
 *   list:wake([...])             wake the first with values; false if empty
 *   list:wake_all([...])         wake those who wait now; how many
 *   #list                        how many wait
 */
#include "greenlualib.h"
#include "state.h"

static const char *const class_name = "greenlua.waitlist";

typedef struct waitlist {
  gr_list waiters;
  gr_wait what;
} waitlist;

static waitlist *check_list(lua_State *L) {
  return luaL_checkudata(L, 1, class_name);
}

/* new(name): what its waiters are said to wait for */
static int new(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  waitlist *list = lua_newuserdatauv(L, sizeof *list, 1);
  gr_list_init(&list->waiters);
  list->what = (gr_wait){.name = name}; /* alive as its user value */
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, class_name);
  return 1;
}

static int wait_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  if (gr_woken(L, S, ctx, wait_k) == GR_TIMEDOUT) {
    gr_timed_out(L, 2);
    lua_pushboolean(L, 0);
    return 1;
  }
  int n = S->hub.current->values;
  lua_pushboolean(L, 1);
  lua_insert(L, -n - 1);
  return n + 1;
}

static int wait(lua_State *L) {
  gr_state *S = gr_state_of(L);
  waitlist *list = check_list(L);
  double at = gr_check_deadline(L, S, 2);
  lua_settop(L, 2);
  if (at == 0) {
    lua_pushboolean(L, 0);
    return 1;
  }
  gr_greenlet *me = gr_can_block(L, S, at);
  gr_list_append(&list->waiters, &me->w.node);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &list->what, false, 0, wait_k);
}

/* Copy the values above the list to the first waiter and wake it. */
static void wake_first(lua_State *L, gr_state *S, waitlist *list) {
  gr_node *n = gr_list_first(&list->waiters);
  gr_greenlet *g = (gr_greenlet *)(void *)gr_container(n, gr_waiter, node);
  lua_State *to = gr_blocked_thread(S, g);
  int values = lua_gettop(L) - 1;
  luaL_argcheck(L, values <= 250, 1, "too many values for a waiter");
  luaL_checkstack(L, values, NULL);
  if (!lua_checkstack(to, values + 1)) /* wait_k adds one */
    luaL_error(L, "not enough memory");
  for (int i = 2; i <= values + 1; i++) lua_pushvalue(L, i);
  if (to != L) lua_xmove(L, to, values);
  g->w.values = (uint8_t)values;
  gr_wake(&S->hub, &g->w, GR_WOKEN);
}

static int wake(lua_State *L) {
  waitlist *list = check_list(L);
  bool any = !gr_list_empty(&list->waiters);
  if (any) wake_first(L, gr_state_of(L), list);
  lua_pushboolean(L, any);
  return 1;
}

static int wake_all(lua_State *L) {
  waitlist *list = check_list(L);
  lua_Integer n = 0;
  for (; !gr_list_empty(&list->waiters); n++)
    wake_first(L, gr_state_of(L), list);
  lua_pushinteger(L, n);
  return 1;
}

static int length(lua_State *L) {
  waitlist *list = check_list(L);
  lua_Integer n = 0;
  for (gr_node *i = list->waiters.next; i != &list->waiters; i = i->next) n++;
  lua_pushinteger(L, n);
  return 1;
}

int luaopen_greenlua_core_waitlist(lua_State *L) {
  static const luaL_Reg funcs[] = {{"new", new}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"wait", wait}, {"wake", wake}, {"wake_all", wake_all}, {NULL, NULL}};
  static const luaL_Reg meta[] = {{"__len", length}, {NULL, NULL}};
  gr_state *S = gr_state_open(L);
  luaL_newmetatable(L, class_name);
  gr_setfuncs(L, S, meta);
  luaL_newlibtable(L, methods);
  gr_setfuncs(L, S, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlibtable(L, funcs);
  gr_setfuncs(L, S, funcs);
  return 1;
}
