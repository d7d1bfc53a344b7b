/* A host whose hub runs on the host's own event loop: it runs a script in a
 * greenlet until that ends.  With busted as script the core's specs run there:
 *
 *     host_loop /usr/bin/busted spec/greenlua/event_spec.lua
 *
 * The host's own timer ticks meanwhile, and its watchers are what keeps the
 * loop going. */
#include <ev.h>
#include <greenlua.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

static struct ev_loop *loop;
static int exit_code = EXIT_FAILURE;

static void on_tick(struct ev_loop *l, ev_timer *t, int events) {
  (void)l, (void)events;
  ++*(unsigned *)t->data;
}

static void on_done(green_greenlet *g, lua_State *L, int n, int status,
                    void *ud) {
  (void)g, (void)n, (void)ud;
  if (status == GREEN_OK)
    exit_code = EXIT_SUCCESS;
  else
    fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
  ev_break(loop, EVBREAK_ALL);
}

static void set_arg(lua_State *L, int argc, char **argv) {
  lua_createtable(L, argc, 2);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - 1);
  }
  lua_setglobal(L, "arg");
}

int main(int argc, char **argv) {
  unsigned ticks = 0;
  ev_timer tick;
  green_config config = green_defaults();
  loop = ev_loop_new(EVFLAG_AUTO);
  config.loop = loop;
  green_hub *hub = argc > 1 ? green_open(&config, NULL) : NULL;
  if (!hub) return EXIT_FAILURE;
  ev_timer_init(&tick, on_tick, 0.001, 0.001);
  tick.data = &ticks;
  ev_timer_start(loop, &tick);
  lua_State *L = green_lua(hub);
  set_arg(L, argc, argv);
  if (luaL_loadfile(L, argv[1]) == LUA_OK) {
    green_options o = {.size = sizeof o, .name = "main", .on_done = on_done};
    for (int i = 2; i < argc; i++) lua_pushstring(L, argv[i]);
    green_release(green_spawn(L, argc - 2, &o));
    ev_run(loop, 0);
  } else {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
  }
  ev_timer_stop(loop, &tick);
  green_free(hub);
  ev_loop_destroy(loop);
  return exit_code;
}
