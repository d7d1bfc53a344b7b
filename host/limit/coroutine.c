/* Who runs: coroutine.resume, wrap and close that say so.
 *
 * They do what Lua's do.  A signal handler looks at what they note, so that is
 * in order at each instruction. */

#include "limit.h"

lua_State *gr_enter_coroutine(gr_state *S, lua_State *co) {
  gr_stack *s = S->hub.stack;
  lua_State *before = s->inner;
  __atomic_store_n(&s->inner, co, __ATOMIC_RELAXED);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  return before;
}

static int reset(gr_state *S, lua_State *co) {
  gr_hook_again(S, co);
  lua_State *before = gr_enter_coroutine(S, co);
  int status = lua_resetthread(co);
  gr_enter_coroutine(S, before);
  return status;
}

static int stop(lua_State *from, gr_state *S) {
  gr_limit_stop(from);
  lua_settop(from, 0);
  gr_limit_explain(S, from);
  return lua_error(from);
}

/* Once the time is used up nobody goes on, here or there. */
static int resume(lua_State *co, lua_State *from, gr_state *S, int nargs,
                  int *n) {
  if (S->limits && gr_limit_spent(S)) return stop(from, S);
  lua_State *before = gr_enter_coroutine(S, co);
  int status = lua_resume(co, from, nargs, n);
  gr_enter_coroutine(S, before);
  if (!S->limits || !gr_limit_spent(S)) return status;
  if (status == LUA_YIELD) reset(S, co);
  return stop(from, S);
}

/* Of a greenlet that waits for its turn; its own way out is by the hub. */
static bool gives_way(gr_state *S, lua_State *co) {
  gr_node *ready = &S->hub.ready;
  if (lua_status(co) != LUA_YIELD || !gr_limit_hooked(co)) return false;
  for (gr_node *n = ready->next; n != ready; n = n->next) {
    gr_greenlet *g = gr_container(n, gr_greenlet, w.node);
    if (g->L == co) return g->w.what == &gr_wait_slice;
  }
  return false;
}

/* The arguments lie on top of L.  How many results lie there then, or -1: an
 * error. */
static int pass(lua_State *L, lua_State *co, gr_state *S, int nargs) {
  int n, status;
  if (!lua_checkstack(co, nargs)) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  if (gives_way(S, co)) {
    lua_pushliteral(L, "cannot resume a greenlet: it gives way to others");
    return -1;
  }
  lua_xmove(L, co, nargs);
  status = resume(co, L, S, nargs, &n);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(co, L, 1);
    return -1;
  }
  if (!lua_checkstack(L, n + 1)) {
    lua_pop(co, n);
    lua_pushliteral(L, "too many results to resume");
    return -1;
  }
  lua_xmove(co, L, n);
  return n;
}

static lua_State *check_thread(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  if (!co) luaL_typeerror(L, 1, "coroutine");
  return co;
}

/* The first upvalue of all is the state, but that of wrapped ones. */
static int co_resume(lua_State *L) {
  lua_State *co = check_thread(L);
  int n = pass(L, co, gr_state_of(L), lua_gettop(L) - 1);
  lua_pushboolean(L, n >= 0);
  lua_insert(L, n < 0 ? -2 : -(n + 1));
  return n < 0 ? 2 : n + 1;
}

/* Of one that has failed the variables are closed, and the error says where it
 * was called. */
static int wrapped(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  gr_state *S = lua_touserdata(L, lua_upvalueindex(2));
  int n = pass(L, co, S, lua_gettop(L));
  if (n >= 0) return n;
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) {
    status = reset(S, co);
    lua_xmove(co, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int co_wrap(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  lua_pushlightuserdata(L, gr_state_of(L));
  lua_pushcclosure(L, wrapped, 2);
  return 1;
}

/* Has it not begun, does it wait, or has it ended? */
static bool stands(lua_State *L, lua_State *co) {
  lua_Debug ar;
  if (co == L) return false;
  return lua_status(co) != LUA_OK || !lua_getstack(co, 0, &ar);
}

/* Upvalue 2: Lua's own, for what it refuses. */
static int co_close(lua_State *L) {
  lua_State *co = check_thread(L);
  if (!stands(L, co)) {
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
  }
  int status = reset(gr_state_of(L), co);
  lua_pushboolean(L, status == LUA_OK);
  if (status == LUA_OK) return 1;
  lua_xmove(co, L, 1);
  return 2;
}

static void replace(lua_State *L, gr_state *S, const char *name,
                    lua_CFunction f) {
  lua_pushlightuserdata(L, S);
  if (lua_getfield(L, -2, name), lua_tocfunction(L, -1) == f) {
    lua_pop(L, 2);
    return;
  }
  lua_pushcclosure(L, f, 2);
  lua_setfield(L, -2, name);
}

void gr_track_coroutines(lua_State *L, gr_state *S) {
  int top = lua_gettop(L);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_istable(L, -1) && lua_getfield(L, -1, "coroutine") == LUA_TTABLE) {
    replace(L, S, "resume", co_resume);
    replace(L, S, "wrap", co_wrap);
    replace(L, S, "close", co_close);
  }
  lua_settop(L, top);
}
