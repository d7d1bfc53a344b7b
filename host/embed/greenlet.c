/* greenlua.h: handles of greenlets. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "green.h"
#include "pass.h"

/* --- handles -------------------------------------------------------------- */

/* A greenlet has one handle at most, which GR_T_HELD finds by its address. */
static green_greenlet *find(gr_state *S, const gr_greenlet *g) {
  if (!g->held) return NULL;
  lua_rawgetp(S->L, GR_T_HELD, g);
  green_greenlet *h = lua_touserdata(S->L, -1);
  lua_pop(S->L, 1);
  return h;
}

/* The table has both keys, so this takes no memory. */
static void unlink_handle(gr_state *S, green_greenlet *h) {
  h->g->held = false;
  lua_pushnil(S->L);
  lua_rawsetp(S->L, GR_T_HELD, h->g);
  lua_pushnil(S->L);
  lua_rawsetp(S->L, GR_T_HELD, h);
  h->g = NULL;
}

static void drop_reference(green_greenlet *h) {
  if (--h->refs) return;
  gr_node_remove(&h->node);
  if (h->g) unlink_handle(h->state, h);
  gr_shell_release(h->hub);
  gr_free(h);
}

/* The handle of the greenlet on top of L, which stays there, with a reference
 * more.  Raises for want of memory. */
static green_greenlet *handle_of(lua_State *L, gr_state *S, green_hub *hub) {
  gr_greenlet *g = lua_touserdata(L, -1);
  green_greenlet *h = find(S, g);
  if (h) return h->refs++, h;
  gr_push_table(L, S, GR_T_HELD);
  h = gr_calloc(sizeof *h);
  if (!h) luaL_error(L, "not enough memory");
  h->hub = gr_shell_retain(hub);
  h->state = S;
  gr_list_append(&hub->held, &h->node);
  lua_pushlightuserdata(L, h); /* if this fails, it goes with the shell */
  lua_rawsetp(L, -2, g);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, h);
  lua_pop(L, 1);
  h->g = g;
  h->refs = 1;
  g->held = true;
  return h;
}

green_greenlet *green_retain(green_greenlet *g) {
  if (g) g->refs++;
  return g;
}

void green_release(green_greenlet *g) {
  if (!g || gr_shell_here(g->hub) == GREEN_ETHREAD) return;
  drop_reference(g);
}

/* --- ends ----------------------------------------------------------------- */

/* (handle): the results, or the error, are those of its greenlet. */
static int call_on_done(lua_State *L) {
  green_greenlet *h = lua_touserdata(L, 1);
  gr_state *S = h->state;
  int n = 0;
  lua_settop(L, 0);
  if (h->g) {
    gr_push_table(L, S, GR_T_HELD);
    lua_rawgetp(L, -1, h);
    lua_replace(L, 1);
    if (h->status == GREEN_OK)
      n = gr_push_values(L, 1);
    else
      n = (lua_getiuservalue(L, 1, 1), 1);
  }
  h->on_done(h, L, n, h->status, h->ud);
  return 0;
}

bool gr_held_observes(gr_state *S, gr_greenlet *g) {
  green_greenlet *h = find(S, g);
  return h && h->on_done;
}

void gr_held_end(gr_state *S, gr_greenlet *g) {
  green_greenlet *h = find(S, g);
  if (!h) return;
  h->ended = true;
  h->status = g->w.flags & GR_FAILED   ? GREEN_ELUA
              : g->w.flags & GR_EXITED ? GREEN_EKILLED
                                       : GREEN_OK;
  if (!h->on_done) return;
  lua_pushcfunction(S->talk, call_on_done);
  lua_pushlightuserdata(S->talk, h);
  gr_talk(S, g, 1);
  h->on_done = NULL;
  drop_reference(h);
}

