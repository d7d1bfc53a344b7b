/* greenlua.h: greenlets as the host sees them, and its hooks. */
#include "embed.h"

#include <stddef.h>
#include <string.h>

static char log_text[4000];

static void note(const char *text) {
  CHECK(strlen(log_text) + strlen(text) < sizeof log_text);
  strcat(log_text, text);
}

/* --- spawning and ends ---------------------------------------------------- */

static void on_done(green_greenlet *g, lua_State *L, int n, int status,
                    void *ud) {
  char text[200];
  CHECK(embed_state(g) == GREEN_DEAD && lua_gettop(L) >= n);
  snprintf(text, sizeof text, "%s %d %d", (char *)ud, status, n);
  note(text);
  for (int i = -n; i < 0; i++) {
    snprintf(text, sizeof text, " %s", luaL_tolstring(L, i, NULL));
    lua_pop(L, 1);
    note(text);
  }
  note("\n");
}

static void tells_of_an_end_with_its_results(void) {
  green_hub *hub = embed_open(green_defaults());
  lua_State *L = green_lua(hub);
  green_options o = {.size = sizeof o, .on_done = on_done, .ud = "a"};
  *log_text = 0;
  lua_pushinteger(L, 1);
  lua_pushliteral(L, "two");
  green_greenlet *g = embed_spawn(hub, "return select('#', ...), ...", 2, &o);
  CHECK(embed_state(g) == GREEN_READY && !*log_text); /* nothing has run */
  o.ud = "b";
  green_release(embed_spawn(hub, "error('bad', 0)", 0, &o));
  o.ud = "c";
  green_release(embed_spawn(hub, "", 0, &o));
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(log_text, "a 0 3 2 1 two\nb -9 1 bad\nc 0 1 nil\n");
  CHECK(embed_status(g) == GREEN_OK);
  CHECK(green_push(L, g) == GREEN_OK);
  CHECK(luaL_callmeta(L, -1, "__tostring"));
  lua_pop(L, 2);
  green_release(g);
  green_free(hub);
}

static void kills_and_ends(void) {
  green_hub *hub = embed_open(green_defaults());
  green_options o = {.size = sizeof o, .on_done = on_done, .ud = "k"};
  *log_text = 0;
  const char *sleep = "require 'greenlua'.sleep(100)";
  green_greenlet *a = embed_spawn(hub, sleep, 0, &o);
  green_greenlet *b = embed_spawn(hub, sleep, 0, &o);
  green_greenlet *c = embed_spawn(
      hub, "while true do pcall(require 'greenlua'.sleep, 100) end", 0, &o);
  green_greenlet *d = embed_spawn(hub, "never = true", 0, &o);
  CHECK(green_kill(d, NULL) == GREEN_OK); /* before it has begun */
  green_step(hub, INT64_MAX);
  CHECK(green_kill(a, NULL) == GREEN_OK && green_kill(b, "why") == GREEN_OK);
  CHECK(green_kill(c, NULL) == GREEN_OK);
  green_step(hub, INT64_MAX);
  CHECK_TEXT(log_text, "k -11 1 GreenletExit\nk -11 1 GreenletExit\n"
                       "k -9 1 why\n");
  CHECK(embed_status(a) == GREEN_EKILLED && embed_status(b) == GREEN_ELUA);
  CHECK(embed_state(c) == GREEN_PARKED); /* it catches them */
  CHECK(green_end(c) == GREEN_OK);
  CHECK(green_run(hub) == GREEN_OK);
  CHECK(embed_status(c) == GREEN_EKILLED && embed_status(d) == GREEN_EKILLED);
  CHECK(green_kill(c, NULL) == GREEN_OK); /* too late */
  CHECK_TEXT(embed_get(hub, "never"), "nil");
  green_release(a);
  green_release(b);
  green_release(c);
  green_release(d);
  green_free(hub);
}

