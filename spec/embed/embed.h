/* For the tests of greenlua.h. */
#ifndef EMBED_H
#define EMBED_H

#include <greenlua.h>
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "../host/check.h"

/* A hub with what the config says. */
static inline green_hub *embed_open(green_config c) {
  int code = 1;
  green_hub *hub = green_open(&c, &code);
  if (!hub) fprintf(stderr, "green_open: %s\n", green_strerror(code));
  CHECK(hub && code == GREEN_OK);
  return hub;
}

/* Start a chunk; its arguments are on top of the stack, `nargs` of them. */
static inline green_greenlet *embed_spawn(green_hub *hub, const char *code,
                                          int nargs, const green_options *o) {
  lua_State *L = green_lua(hub);
  if (luaL_loadstring(L, code)) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  CHECK(lua_isfunction(L, -1));
  lua_insert(L, -nargs - 1);
  green_greenlet *g = green_spawn(L, nargs, o);
  if (!g) fprintf(stderr, "green_spawn: %s\n", green_message(hub));
  CHECK(g);
  return g;
}

static inline void embed_go(green_hub *hub, const char *code) {
  green_release(embed_spawn(hub, code, 0, NULL));
}

/* Run a chunk in main; false and its error on the stack if it fails. */
static inline int embed_do(green_hub *hub, const char *code) {
  return luaL_dostring(green_lua(hub), code) == LUA_OK;
}

/* A global of the script as a string; the last one is kept. */
static inline const char *embed_get(green_hub *hub, const char *name) {
  static char text[400];
  lua_State *L = green_lua(hub);
  lua_getglobal(L, name);
  snprintf(text, sizeof text, "%s", luaL_tolstring(L, -1, NULL));
  lua_pop(L, 2);
  return text;
}

#define CHECK_TEXT(text, expected)                                             \
  do {                                                                         \
    if (strcmp(text, expected))                                                \
      fprintf(stderr, "is: %s\nnot: %s\n", text, expected);                    \
    CHECK(!strcmp(text, expected));                                            \
  } while (0)

/* A clock of the host's, and a hub that goes by it and polls nothing. */
static int64_t embed_time;

static inline int64_t embed_clock(void *ud) {
  (void)ud;
  return embed_time;
}

static inline green_config embed_game(void) {
  green_config c = green_defaults();
  c.flags = GREEN_NO_LOOP;
  c.clock = embed_clock;
  return c;
}

/* For green_config.alloc: fails the n-th allocation, and all after it. */
static long embed_countdown;

static inline void *embed_failing(void *ud, void *p, size_t old, size_t size) {
  (void)ud;
  if (!size) return free(p), NULL;
  if ((!p || size > old) && embed_countdown && !--embed_countdown)
    return embed_countdown = 1, NULL;
  return realloc(p, size);
}

/* For green_config.on_error. */
static inline void embed_ignore(green_hub *hub, const char *text, void *ud) {
  (void)hub, (void)text, (void)ud;
}

static inline green_state embed_state(green_greenlet *g) {
  green_info info = {.size = sizeof info};
  CHECK(green_inspect(g, &info) == GREEN_OK);
  return info.state;
}

static inline int embed_status(green_greenlet *g) {
  green_info info = {.size = sizeof info};
  CHECK(green_inspect(g, &info) == GREEN_OK);
  CHECK(info.state == GREEN_DEAD);
  return info.status;
}

#endif
