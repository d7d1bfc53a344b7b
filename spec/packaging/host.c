/* A program of somebody else's, built against the installed library. */
#include <greenlua.h>
#include <lauxlib.h>
#include <stdio.h>

static int wait_a_moment(lua_State *L) {
  int code = green_sleep(L, 0.001);
  return code < 0 ? green_throw(L, code) : 0;
}

int main(void) {
  green_config c = green_defaults();
  green_hub *hub = green_open(&c, NULL);
  if (!hub) return 1;
  lua_State *L = green_lua(hub);
  lua_register(L, "wait_a_moment", wait_a_moment);
  if (luaL_loadstring(
          L, "local green = require 'greenlua'"
             " local q = green.Queue()"
             " green.spawn(function() wait_a_moment() q:put 'hello' end)"
             " print(q:get(), require('greenlua.ssl')._VERSION ~= 0)"))
    return 2;
  green_release(green_spawn(L, 0, NULL));
  int code = green_run(hub);
  green_free(hub);
  return code == GREEN_OK ? 0 : 3;
}
