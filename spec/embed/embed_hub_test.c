/* greenlua.h: opening and closing hubs, and calls at the wrong time. */
#include "embed.h"

#include <ev.h>
#include <pthread.h>

/* --- opening -------------------------------------------------------------- */

static void refuses_what_makes_no_sense(void) {
  struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
  int code = 0;
  CHECK(!green_open(NULL, &code) && code == GREEN_EINVAL);
  green_config c = green_defaults();
  c.size = 4;
  CHECK(!green_open(&c, &code) && code == GREEN_EINVAL);
  c = embed_game();
  c.loop = loop;
  CHECK(!green_open(&c, &code) && code == GREEN_EINVAL);
  c = green_defaults();
  c.loop = loop;
  c.clock = embed_clock;
  CHECK(!green_open(&c, NULL));
  c = green_defaults();
  c.flags = 1u << 31;
  CHECK(!green_open(&c, &code) && code == GREEN_EINVAL);
  ev_loop_destroy(loop);
}

/* As the header of another version would have it. */
typedef struct larger {
  green_config config;
  int64_t unknown;
} larger;

static void takes_a_config_of_another_version(void) {
  int code = 0;
  struct {
    size_t size;
    unsigned flags;
    char rest[4]; /* which such a header does not have */
  } first = {offsetof(green_config, L), GREEN_NO_LOOP, "xxx"};
  green_config c = embed_game();
  memset((char *)&c + offsetof(green_config, slice), 0xff,
         sizeof c - offsetof(green_config, slice));
  c.size = offsetof(green_config, slice);
  green_hub *hub = embed_open(c); /* `slice` and what follows are not there */
  CHECK(green_run(hub) == GREEN_EINVAL && !green_userdata(hub));
  green_free(hub);
  hub = green_open((green_config *)(void *)&first, &code);
  CHECK(hub && code == GREEN_OK && !green_grants(green_lua(hub)));
  green_free(hub);
  larger later = {embed_game(), 0};
  later.config.size = sizeof later;
  hub = green_open((green_config *)(void *)&later, &code);
  CHECK(hub && code == GREEN_OK);
  green_free(hub);
  later.unknown = 1;
  CHECK(!green_open((green_config *)(void *)&later, &code));
  CHECK(code == GREEN_EINVAL);
}

static int fail_to_open(lua_State *L) {
  return luaL_error(L, "not today");
}

static void leaves_nothing_behind_if_opening_fails(void) {
  green_config c = green_defaults();
  int code;
  c.open = fail_to_open;
  CHECK(!green_open(&c, &code) && code == GREEN_ELUA);
  c.L = luaL_newstate();
  CHECK(!green_open(&c, &code) && code == GREEN_ELUA);
  CHECK(lua_gettop(c.L) == 0 && !green_of(c.L));
  lua_close(c.L);
}

static void works_without_the_lua_half(void) {
  green_config c = green_defaults();
  c.open = NULL;
  green_hub *hub = embed_open(c);
  lua_State *L = green_lua(hub);
  luaL_openlibs(L);
  green_greenlet *g =
      embed_spawn(hub, "x = ...", (lua_pushinteger(L, 7), 1), NULL);
  CHECK(green_run(hub) == GREEN_OK && embed_status(g) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "x"), "7");
  CHECK(green_push(L, g) == GREEN_OK && lua_isuserdata(L, -1));
  green_release(g);
  green_free(hub);
}

static void uses_a_state_of_the_hosts(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  green_config c = green_defaults();
  c.L = L;
  c.open = green_preload;
  green_hub *hub = embed_open(c);
  CHECK(green_lua(hub) == L && green_of(L) == hub);
  int code;
  CHECK(!green_open(&c, &code) && code == GREEN_EBUSY);
  embed_go(hub, "require 'greenlua'.sleep(0.001) done = true");
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "done"), "true");
  CHECK(green_close(hub) == GREEN_OK);
  CHECK(luaL_dostring(L, "return 1") == LUA_OK); /* it is still the host's */
  CHECK(luaL_dostring(L, "return require 'greenlua'.spawn(print)"));
  CHECK(!green_open(&c, &code) && code == GREEN_EBUSY);
  lua_close(L);
  green_free(hub);
}

static void is_closed_with_its_state(void) {
  lua_State *L = luaL_newstate();
  green_config c = green_defaults();
  c.L = L;
  green_hub *hub = embed_open(c);
  green_greenlet *g =
      embed_spawn(hub, "require 'greenlua'.sleep(100)", 0, NULL);
  green_step(hub, 0);
  lua_close(L);
  CHECK(embed_status(g) == GREEN_ECLOSED);
  CHECK(green_step(hub, 0) == GREEN_ECLOSED);
  CHECK(green_close(hub) == GREEN_ECLOSED);
  green_release(g);
  green_free(hub);
}

static void knows_a_hub_that_a_script_opened(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  CHECK(!green_of(L));
  green_openlibs(L);
  green_hub *hub = green_of(L);
  CHECK(hub && green_of(L) == hub);
  embed_go(hub, "require 'greenlua'.sleep(0.001)");
  CHECK(green_run(hub) == GREEN_OK);
  lua_close(L);
}

