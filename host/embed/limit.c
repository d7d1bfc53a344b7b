/* greenlua.h: limits. */
#include <errno.h>
#include <string.h>

#include "green.h"

void gr_shell_limit(green_hub *hub) {
  if (hub->config.memory)
    gr_memory_watch(&hub->memory, hub->L, hub->config.memory);
}

int green_limit_memory(green_hub *hub, size_t bytes) {
  int code = gr_shell_here(hub);
  if (code) return code;
  if (!hub->memory.alloc && bytes) gr_memory_watch(&hub->memory, hub->L, bytes);
  hub->memory.limit = bytes;
  hub->memory.S = hub->S;
  return GREEN_OK;
}

void gr_shell_limit_time(lua_State *L, green_hub *hub) {
  const green_config *c = &hub->config;
  hub->memory.S = hub->S;
  if (!c->time_slice && !c->cpu_budget) return;
  if (gr_limits_open(L, hub->S, c->time_signal))
    luaL_error(L, "cannot limit time: %s", strerror(errno));
  gr_limits_set(hub->S, c->time_slice, c->cpu_budget);
}

typedef struct request {
  green_hub *hub;
  int code;
} request;

/* (request) */
static int open_limits(lua_State *L) {
  request *r = lua_touserdata(L, 1);
  gr_state *S = r->hub->S;
  if (gr_limits_open(L, S, r->hub->config.time_signal))
    r->code = errno == EBUSY    ? GREEN_EBUSY
              : errno == ENOMEM ? GREEN_ENOMEM
                                : GREEN_ESYS;
  return 0;
}

int green_limit_time(green_hub *hub, int64_t time_slice, int64_t cpu_budget) {
  int code = gr_shell_here(hub);
  if (code) return code;
  if (time_slice < 0 || cpu_budget < 0) return GREEN_EINVAL;
  request r = {hub, GREEN_OK};
  lua_State *T = hub->S->talk;
  if (!lua_checkstack(T, LUA_MINSTACK)) return GREEN_ENOMEM;
  lua_pushcfunction(T, open_limits);
  lua_pushlightuserdata(T, &r);
  if (lua_pcall(T, 1, 0, 0)) return gr_shell_fail(hub, T, GREEN_ENOMEM);
  if (r.code == GREEN_OK) gr_limits_set(hub->S, time_slice, cpu_budget);
  return r.code;
}

unsigned green_grants(lua_State *L) {
  gr_state *S = gr_state_peek(L);
  return S && S->shell ? S->shell->config.grants : 0;
}
