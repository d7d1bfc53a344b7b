#include "state.h"

#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "greenlet.h"
#include "limit/limit.h"

static const char key; /* of the state in the registry */
static const char watchers_key;

void gr_push_table(lua_State *L, gr_state *S, int t) {
  lua_pushvalue(S->L, t);
  lua_xmove(S->L, L, 1);
}

void gr_push_policy(lua_State *L, gr_state *S, int p) {
  lua_rawgeti(S->L, GR_T_POLICY, p);
  lua_xmove(S->L, L, 1);
}

void gr_set_closer(lua_State *L, const void *closer_key, lua_CFunction close) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, closer_key) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, close);
    lua_setfield(L, -2, "__close");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, closer_key);
  }
  lua_setmetatable(L, -2);
}

void gr_setfuncs(lua_State *L, gr_state *S, const luaL_Reg *funcs) {
  lua_pushlightuserdata(L, S);
  luaL_setfuncs(L, funcs, 1);
}

/* A finalizer: the Lua state is being closed. */
static int state_gc(lua_State *L) {
  gr_state *S = lua_touserdata(L, 1);
  if (!S->hub.open) return 0;
  if (S->main)
    gr_state_close(L, S);
  else /* there was no memory for all of it */
    gr_hub_fini(&S->hub);
  return 0;
}

static void new_table(lua_State *L, gr_state *S, int room, const char *mode) {
  lua_createtable(L, room, 0);
  if (mode) {
    lua_createtable(L, 0, 1);
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
  }
  lua_xmove(L, S->L, 1);
}

/* The greenlet that stands for the program itself. */
static void make_main(lua_State *L, gr_state *S) {
  gr_greenlet *g = lua_newuserdatauv(L, sizeof *g, 1);
  gr_greenlet_init(g);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  g->L = S->host = lua_tothread(L, -1);
  lua_setiuservalue(L, -2, 1);
  g->w.state = GR_RUNNING;
  g->w.flags = GR_STARTED;
  lua_xmove(L, S->L, 1);
  lua_rawseti(S->L, GR_T_LIVE, 0);
  S->main = g;
  S->hub.main = S->hub.current = &g->w;
}

/* Until the Lua half brings a class, greenlets have a metatable at least. */
static void make_class(lua_State *L, gr_state *S) {
  lua_createtable(L, 1, 1);
  gr_mark_class(L);
  lua_pushliteral(L, "Greenlet");
  lua_setfield(L, -2, "__name");
  lua_xmove(L, S->L, 1);
  lua_rawseti(S->L, GR_T_POLICY, GR_P_GREENLET);
}

#ifdef GR_TESTING
/* Whatever is not anchored shall be gone by the next pass; but with a large
 * heap not in each, so that the program spends half of its time on other
 * things. */
static void collect(gr_hub *hub) {
  static _Thread_local double rest;
  gr_state *S = (gr_state *)(void *)hub;
  double now = gr_now();
  if (now < rest) return;
  lua_gc(S->talk, LUA_GCCOLLECT); /* not on S->L: finalizers are Lua code */
  double end = gr_now();
  rest = end + (end - now);
}
#endif

gr_state *gr_state_peek(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
  gr_state *S = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return S;
}

void gr_state_watch(lua_State *L, lua_CFunction f) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &watchers_key) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &watchers_key);
  }
  lua_pushcfunction(L, f);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

/* NULL: it is about to be closed. */
static void tell_watchers(lua_State *L, gr_state *S) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &watchers_key) == LUA_TTABLE) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, -1, i);
      if (S) lua_pushlightuserdata(L, S);
      lua_call(L, S != NULL, 0);
    }
  }
  lua_pop(L, 1);
}

gr_state *gr_state_new(lua_State *L, const gr_hub_options *o) {
  gr_state *S = lua_newuserdatauv(L, sizeof *S, 2);
  memset(S, 0, sizeof *S);
  lua_State *T = lua_newthread(L);
  lua_setiuservalue(L, -2, 1);
  S->talk = lua_newthread(L);
  lua_setiuservalue(L, -2, 2);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, state_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  if (gr_hub_open(&S->hub, o))
    luaL_error(L, "cannot open the hub: %s", strerror(errno));
  S->hub.resume = gr_greenlet_resume;
#ifdef GR_TESTING
  S->hub.before_pass = collect;
#endif
  gr_list_init(&S->expired);
  S->L = T;
  for (int t = GR_T_LIVE; t <= GR_T_END; t++)
    new_table(L, S, t == GR_T_SPARE ? GR_MAX_SPARE : 0,
              t == GR_T_EXTRA || t == GR_T_RAISED || t == GR_T_ACCOUNT ? "k"
                                                                       : NULL);
  lua_pushnil(T);
  if (!lua_checkstack(T, LUA_MINSTACK)) luaL_error(L, "not enough memory");
  make_class(L, S);
  make_main(L, S);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
  tell_watchers(L, S);
  return S;
}