static void survives_every_failing_allocation_at_opening(void) {
  green_config c = green_defaults();
  c.alloc = embed_failing;
  for (long n = 1;; n += 7) {
    int code;
    embed_countdown = n;
    green_hub *hub = green_open(&c, &code);
    long left = embed_countdown;
    embed_countdown = 0;
    if (hub) {
      green_free(hub);
      if (left > 1) break;
      continue;
    }
    CHECK(code == GREEN_ENOMEM || code == GREEN_ELUA);
  }
}

/* --- threads -------------------------------------------------------------- */

static green_greenlet *foreign;

static void *use_wrongly(void *arg) {
  green_hub *hub = arg;
  green_info info = {.size = sizeof info};
  CHECK(green_kill(foreign, NULL) == GREEN_ETHREAD);
  CHECK(green_end(foreign) == GREEN_ETHREAD);
  CHECK(green_inspect(foreign, &info) == GREEN_ETHREAD);
  CHECK(green_push(NULL, foreign) == GREEN_ETHREAD);
  CHECK(green_traceback(NULL, foreign) == GREEN_ETHREAD);
  CHECK(green_limit_memory(hub, 1) == GREEN_ETHREAD);
  CHECK(green_limit_time(hub, 1, 1) == GREEN_ETHREAD);
  CHECK(green_closing(hub, 0) == GREEN_ETHREAD);
  green_release(foreign); /* which does nothing */
  green_stats stats = {.size = sizeof stats};
  CHECK(green_run(hub) == GREEN_ETHREAD);
  CHECK(green_next(hub) < -1);
  CHECK(green_fd(hub) == GREEN_ETHREAD);
  CHECK(green_close(hub) == GREEN_ETHREAD);
  CHECK(green_count(hub, &stats) == GREEN_ETHREAD);
  CHECK(green_each(hub, NULL, NULL) == GREEN_ETHREAD);
  return NULL;
}

static void refuses_other_threads(void) {
  green_hub *hub = embed_open(green_defaults());
  pthread_t thread;
  foreign = embed_spawn(hub, "", 0, NULL);
  pthread_create(&thread, NULL, use_wrongly, hub);
  pthread_join(thread, NULL);
  CHECK(green_run(hub) == GREEN_OK && embed_status(foreign) == GREEN_OK);
  green_release(foreign);
  green_free(hub);
}

static void *run_one(void *arg) {
  green_hub *hub = embed_open(green_defaults());
  lua_pushinteger(green_lua(hub), *(int *)arg);
  lua_setglobal(green_lua(hub), "me");
  embed_go(
      hub,
      "local green, socket = require 'greenlua', require 'greenlua.socket' "
      "local sum, all = 0, {} "
      "for i = 1, 50 do all[i] = green.spawn(function() "
      "  local a, b = socket.pair() green.sleep(0.0001 * (i % 7)) "
      "  a:send(me .. '\\n') local n = b:receive() sum = sum + n a:close() "
      "b:close() "
      "end) end "
      "green.joinall(all) result = sum");
  CHECK(green_run(hub) == GREEN_OK);
  lua_getglobal(green_lua(hub), "result");
  CHECK(lua_tointeger(green_lua(hub), -1) == 50 * *(int *)arg);
  green_free(hub);
  return NULL;
}

static void runs_a_hub_in_each_thread(void) {
  pthread_t threads[4];
  int numbers[4] = {1, 2, 3, 4};
  for (int i = 0; i < 4; i++)
    CHECK(!pthread_create(&threads[i], NULL, run_one, &numbers[i]));
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

static void runs_two_hubs_in_one_thread(void) {
  green_hub *a = embed_open(green_defaults()), *b = embed_open(embed_game());
  embed_go(a, "require 'greenlua'.sleep(0.001) x = 1");
  embed_go(b, "require 'greenlua'.sleep(1) x = 2");
  CHECK(green_step(b, 1000) == GREEN_OK);
  CHECK(green_run(a) == GREEN_OK);
  embed_time += 2000000000;
  CHECK(green_step(b, 1000) == GREEN_OK);
  CHECK_TEXT(embed_get(a, "x"), "1");
  CHECK_TEXT(embed_get(b, "x"), "2");
  green_free(a);
  green_free(b);
}

/* --- from inside, and too late -------------------------------------------- */

static int try_all(lua_State *L) {
  green_hub *hub = green_of(L);
  CHECK(green_run(hub) == GREEN_EBUSY);
  CHECK(green_step(hub, 0) == GREEN_EBUSY);
  CHECK(green_fd(hub) == GREEN_EBUSY);
  CHECK(green_close(hub) == GREEN_EBUSY);
  lua_pushboolean(L, 1);
  lua_setglobal(L, "tried");
  return 0;
}

static void refuses_calls_from_inside(void) {
  green_hub *hub = embed_open(green_defaults());
  lua_State *L = green_lua(hub);
  lua_register(L, "try_all", try_all);
  embed_go(hub, "try_all()");
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "tried"), "true");
  CHECK(embed_do(hub, "tried = false "
                      "setmetatable({}, {__gc = try_all}) collectgarbage()"));
  CHECK_TEXT(embed_get(hub, "tried"), "true");
  embed_go(hub, "tried = false debug.sethook(function() debug.sethook() "
                "try_all() end, 'l')\nlocal x = 1");
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "tried"), "true");
  green_free(hub);
}

