/* greenlua.core.waitlist: parked greenlets in the order of their arrival, for
 * Lua modules to build on.
 *
 *   list:wait([timeout [, tag]]) true and the waker's values, or false
 *   list:await([timeout])        the waker's values; raises a Timeout
 *   list:first()                 the tag with which the first waits
 *   list:wake([...])             wake the first with values; false if empty
 *   list:wake_all([...])         wake those who wait now; how many
 *   #list                        how many wait
 *
 * and two functions for those modules: call a rawlink, check a timeout.
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

enum { LIST = 1, TIMEOUT, TAG };      /* on a waiter's stack */
enum { NAME = 1, GIVE_BACK, VALUES }; /* user values */

/* Call the list's function with the values that a waker left. */
static void give_back(void *by, gr_waiter *w) {
  lua_State *L = by;
  gr_greenlet *g = (gr_greenlet *)(void *)w;
  lua_State *from = gr_blocked_thread(gr_state_peek(L), g);
  luaL_checkstack(L, w->values + LUA_MINSTACK, NULL);
  lua_getiuservalue(from, LIST, GIVE_BACK);
  lua_insert(from, -w->values - 1);
  if (from != L) lua_xmove(from, L, w->values + 1);
  lua_call(L, w->values, 0);
}

/* new(name [, give_back]): what its waiters are said to wait for; a function
 * that gets what was handed to a waiter that is closed before it runs */
static int new (lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_settop(L, 2);
  bool gives = !lua_isnil(L, 2);
  if (gives) luaL_checktype(L, 2, LUA_TFUNCTION);
  waitlist *list = lua_newuserdatauv(L, sizeof *list, VALUES - 1);
  gr_list_init(&list->waiters);
  /* `name` is alive as its user value. */
  list->what = (gr_wait){.name = name, .give_back = gives ? give_back : NULL};
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, NAME);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, GIVE_BACK);
  luaL_setmetatable(L, class_name);
  return 1;
}

static int wait_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  if (gr_woken(L, S, ctx, wait_k) == GR_TIMEDOUT) {
    gr_timed_out(L, TIMEOUT);
    lua_pushboolean(L, 0);
    return 1;
  }
  int n = S->hub.current->values;
  lua_pushboolean(L, 1);
  lua_insert(L, -n - 1);
  return n + 1;
}

static int park(lua_State *L, gr_state *S, waitlist *list, double at,
                lua_KFunction k) {
  gr_greenlet *me = gr_can_block(L, S, at);
  gr_list_append(&list->waiters, &me->w.node);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &list->what, false, 0, k);
}

static int wait(lua_State *L) {
  gr_state *S = gr_state_of(L);
  waitlist *list = check_list(L);
  double at = gr_check_deadline(L, S, TIMEOUT);
  lua_settop(L, TAG);
  if (at > 0) return park(L, S, list, at, wait_k);
  lua_pushboolean(L, 0);
  return 1;
}

static int raise_timeout(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_timed_out(L, TIMEOUT);
  gr_timeout *t = gr_timeout_new(L, S, lua_tonumber(L, TIMEOUT));
  t->fired = true;
  return gr_raise(L, S, t->target);
}

static int await_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  if (gr_woken(L, S, ctx, await_k) == GR_TIMEDOUT) return raise_timeout(L);
  return S->hub.current->values;
}

static int await(lua_State *L) {
  gr_state *S = gr_state_of(L);
  waitlist *list = check_list(L);
  double at = gr_check_deadline(L, S, TIMEOUT);
  lua_settop(L, TAG);
  return at > 0 ? park(L, S, list, at, await_k) : raise_timeout(L);
}

static gr_greenlet *first_of(const waitlist *list) {
  gr_node *n = gr_list_first(&list->waiters);
  return (gr_greenlet *)(void *)gr_container(n, gr_waiter, node);
}

static int first(lua_State *L) {
  waitlist *list = check_list(L);
  if (gr_list_empty(&list->waiters)) return lua_pushnil(L), 1;
  lua_State *from = gr_blocked_thread(gr_state_of(L), first_of(list));
  lua_pushvalue(from, TAG);
  if (from != L) lua_xmove(from, L, 1);
  return 1;
}

/* Copy the values above the list to the first waiter and wake it. */
static void wake_first(lua_State *L, gr_state *S, waitlist *list) {
  gr_greenlet *g = first_of(list);
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

/* call(f, ...) -> as pcall; by the hub, so it cannot block. */
static int call_as_hub(lua_State *L) {
  luaL_checkany(L, 1);
  int status = gr_call_as_hub(L, gr_state_of(L), lua_gettop(L) - 1, 0);
  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, 1);
  return lua_gettop(L);
}

/* check(timeout): raise it if it is a Timeout that has expired */
static int check(lua_State *L) {
  gr_check_deadline(L, gr_state_of(L), 1);
  return 0;
}

int luaopen_greenlua_core_waitlist(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"new", new}, {"call", call_as_hub}, {"check", check}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"wait", wait},         {"await", await},
                                     {"first", first},       {"wake", wake},
                                     {"wake_all", wake_all}, {NULL, NULL}};
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