/* It may release any of them. */
void gr_held_close_all(green_hub *hub, lua_State *L) {
  gr_list all;
  gr_list_init(&all);
  gr_list_prepend_all(&all, &hub->held);
  while (!gr_list_empty(&all)) {
    gr_node *n = gr_list_first(&all);
    green_greenlet *h = gr_container(n, green_greenlet, node);
    gr_node_remove(n);
    gr_list_append(&hub->held, n);
    if (!h->ended) h->status = GREEN_ECLOSED;
    h->g = NULL;
    if (!h->refs++) h->on_done = NULL;
    if (h->on_done) {
      lua_pushcfunction(L, call_on_done);
      lua_pushlightuserdata(L, h);
      if (lua_pcall(L, 1, 0, 0)) lua_pop(L, 1);
      h->on_done = NULL;
      h->refs--;
    }
    drop_reference(h);
  }
}

/* --- spawning ------------------------------------------------------------- */

typedef struct task { /* for a protected call */
  gr_state *S;
  green_hub *hub;
  const green_options *o;
  green_greenlet *h;
  const char *why;
  int (*f)(green_greenlet *, void *);
  void *ud;
  int result;
} task;

static void set_name(lua_State *L, gr_state *S, const char *name) {
  gr_push_extra(L, S, -1, true);
  lua_createtable(L, 0, 1);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "name");
  lua_setfield(L, -2, "fields");
  lua_pop(L, 1);
}

static void limit(lua_State *L, const task *t) {
  const green_options *o = t->o;
  if (o->time_slice < 0 || o->cpu_budget < 0)
    luaL_error(L, "a limit of time is not negative");
  if (gr_limits_open(L, t->S, t->hub->config.time_signal))
    luaL_error(L, "cannot limit time: %s", strerror(errno));
  gr_limit_greenlet(L, t->S, o->time_slice, o->cpu_budget);
}

/* (task, function, arguments ...) */
static int spawn(lua_State *L) {
  task *t = lua_touserdata(L, 1);
  gr_state *S = t->S;
  if (!t->o) luaL_error(L, "green_options.size is not that of the struct");
  if (!lua_isfunction(L, 2) && luaL_getmetafield(L, 2, "__call") == LUA_TNIL)
    luaL_error(L, "cannot spawn a %s value", luaL_typename(L, 2));
  if (!lua_isfunction(L, 2)) lua_pop(L, 1);
  gr_greenlet *g = gr_greenlet_new(L, S, lua_gettop(L) - 2);
  if (t->o->name) set_name(L, S, t->o->name);
  t->h = handle_of(L, S, t->hub);
  if (t->o->time_slice || t->o->cpu_budget) limit(L, t);
  if (t->o->delay > 0)
    gr_greenlet_start_at(L, S, g, gr_hub_now(&S->hub) + t->o->delay);
  else
    gr_greenlet_start(L, S, g);
  return 0;
}

green_greenlet *green_spawn(lua_State *L, int nargs, const green_options *o) {
  gr_state *S = gr_state_peek(L);
  green_hub *hub = S ? gr_shell_of(S) : NULL;
  int code = gr_shell_here(hub);
  if (code == GREEN_OK && !lua_checkstack(L, LUA_MINSTACK)) code = GREEN_ENOMEM;
  if (code) {
    if (code != GREEN_ETHREAD) lua_pop(L, nargs + 1);
    return NULL;
  }
  green_options options = {.size = sizeof options};
  task t = {.S = S, .hub = hub, .o = &options};
  if (o && !gr_take_struct(&options, sizeof options, o)) t.o = NULL;
  lua_pushcfunction(L, spawn);
  lua_pushlightuserdata(L, &t);
  lua_rotate(L, -nargs - 3, 2);
  if (lua_pcall(L, nargs + 2, 0, 0)) {
    if (t.h) drop_reference(t.h);
    gr_shell_fail(hub, L, GREEN_ELUA);
    return NULL;
  }
  if (options.on_done) {
    t.h->on_done = options.on_done;
    t.h->ud = options.ud;
    t.h->refs++;
  }
  if (S->hub.keeps_loop) gr_hub_keep_loop(&S->hub);
  return t.h;
}

/* --- the living ----------------------------------------------------------- */