/* Each of the host's functions that we call tries them all. */
static int tried;

static void try_in(green_hub *hub) {
  if (green_lua(hub)) try_all(green_lua(hub));
  tried++;
}

static void error_tries(green_hub *hub, const char *text, void *ud) {
  (void)text, (void)ud;
  try_in(hub);
}

static void print_tries(green_hub *hub, const char *text, size_t n, void *ud) {
  (void)text, (void)n, (void)ud;
  try_in(hub);
}

static void end_tries(green_greenlet *g, lua_State *L, int n, int status,
                      void *ud) {
  (void)g, (void)n, (void)status, (void)ud;
  try_in(green_of(L));
}

static void post_tries(lua_State *L, green_hub *hub, void *arg) {
  (void)L, (void)arg;
  try_in(hub);
}

static int each_tries(green_greenlet *g, void *hub) {
  (void)g;
  try_in(hub);
  return 0;
}

static int open_tries(lua_State *L) {
  try_in(green_of(L));
  return green_openlibs(L);
}

static green_hub *clocked;

static int64_t clock_tries(void *ud) {
  (void)ud;
  if (clocked) try_in(clocked);
  return embed_time;
}

static void refuses_calls_from_the_hosts_functions(void) {
  green_config c = green_defaults();
  c.on_error = error_tries;
  c.print = print_tries;
  c.open = open_tries;
  tried = 0;
  green_hub *hub = embed_open(c);
  CHECK(tried == 1);
  green_options o = {.size = sizeof o, .on_done = end_tries};
  embed_go(hub, "print 'x' error 'y'");
  green_release(embed_spawn(hub, "", 0, &o));
  CHECK(green_each(hub, each_tries, hub) == 0 && tried == 3);
  CHECK(green_post(hub, post_tries, NULL) == GREEN_OK);
  CHECK(green_run(hub) == GREEN_OK);
  while (tried < 7) CHECK(green_step(hub, 0) == GREEN_OK);
  green_free(hub);
  c = embed_game();
  c.clock = clock_tries;
  clocked = hub = embed_open(c);
  embed_go(hub, "require 'greenlua'.sleep(1)");
  tried = 0;
  CHECK(green_step(hub, 0) == GREEN_OK && tried);
  clocked = NULL;
  green_free(hub);
}

static void never(lua_State *L, green_hub *hub, void *arg) {
  (void)L, (void)hub, (void)arg;
  CHECK(!"called");
}

static void answers_every_call_after_its_end(void) {
  green_hub *hub = embed_open(green_defaults());
  green_greenlet *g = embed_spawn(hub, "return 1", 0, NULL);
  green_stats stats = {.size = sizeof stats};
  CHECK(green_close(hub) == GREEN_OK);
  CHECK(green_close(hub) == GREEN_ECLOSED);
  CHECK(!green_lua(hub));
  CHECK(green_run(hub) == GREEN_ECLOSED);
  CHECK(green_step(hub, 0) == GREEN_ECLOSED);
  CHECK(green_fd(hub) == GREEN_ECLOSED);
  CHECK(green_next(hub) < -1);
  CHECK(green_stop(hub) == GREEN_ECLOSED);
  CHECK(green_post(hub, never, NULL) == GREEN_ECLOSED);
  CHECK(green_closing(hub, 0) == GREEN_ECLOSED);
  CHECK(green_count(hub, &stats) == GREEN_ECLOSED);
  CHECK(green_kill(g, NULL) == GREEN_ECLOSED);
  CHECK(green_end(g) == GREEN_ECLOSED);
  CHECK(embed_status(g) == GREEN_ECLOSED);
  green_release(green_retain(g));
  green_release(g);
  green_free(hub);
  green_free(NULL);
  CHECK(green_run(NULL) == GREEN_EINVAL);
}

static void has_words_for_its_codes(void) {
  for (int code = 5; code > -20; code--) CHECK(*green_strerror(code));
  CHECK_TEXT(green_strerror(GREEN_ETIMEDOUT), "timeout");
  CHECK_TEXT(green_strerror(GREEN_ESYS), "a system call failed");
}

int main(void) {
  refuses_what_makes_no_sense();
  takes_a_config_of_another_version();
  leaves_nothing_behind_if_opening_fails();
  works_without_the_lua_half();
  uses_a_state_of_the_hosts();
  is_closed_with_its_state();
  knows_a_hub_that_a_script_opened();
  survives_every_failing_allocation_at_opening();
  refuses_other_threads();
  runs_a_hub_in_each_thread();
  runs_two_hubs_in_one_thread();
  refuses_calls_from_inside();
  refuses_calls_from_the_hosts_functions();
  answers_every_call_after_its_end();
  has_words_for_its_codes();
  return 0;
}
