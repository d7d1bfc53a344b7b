/* The least that it takes: a C program whose Lua script blocks without blocking
 * it.
 *
 *     cc embed_minimal.c $(pkg-config --cflags --libs greenlua) -o minimal
 *     ./minimal [script.lua [argument ...]]
 */
#include <greenlua.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

static const char greeting[] = "local green = require 'greenlua'\n"
                               "local function greet(name, delay)\n"
                               "  green.sleep(delay)\n"
                               "  print('good night, ' .. name)\n"
                               "end\n"
                               "green.spawn(greet, 'Ada', 0.03)\n"
                               "green.spawn(greet, 'Alan', 0.01)\n"
                               "print('good morning from ' .. ...)\n";

int main(int argc, char **argv) {
  green_config config = green_defaults();
  int code;
  green_hub *hub = green_open(&config, &code);
  if (!hub) {
    fprintf(stderr, "cannot open a hub: %s\n", green_strerror(code));
    return EXIT_FAILURE;
  }
  lua_State *L = green_lua(hub);
  int status =
      argc > 1 ? luaL_loadfile(L, argv[1])
               : luaL_loadbuffer(L, greeting, sizeof greeting - 1, "=greeting");
  if (status != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    green_free(hub);
    return EXIT_FAILURE;
  }
  lua_pushstring(L, argc > 1 ? argv[1] : "C");
  for (int i = 2; i < argc; i++) lua_pushstring(L, argv[i]);
  green_release(green_spawn(L, argc > 2 ? argc - 1 : 1, NULL));
  code = green_run(hub); /* until every greenlet has ended */
  if (code < 0) fprintf(stderr, "%s\n", green_strerror(code));
  green_free(hub);
  return code < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