static void tells_of_the_end_of_the_hub(void) {
  green_hub *hub = embed_open(green_defaults());
  green_options o = {.size = sizeof o, .on_done = on_done, .ud = "x"};
  *log_text = 0;
  green_greenlet *g = embed_spawn(hub,
                                  "local c <close> = setmetatable({}, "
                                  "{__close = function() "
                                  "pcall(require 'greenlua'.sleep, 1) "
                                  "end}) require 'greenlua'.sleep(100)",
                                  0, &o);
  green_step(hub, INT64_MAX);
  CHECK(green_close(hub) == GREEN_OK);
  CHECK_TEXT(log_text, "x -3 0\n");
  CHECK(embed_status(g) == GREEN_ECLOSED);
  green_release(g);
  green_free(hub);
}

static void refuses_to_spawn_what_cannot_be_called(void) {
  green_hub *hub = embed_open(green_defaults());
  lua_State *L = green_lua(hub);
  lua_pushinteger(L, 5);
  lua_pushinteger(L, 6);
  CHECK(!green_spawn(L, 1, NULL));
  CHECK_TEXT(green_message(hub), "cannot spawn a number value");
  CHECK(lua_gettop(L) == 0);
  CHECK(embed_do(hub, "return setmetatable({}, {__call = function(_, x) "
                      "called = x end})"));
  lua_pushinteger(L, 6);
  green_release(green_spawn(L, 1, NULL));
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "called"), "6");
  CHECK(luaL_loadstring(L, "") == LUA_OK);
  luaL_checkstack(L, 400, NULL);
  for (int i = 0; i < 300; i++) lua_pushnil(L);
  CHECK(!green_spawn(L, 300, NULL));
  CHECK(strstr(green_message(hub), "too many arguments"));
  CHECK(lua_gettop(L) == 0);
  green_free(hub);
}

static int64_t game_time;

static int64_t game_clock(void *ud) {
  (void)ud;
  return game_time;
}

static void starts_with_a_delay(void) {
  green_config c = green_defaults();
  c.clock = game_clock;
  green_hub *hub = embed_open(c);
  green_options o = {.size = sizeof o, .delay = 3, .name = "late"};
  green_greenlet *g = embed_spawn(hub, "done = true", 0, &o);
  green_step(hub, INT64_MAX);
  CHECK(embed_state(g) == GREEN_FRESH && green_next(hub) > 0);
  game_time += 3000000001;
  green_step(hub, INT64_MAX);
  CHECK_TEXT(embed_get(hub, "done"), "true");
  green_release(g);
  green_free(hub);
}

static green_greenlet *self;

static int keep_self(lua_State *L) {
  green_greenlet *a = green_self(L), *b = green_self(L);
  CHECK(a && a == b);
  CHECK(green_end(a) == GREEN_EBUSY);
  CHECK(embed_state(a) == GREEN_RUNNING);
  self = a;
  green_release(b);
  return 0;
}

static void knows_the_running_one(void) {
  green_hub *hub = embed_open(green_defaults());
  lua_State *L = green_lua(hub);
  lua_register(L, "keep_self", keep_self);
  CHECK(!green_self(L));
  green_greenlet *g = embed_spawn(hub, "keep_self()", 0, NULL);
  CHECK(green_run(hub) == GREEN_OK);
  CHECK(g == self);
  green_release(g);
  green_release(self);
  green_free(hub);
}

/* --- looking -------------------------------------------------------------- */

static int list(green_greenlet *g, void *ud) {
  green_info info = {.size = sizeof info};
  char text[200];
  CHECK(green_inspect(g, &info) == GREEN_OK && info.id);
  snprintf(text, sizeof text, "%s %d %s\n", info.name, (int)info.state,
           info.waits ? info.waits : "-");
  note(text);
  return --*(int *)ud == 0 ? 77 : 0;
}