/* As the hub's own business: a Lua error is a code. */
static int protect(green_hub *hub, lua_CFunction f, task *t) {
  lua_State *T = hub->S->talk;
  if (!lua_checkstack(T, LUA_MINSTACK)) return GREEN_ENOMEM;
  t->S = hub->S;
  t->hub = hub;
  lua_pushcfunction(T, f);
  lua_pushlightuserdata(T, t);
  int status = lua_pcall(T, 1, 0, 0);
  if (status == LUA_OK) return GREEN_OK;
  return gr_shell_fail(hub, T,
                       status == LUA_ERRMEM ? GREEN_ENOMEM : GREEN_ELUA);
}

/* (task): t->h is a handle of the running one. */
static int find_self(lua_State *L) {
  task *t = lua_touserdata(L, 1);
  gr_push_greenlet(L, t->S, (gr_greenlet *)(void *)t->S->hub.current);
  t->h = handle_of(L, t->S, t->hub);
  return 0;
}

green_greenlet *green_self(lua_State *L) {
  gr_state *S = gr_state_peek(L);
  green_hub *hub = S ? gr_shell_of(S) : NULL;
  task t = {.h = NULL};
  if (gr_shell_here(hub)) return NULL;
  gr_waiter *w = S->hub.current;
  if (!w || w == &S->main->w) return NULL;
  return protect(hub, find_self, &t) ? NULL : t.h;
}

static int visit(lua_State *L) {
  task *t = lua_touserdata(L, 1);
  gr_state *S = t->S;
  for (uint32_t i = 1; i <= S->nslots && !t->result; i++) {
    lua_settop(L, 1);
    gr_push_table(L, S, GR_T_LIVE);
    if (lua_rawgeti(L, -1, i) != LUA_TUSERDATA) continue;
    t->h = handle_of(L, S, t->hub);
    t->result = t->f(t->h, t->ud);
    drop_reference(t->h);
  }
  return 0;
}

int green_each(green_hub *hub, int (*f)(green_greenlet *, void *), void *ud) {
  int code = gr_shell_here(hub);
  if (code) return code;
  task t = {.f = f, .ud = ud};
  hub->busy++;
  code = protect(hub, visit, &t);
  hub->busy--;
  return code ? code : t.result;
}

/* --- one of them ---------------------------------------------------------- */

/* Push its object; nil if its hub is closed. */
static void push_object(lua_State *L, green_greenlet *h) {
  if (!h->g) {
    lua_pushnil(L);
    return;
  }
  gr_push_table(L, h->state, GR_T_HELD);
  lua_rawgetp(L, -1, h);
  lua_remove(L, -2);
}

static int check(const green_greenlet *h) {
  if (!h) return GREEN_EINVAL;
  int code = gr_shell_here(h->hub);
  return code == GREEN_OK && !h->g ? GREEN_ECLOSED : code;
}

int green_push(lua_State *L, green_greenlet *h) {
  int code = check(h);
  if (code == GREEN_ETHREAD) return code;
  if (!lua_checkstack(L, 3)) return GREEN_ENOMEM;
  if (code == GREEN_OK)
    push_object(L, h);
  else
    lua_pushnil(L);
  return code;
}

static void push_exit(lua_State *L, gr_state *S, const char *why) {
  if (why) {
    lua_pushstring(L, why);
    return;
  }
  gr_push_policy(L, S, GR_P_EXIT);
  if (!lua_isnil(L, -1)) return;
  lua_pop(L, 1);
  lua_pushliteral(L, "killed");
}

static int interrupt(lua_State *L) {
  task *t = lua_touserdata(L, 1);
  push_object(L, t->h);
  push_exit(L, t->S, t->why);
  gr_interrupt(L, t->S, 2);
  return 0;
}

int green_kill(green_greenlet *h, const char *why) {
  task t = {.h = h, .why = why};
  int code = check(h);
  return code ? code : protect(h->hub, interrupt, &t);
}

static int close_it(lua_State *L) {
  task *t = lua_touserdata(L, 1);
  push_object(L, t->h);
  push_exit(L, t->S, NULL);
  gr_greenlet_close(L, t->S, 2);
  return 0;
}