gr_state *gr_state_open(lua_State *L) {
  gr_state *S = gr_state_peek(L);
  return S ? S
           : gr_state_new(L,
                          &(gr_hub_options){.at_exit = true, .signals = true});
}

static void close_greenlet(gr_state *S, gr_greenlet *g) {
  lua_State *co = g->L;
  gr_waiter *w = &g->w, *before = S->hub.current;
  bool running = w->state == GR_RUNNING;
  gr_node_remove(&w->node);
  gr_timers_remove(&S->hub.timers, &w->timer);
  if (!co || g == S->main) return;
  gr_hub_abandon(&S->hub, w);
  w->state = GR_RUNNING;
  S->hub.current = w;
  gr_hub_begin_run(&S->hub, w);
  gr_close_threads(S, co);
  gr_hub_begin_run(&S->hub, NULL);
  S->hub.current = before;
  w->state = running ? GR_RUNNING : GR_DEAD;
}

/* In slots' order, which is close to that of their starts; main is number 0. */
static void close_all(lua_State *L, gr_state *S) {
  gr_settle_coroutine(S, true);
  for (uint32_t i = 0; i <= S->nslots; i++) {
    if (lua_rawgeti(S->L, GR_T_LIVE, i) == LUA_TUSERDATA) {
      lua_xmove(S->L, L, 1); /* it stays alive, and off S->L */
      close_greenlet(S, lua_touserdata(L, -1));
      lua_pushnil(S->L);
      lua_rawseti(S->L, GR_T_LIVE, i);
    } else {
      lua_xmove(S->L, L, 1);
    }
    lua_pop(L, 1);
  }
}

/* The greenlet in a slot, if C waits in it in place, which is told first, so
 * that it frees what it holds. */
static void release(lua_State *L, gr_state *S, uint32_t slot) {
  lua_rawgeti(S->L, GR_T_LIVE, slot);
  lua_xmove(S->L, L, 1);
  gr_greenlet *g = lua_touserdata(L, -1);
  int at = lua_gettop(L);
  if (g && g->w.stack && g->w.what && g->w.what->in_place) {
    lua_pushnil(L);
    gr_greenlet_close(L, S, at);
    if (g->w.state == GR_READY) gr_hub_run_one(&S->hub, &g->w);
  }
  lua_settop(L, at - 1);
}

static void release_in_place(lua_State *L, gr_state *S) {
  gr_hub *hub = &S->hub;
  if (hub->current != &S->main->w || hub->passing) return;
  S->releasing = true;
  for (uint32_t i = 1; i <= S->nslots; i++) release(L, S, i);
  S->releasing = false;
}

void gr_state_close(lua_State *L, gr_state *S) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  tell_watchers(L, NULL);
  release_in_place(L, S);
  S->closing = true;
  if (S->shell) gr_shell_closing(L, S);
  close_all(L, S);
  if (S->shell) gr_shell_closed(L, S);
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
  gr_limits_close(S);
  gr_hub_fini(&S->hub);
  S->hub.current = NULL; /* the tables stay for finalizers to come */
  gr_free(S->slots);
  S->slots = NULL;
}

void gr_set_class(lua_State *L, const gr_state *S, int object) {
  object = lua_absindex(L, object);
  if (S->no_finalizers && lua_istable(L, -1)) {
    lua_pushliteral(L, "__gc");
    if (lua_rawget(L, -2) != LUA_TNIL)
      luaL_error(L, "a sandbox has no finalizers (__gc)");
    lua_pop(L, 1);
  }
  lua_setmetatable(L, object);
}

void gr_need_loop(lua_State *L, const gr_state *S, const char *module) {
  gr_check_open(L, S);
  if (!S->hub.loop)
    luaL_error(L, "%s needs an event loop, and the host runs this hub without",
               module);
}

void gr_check_open(lua_State *L, const gr_state *S) {
  if (!S->hub.open)
    luaL_error(L, "the hub is closed: the program has come to its end");
}