static void shows_who_lives(void) {
  green_hub *hub = embed_open(green_defaults());
  green_options o = {.size = sizeof o, .name = "sleeper"};
  *log_text = 0;
  int n = 100;
  embed_go(hub, "local green = require 'greenlua' green.current().name = 'w' "
                "green.Event():wait()");
  green_release(embed_spawn(hub,
                            "local function nap() "
                            "require 'greenlua'.sleep(100) end "
                            "table.sort({1, 2}, nap)",
                            0, &o));
  green_step(hub, INT64_MAX);
  green_greenlet *g = embed_spawn(hub, "", 0, NULL);
  CHECK(green_each(hub, list, &n) == 0);
  CHECK_TEXT(log_text, "w 3 event\nsleeper 3 sleep\nGreenlet-3 1 -\n");
  n = 1;
  CHECK(green_each(hub, list, &n) == 77);
  green_stats s = {.size = sizeof s};
  CHECK(green_count(hub, &s) == GREEN_OK);
  CHECK(s.living == 3 && s.timers == 1 && s.stacks >= 1 && s.ended == 0);
  CHECK(s.lua_bytes > 10000 && !s.descriptors);
  s.size = 3;
  CHECK(green_count(hub, &s) == GREEN_EINVAL);
  green_release(g);
  green_free(hub);
}

/* As of headers that know less, or more. */
static void fills_structs_of_other_versions(void) {
  green_hub *hub = embed_open(green_defaults());
  struct {
    green_stats stats;
    long more;
  } large = {{.size = sizeof large}, 7};
  green_stats stats = {.size = offsetof(green_stats, timers), .timers = 77};
  green_info info = {.size = offsetof(green_info, name), .name = "kept"};
  green_options o = {
      .size = offsetof(green_options, delay), .name = "n", .delay = 1e9};
  green_greenlet *g = embed_spawn(hub, "", 0, &o);
  CHECK(green_count(hub, &stats) == GREEN_OK);
  CHECK(stats.living == 1 && stats.timers == 77);
  CHECK(green_count(hub, &large.stats) == GREEN_OK);
  CHECK(large.stats.living == 1 && large.stats.size == sizeof large);
  CHECK(!large.more);
  CHECK(green_inspect(g, &info) == GREEN_OK);
  CHECK(info.state == GREEN_READY && info.id == 1);
  CHECK_TEXT(info.name, "kept");
  CHECK(info.size == offsetof(green_info, name));
  stats.size = info.size = o.size = 0;
  CHECK(green_count(hub, &stats) == GREEN_EINVAL);
  CHECK(green_inspect(g, &info) == GREEN_EINVAL);
  lua_State *L = green_lua(hub);
  lua_pushcfunction(L, luaopen_base);
  CHECK(!green_spawn(L, 0, &o) && lua_gettop(L) == 0);
  CHECK(strstr(green_message(hub), "green_options.size"));
  green_release(g);
  green_free(hub);
}

static void traces_where_one_stands(void) {
  green_hub *hub = embed_open(green_defaults());
  lua_State *L = green_lua(hub);
  green_greenlet *g = embed_spawn(
      hub, "coroutine.wrap(function() require 'greenlua'.sleep(100) end)()", 0,
      NULL);
  CHECK(green_traceback(L, g) == GREEN_OK);
  CHECK_TEXT(lua_tostring(L, -1), "");
  green_step(hub, INT64_MAX);
  CHECK(green_traceback(L, g) == GREEN_OK);
  const char *trace = lua_tostring(L, -1);
  CHECK(strstr(trace, "sleep") && strstr(trace, "in main chunk"));
  CHECK(green_end(g) == GREEN_OK && green_run(hub) == GREEN_OK);
  green_release(g);
  green_options o = {.size = sizeof o, .on_done = on_done, .ud = "f"};
  g = embed_spawn(hub, "local function deep() error('x') end deep()", 0, &o);
  CHECK(green_run(hub) == GREEN_OK);
  CHECK(green_traceback(L, g) == GREEN_OK);
  CHECK(strstr(lua_tostring(L, -1), "deep"));
  green_release(g);
  green_free(hub);
}

/* --- hooks ---------------------------------------------------------------- */

static void keep_error(green_hub *hub, const char *text, void *ud) {
  CHECK(ud == log_text && green_userdata(hub) == ud);
  CHECK(green_step(hub, 0) == GREEN_EBUSY);
  note(strstr(text, "boom") && strstr(text, "traceback") ? "boom\n" : text);
}

