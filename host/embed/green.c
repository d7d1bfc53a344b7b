/* greenlua.h: opening and closing. */
#include "green.h"

#include <stdio.h>
#include <stdlib.h>

#include "alloc.h"
#include "pass.h"

const char *green_strerror(int code) {
  static const char *const words[] = {"no error",
                                      "timeout",
                                      "interrupted",
                                      "closed",
                                      "not enough memory",
                                      "invalid argument",
                                      "called in another thread than the hub's",
                                      "called from inside the hub",
                                      "cannot block here",
                                      "Lua error",
                                      "the greenlets would wait forever",
                                      "killed",
                                      "stopped",
                                      "a system call failed"};
  if (code > 0) return "more to do";
  if (code < GREEN_ESYS) return "unknown error";
  return words[-code];
}

/* --- the shell ------------------------------------------------------------ */

static green_hub *new_shell(void) {
  green_hub *hub = gr_calloc(sizeof *hub);
  if (!hub) return NULL;
  hub->refs = 1;
  hub->thread = pthread_self();
  pthread_mutex_init(&hub->lock, NULL);
  gr_list_init(&hub->held);
  return hub;
}

green_hub *gr_shell_retain(green_hub *hub) {
  __atomic_fetch_add(&hub->refs, 1, __ATOMIC_RELAXED);
  return hub;
}

void gr_shell_release(green_hub *hub) {
  if (__atomic_sub_fetch(&hub->refs, 1, __ATOMIC_ACQ_REL)) return;
  pthread_mutex_destroy(&hub->lock);
  gr_free(hub);
}

/* The state holds one reference until it closes. */
static void bind(green_hub *hub, gr_state *S) {
  S->shell = gr_shell_retain(hub);
  hub->S = S;
  hub->L = S->host;
}

green_hub *gr_shell_of(gr_state *S) {
  if (S->shell) return S->shell;
  green_hub *hub = new_shell();
  if (!hub) return NULL;
  hub->thread = S->hub.thread;
  bind(hub, S);
  gr_shell_release(hub);
  return hub;
}

int gr_shell_here(const green_hub *hub) {
  if (!hub) return GREEN_EINVAL;
  if (!pthread_equal(hub->thread, pthread_self())) return GREEN_ETHREAD;
  return hub->S ? GREEN_OK : GREEN_ECLOSED;
}

int gr_shell_check(const green_hub *hub) {
  int code = gr_shell_here(hub);
  if (code) return code;
  gr_state *S = hub->S;
  if (S->hub.current != &S->main->w || S->hub.passing || S->hub.stepping ||
      hub->busy)
    return GREEN_EBUSY;
  return lua_gc(S->host, LUA_GCCOUNT) < 0 ? GREEN_EBUSY : GREEN_OK;
}

int gr_shell_fail(green_hub *hub, lua_State *L, int code) {
  const char *text = lua_tostring(L, -1);
  snprintf(hub->message, sizeof hub->message, "%s",
           text ? text : "(error object)");
  lua_pop(L, 1);
  return code;
}

/* --- hooks ---------------------------------------------------------------- */

bool gr_report_to_host(gr_state *S, const char *text) {
  green_hub *hub = S->shell;
  if (!hub || !hub->config.on_error) return false;
  hub->config.on_error(hub, text, hub->config.ud);
  return true;
}

/* print(...): after the end of the hub, nowhere. */
static int print(lua_State *L) {
  gr_state *S = gr_state_peek(L);
  green_hub *hub = S ? S->shell : NULL;
  luaL_Buffer b;
  int n = lua_gettop(L);
  size_t len;
  luaL_checkstack(L, n + LUA_MINSTACK, "too many values to print");
  for (int i = 1; i <= n; i++) luaL_tolstring(L, i, NULL);
  luaL_buffinit(L, &b);
  for (int i = 1; i <= n; i++) {
    if (i > 1) luaL_addchar(&b, '\t');
    lua_pushvalue(L, n + i);
    luaL_addvalue(&b);
  }
  luaL_addchar(&b, '\n');
  luaL_pushresult(&b);
  const char *text = lua_tolstring(L, -1, &len);
  if (hub) hub->config.print(hub, text, len, hub->config.ud);
  return 0;
}

/* --- opening -------------------------------------------------------------- */

static const char opened_key; /* in the registry: this state has had a hub */

static gr_hub_options options_of(const green_config *c) {
  return (gr_hub_options){.loop = c->loop,
                          .bare = c->flags & GREEN_NO_LOOP,
                          .keeps_loop = c->loop && c->flags & GREEN_KEEP_LOOP,
                          .signals = c->flags & GREEN_SIGNALS,
                          .slice = (double)c->slice * 1e-9,
                          .max_stacks = c->max_stacks,
                          .clock = c->clock,
                          .clock_ud = c->ud};
}