int green_end(green_greenlet *h) {
  task t = {.h = h};
  int code = check(h);
  if (code) return code;
  if (h->g->w.state == GR_RUNNING) return GREEN_EBUSY;
  return protect(h->hub, close_it, &t);
}

static int copy_name(lua_State *L) {
  task *t = lua_touserdata(L, 1);
  green_info *info = t->ud;
  push_object(L, t->h);
  gr_push_name(L, t->S, 2);
  snprintf(info->name, sizeof info->name, "%s", lua_tostring(L, -1));
  return 0;
}

static int inspect(green_greenlet *h, green_info *info) {
  *info = (green_info){.state = GREEN_DEAD, .status = h->status};
  gr_greenlet *g = h->g;
  gr_account *a = g ? gr_account_of(h->state, g) : NULL;
  if (a) info->cpu_used = a->used;
  if (!g || g->w.state == GR_DEAD) return GREEN_OK;
  task t = {.h = h, .ud = info};
  info->state = (green_state)g->w.state;
  info->id = g->slot;
  if (g->w.state == GR_PARKED) info->waits = g->w.what->name;
  return protect(h->hub, copy_name, &t);
}

int green_inspect(green_greenlet *h, green_info *info) {
  green_info found;
  if (!h || !info) return GREEN_EINVAL;
  if (gr_shell_here(h->hub) == GREEN_ETHREAD) return GREEN_ETHREAD;
  int code = inspect(h, &found);
  return gr_give_struct(info, &found, sizeof found) ? code : GREEN_EINVAL;
}

/* The traces of the coroutines from `co` to `last`, that one first. */
static void push_trace(lua_State *L, lua_State *co, lua_State *last) {
  lua_State *inner = co == last ? NULL : gr_resumee(co);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (inner) push_trace(L, inner, last);
  luaL_traceback(L, co, NULL, 0);
  if (!inner) return;
  lua_pushliteral(L, "\n");
  lua_insert(L, -2);
  lua_concat(L, 3);
}

/* (greenlet, state) -> trace */
static int trace(lua_State *L) {
  gr_greenlet *g = lua_touserdata(L, 1);
  gr_state *S = lua_touserdata(L, 2);
  if (g->w.state == GR_DEAD) {
    gr_push_extra(L, S, 1, false);
    if (lua_istable(L, -1)) lua_getfield(L, -1, "traceback");
    if (!lua_isstring(L, -1)) lua_pushliteral(L, "");
  } else if (!g->L) {
    lua_pushliteral(L, "");
  } else {
    push_trace(L, g->L, gr_blocked_thread(S, g));
  }
  return 1;
}

int green_traceback(lua_State *L, green_greenlet *h) {
  int code = check(h);
  if (code) return code;
  if (!lua_checkstack(L, LUA_MINSTACK)) return GREEN_ENOMEM;
  lua_pushcfunction(L, trace);
  push_object(L, h);
  lua_pushlightuserdata(L, h->state);
  if (lua_pcall(L, 2, 1, 0)) return gr_shell_fail(h->hub, L, GREEN_ENOMEM);
  return GREEN_OK;
}

int green_count(green_hub *hub, green_stats *stats) {
  int code = gr_shell_here(hub);
  if (code) return code;
  if (!stats) return GREEN_EINVAL;
  gr_state *S = hub->S;
  size_t k = (size_t)lua_gc(S->host, LUA_GCCOUNT),
         b = (size_t)lua_gc(S->host, LUA_GCCOUNTB);
  green_stats now = {.living = S->living,
                     .ended = S->ended,
                     .timers = S->hub.timers.count,
                     .descriptors = S->hub.watched,
                     .stacks = S->hub.nstacks,
                     .lua_bytes = k * 1024 + b,
                     .lua_peak = hub->memory.peak,
                     .preempted = S->limits ? S->limits->preemptions : 0};
  return gr_give_struct(stats, &now, sizeof now) ? GREEN_OK : GREEN_EINVAL;
}