static void keep_print(green_hub *hub, const char *text, size_t length,
                       void *ud) {
  CHECK(hub && ud == log_text && strlen(text) == length);
  note(text);
}

static void calls_its_hooks(void) {
  green_config c = green_defaults();
  c.on_error = keep_error;
  c.print = keep_print;
  c.ud = log_text;
  for (int lua_half = 0; lua_half < 2; lua_half++) {
    c.open = lua_half ? green_openlibs : luaopen_base;
    green_hub *hub = embed_open(c);
    *log_text = 0;
    embed_go(hub, "print('a', nil, 1.5) error('boom')");
    CHECK(green_run(hub) == GREEN_OK);
    CHECK_TEXT(log_text, "a\tnil\t1.5\nboom\n");
    green_free(hub);
  }
}

static void lets_the_script_take_errors_over(void) {
  green_config c = green_defaults();
  c.on_error = keep_error;
  c.ud = log_text;
  green_hub *hub = embed_open(c);
  *log_text = 0;
  embed_go(hub, "local green = require 'greenlua' "
                "green.on_error(function(g, err) taken = err end) "
                "green.spawn(error, 'mine')");
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "taken"), "mine");
  CHECK(!*log_text);
  green_free(hub);
}

static size_t in_use;

static void *counting(void *ud, void *p, size_t old, size_t size) {
  CHECK(ud == &in_use);
  if (p) in_use -= old;
  in_use += size;
  if (!size) return free(p), NULL;
  return realloc(p, size);
}

static void takes_memory_from_the_hosts_allocator(void) {
  green_config c = green_defaults();
  c.alloc = counting;
  c.alloc_ud = &in_use;
  green_hub *hub = embed_open(c);
  CHECK(in_use > 10000);
  embed_go(hub, "require 'greenlua'.sleep(100)");
  green_step(hub, INT64_MAX);
  green_free(hub);
  CHECK(in_use == 0);
}

static int step_out_of_memory(green_hub *hub, green_greenlet *g, long n) {
  embed_countdown = n;
  int code = green_kill(g, "x");
  CHECK(code == GREEN_OK || code == GREEN_ENOMEM);
  green_step(hub, INT64_MAX);
  code = green_traceback(green_lua(hub), g);
  CHECK(code == GREEN_OK || code == GREEN_ENOMEM);
  int left = embed_countdown != 1;
  embed_countdown = 0;
  lua_settop(green_lua(hub), 0);
  return left;
}

static void survives_every_failing_allocation(void) {
  green_config c = green_defaults();
  c.alloc = embed_failing;
  c.on_error = embed_ignore;
  int enough = 0;
  for (long n = 1; !enough; n++) {
    green_hub *hub = embed_open(c);
    lua_State *L = green_lua(hub);
    lua_checkstack(L, 100);
    CHECK(luaL_loadstring(L, "require 'greenlua'.sleep(1)") == LUA_OK);
    green_options o = {.size = sizeof o, .name = "some name"};
    embed_countdown = n;
    green_greenlet *g = green_spawn(L, 0, &o);
    embed_countdown = 0;
    CHECK(lua_gettop(L) == 0 && (g || *green_message(hub)));
    if (g) {
      green_step(hub, INT64_MAX);
      enough = step_out_of_memory(hub, g, n);
    }
    green_release(g);
    CHECK(green_close(hub) == GREEN_OK);
    green_free(hub);
  }
}

int main(void) {
  tells_of_an_end_with_its_results();
  kills_and_ends();
  tells_of_the_end_of_the_hub();
  refuses_to_spawn_what_cannot_be_called();
  starts_with_a_delay();
  knows_the_running_one();
  shows_who_lives();
  fills_structs_of_other_versions();
  traces_where_one_stands();
  calls_its_hooks();
  lets_the_script_take_errors_over();
  takes_memory_from_the_hosts_allocator();
  survives_every_failing_allocation();
  return 0;
}