/* (shell): protected. */
static int open_state(lua_State *L) {
  green_hub *hub = lua_touserdata(L, 1);
  gr_hub_options o = options_of(&hub->config);
  bind(hub, gr_state_new(L, &o));
  lua_pushboolean(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &opened_key);
  if (hub->config.open) {
    lua_pushcfunction(L, hub->config.open);
    lua_call(L, 0, 0);
  }
  if (hub->config.print) {
    lua_pushcfunction(L, print);
    lua_setglobal(L, "print");
  }
  gr_shell_limit_time(L, hub);
  return 0;
}

static bool makes_sense(const green_config *c) {
  bool bare = c->flags & GREEN_NO_LOOP;
  if (c->slice < 0) return false;
  if (c->time_slice < 0 || c->cpu_budget < 0) return false;
  if (c->loop && (bare || c->clock)) return false;
  if (c->flags & ~(unsigned)(GREEN_NO_LOOP | GREEN_KEEP_LOOP | GREEN_SIGNALS))
    return false;
  return !(c->L && c->alloc);
}

static bool has_had_hub(lua_State *L) {
  bool had = lua_rawgetp(L, LUA_REGISTRYINDEX, &opened_key) != LUA_TNIL;
  lua_pop(L, 1);
  return had || gr_state_peek(L);
}

static int get_state(green_hub *hub) {
  green_config *c = &hub->config;
  hub->owns_lua = !c->L;
  hub->L = c->L ? c->L
                : lua_newstate(c->alloc ? c->alloc : gr_lua_alloc, c->alloc_ud);
  if (!hub->L) return GREEN_ENOMEM;
  return !hub->owns_lua && has_had_hub(hub->L) ? GREEN_EBUSY : GREEN_OK;
}

/* With the least that can fail by itself. */
static int fill(green_hub *hub) {
  lua_State *L = hub->L;
  if (!lua_checkstack(L, LUA_MINSTACK)) return GREEN_ENOMEM;
  lua_pushcfunction(L, open_state);
  lua_pushlightuserdata(L, hub);
  hub->busy++;
  int status = lua_pcall(L, 1, 0, 0);
  hub->busy--;
  if (status == LUA_OK) return GREEN_OK;
  return gr_shell_fail(hub, L,
                       status == LUA_ERRMEM ? GREEN_ENOMEM : GREEN_ELUA);
}

green_hub *green_open(const green_config *c, int *code) {
  int ignored;
  if (!code) code = &ignored;
  green_config config;
  *code = GREEN_EINVAL;
  if (!c || !gr_take_struct(&config, sizeof config, c)) return NULL;
  if (!makes_sense(&config)) return NULL;
  *code = GREEN_ENOMEM;
  green_hub *hub = new_shell();
  if (!hub) return NULL;
  hub->config = config;
  hub->open = true;
  *code = get_state(hub);
  if (*code == GREEN_OK) {
    gr_shell_limit(hub);
    *code = fill(hub);
    if (*code == GREEN_OK) return hub;
    if (hub->S)
      green_close(hub);
    else if (hub->owns_lua)
      lua_close(hub->L);
    else
      gr_memory_leave(&hub->memory, hub->L);
  } else if (hub->owns_lua && hub->L) {
    lua_close(hub->L);
  }
  gr_shell_release(hub);
  return NULL;
}

green_hub *green_of(lua_State *L) {
  gr_state *S = gr_state_peek(L);
  return S ? gr_shell_of(S) : NULL;
}

lua_State *green_lua(green_hub *hub) {
  return hub && hub->S ? hub->L : NULL;
}

void *green_userdata(const green_hub *hub) {
  return hub ? hub->config.ud : NULL;
}

const char *green_message(const green_hub *hub) {
  return hub ? hub->message : "";
}

/* --- closing -------------------------------------------------------------- */

/* From here on no other thread gets in; what they have posted is done. */
void gr_shell_closing(lua_State *L, gr_state *S) {
  green_hub *hub = S->shell;
  (void)L;
  pthread_mutex_lock(&hub->lock);
  hub->S = NULL;
  if (hub->waits) gr_shell_retain(hub); /* for the last of them */
  pthread_mutex_unlock(&hub->lock);
  gr_hub_run_posts(&S->hub);
}

void gr_shell_closed(lua_State *L, gr_state *S) {
  green_hub *hub = S->shell;
  gr_held_close_all(hub, L);
  gr_waits_fini(hub);
  gr_memory_leave(&hub->memory, L);
  S->shell = NULL;
  gr_shell_release(hub);
}

/* (state) */
static int close_state(lua_State *L) {
  gr_state_close(L, lua_touserdata(L, 1));
  return 0;
}

int green_close(green_hub *hub) {
  int code = gr_shell_check(hub);
  if (code || hub->running) return code ? code : GREEN_EBUSY;
  lua_State *L = hub->L;
  lua_pushcfunction(L, close_state);
  lua_pushlightuserdata(L, hub->S);
  if (lua_pcall(L, 1, 0, 0)) lua_pop(L, 1);
  if (hub->owns_lua) lua_close(L);
  return GREEN_OK;
}

void green_free(green_hub *hub) {
  if (!hub) return;
  green_close(hub);
  gr_shell_release(hub);
}
