/* For the tests of greenlua.h. */
#ifndef EMBED_H
#define EMBED_H

#include <greenlua.h>
#include <lauxlib.h>
#include <lualib.h>

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
