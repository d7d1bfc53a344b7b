/* greenlua.h: opening, driving and closing hubs. */
#include "embed.h"

#include <ev.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef GR_HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

#include "alloc.h"

static int64_t game_time;

static int64_t game_clock(void *ud) {
  (void)ud;
  return game_time;
}

static green_config game(void) {
  green_config c = green_defaults();
  c.flags = GREEN_NO_LOOP;
  c.clock = game_clock;
  return c;
}

/* --- opening -------------------------------------------------------------- */

static void refuses_what_makes_no_sense(void) {
  struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
  int code = 0;
  CHECK(!green_open(NULL, &code) && code == GREEN_EINVAL);
  green_config c = green_defaults();
  c.size = 4;
  CHECK(!green_open(&c, &code) && code == GREEN_EINVAL);
  c = game();
  c.loop = loop;
  CHECK(!green_open(&c, &code) && code == GREEN_EINVAL);
  c = green_defaults();
  c.loop = loop;
  c.clock = game_clock;
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
  green_config c = game();
  memset((char *)&c + offsetof(green_config, slice), 0xff,
         sizeof c - offsetof(green_config, slice));
  c.size = offsetof(green_config, slice);
  green_hub *hub = embed_open(c); /* `slice` and what follows are not there */
  CHECK(green_run(hub) == GREEN_EINVAL && !green_userdata(hub));
  green_free(hub);
  hub = green_open((green_config *)(void *)&first, &code);
  CHECK(hub && code == GREEN_OK && !green_grants(green_lua(hub)));
  green_free(hub);
  larger later = {game(), 0};
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

/* Fails the n-th allocation that the state asks for. */
static long countdown;

static void *failing(void *ud, void *p, size_t old, size_t size) {
  (void)ud;
  if (size && (!p || size > old) && countdown && !--countdown)
    return countdown = 1, NULL;
  return gr_lua_alloc(NULL, p, old, size);
}

static void survives_every_failing_allocation_at_opening(void) {
  green_config c = green_defaults();
  c.alloc = failing;
  for (long n = 1;; n += 7) {
    int code;
    countdown = n;
    green_hub *hub = green_open(&c, &code);
    long left = countdown;
    countdown = 0;
    if (hub) {
      green_free(hub);
      if (left > 1) break;
      continue;
    }
    CHECK(code == GREEN_ENOMEM || code == GREEN_ELUA);
  }
}

/* --- stepping ------------------------------------------------------------- */

static void steps_in_game_time(void) {
  green_hub *hub = embed_open(game());
  game_time = 1000;
  embed_go(hub, "local green = require 'greenlua' n = 0 "
                "while true do green.sleep(1) n = n + 1 end");
  CHECK(green_next(hub) == 0);
  for (int i = 0; i < 3; i++) CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "n"), "0"); /* the game is paused */
  int64_t next = green_next(hub);
  CHECK(next > 999999000 && next < 1000001000);
  game_time += 1500000000;
  CHECK(green_next(hub) == 0);
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "n"), "1");
  game_time += 10000000000;
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "n"), "2");
  green_free(hub);
}

static void stops_when_the_budget_is_used_up(void) {
  green_hub *hub = embed_open(game());
  CHECK(embed_do(hub, "n = 0"));
  for (int i = 0; i < 5; i++) embed_go(hub, "n = n + 1");
  CHECK(green_step(hub, 0) == GREEN_MORE); /* one at least */
  CHECK_TEXT(embed_get(hub, "n"), "1");
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "n"), "5");
  embed_go(hub, "while true do require 'greenlua'.sleep() n = n + 1 end");
  CHECK(green_step(hub, 1000000) == GREEN_MORE);
  CHECK(green_step(hub, -1) == GREEN_EINVAL);
  green_free(hub);
}

static void refuses_what_the_hub_has_not(void) {
  green_hub *hub = embed_open(game());
  lua_State *L = green_lua(hub);
  CHECK(!embed_do(hub, "require 'greenlua.socket'"));
  CHECK(strstr(lua_tostring(L, -1), "greenlua.socket needs an event loop"));
  CHECK(!embed_do(hub, "require 'greenlua'.sleep(1)"));
  CHECK(strstr(lua_tostring(L, -1), "cannot block in main"));
  CHECK(green_run(hub) == GREEN_EINVAL);
  CHECK(green_next(hub) == -1);
  green_free(hub);

  hub = embed_open(green_defaults());
  CHECK(!embed_do(hub, "require 'greenlua'.signal('SIGUSR1', print)"));
  CHECK(strstr(lua_tostring(green_lua(hub), -1), "not granted signals"));
  green_free(hub);
}

static void lets_idlers_run_when_nobody_is_ready(void) {
  green_hub *hub = embed_open(game());
  embed_go(hub, "local green = require 'greenlua' order = '' "
                "green.spawn(function() green.idle() order = order .. 'i' end) "
                "green.spawn(function() for _ = 1, 3 do green.sleep() "
                "order = order .. 's' end end)");
  while (green_next(hub) == 0) CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "order"), "sssi");
  green_free(hub);
}

static void polls_descriptors_in_a_step(void) {
  green_config c = green_defaults();
  c.clock = game_clock; /* sockets, but the time is the game's */
  green_hub *hub = embed_open(c);
  embed_go(hub, "local socket = require 'greenlua.socket' "
                "local a, b = socket.pair() "
                "require 'greenlua'.spawn(function() got = b:receive() end) "
                "require 'greenlua'.sleep(1) a:send('hello\\n') "
                "a:settimeout(1) ok, why = a:receive()");
  CHECK(green_run(hub) == GREEN_EINVAL);
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  game_time += 1000000000;
  for (int i = 0; i < 3; i++) CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "got"), "hello");
  CHECK_TEXT(embed_get(hub, "why"), "nil");
  game_time += 1000000000;
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "why"), "timeout");
  green_free(hub);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INSTRUMENTED 1
#elif defined(GR_HAVE_VALGRIND)
#define INSTRUMENTED RUNNING_ON_VALGRIND
#else
#define INSTRUMENTED 0
#endif

/* From here on whoever makes another system call than exit is killed. */
static void forbid_system_calls(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL)};
  struct sock_fprog filter = {sizeof code / sizeof *code, code};
  CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
}

static void makes_no_system_call_when_idle(void) {
  if (INSTRUMENTED) return;
  pid_t child = fork();
  if (!child) {
    green_hub *hub = embed_open(green_defaults());
    embed_go(hub, "require 'greenlua'.sleep(100)");
    green_step(hub, INT64_MAX);
    forbid_system_calls();
    for (int i = 0; i < 1000; i++) green_step(hub, 2000000);
    syscall(SYS_exit, 0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* --- running -------------------------------------------------------------- */

static void tells_how_a_run_ended(void) {
  green_hub *hub = embed_open(green_defaults());
  CHECK(green_run(hub) == GREEN_OK);
  embed_go(hub, "main = ... wait = require 'greenlua'.Event() wait:wait()");
  CHECK(green_run(hub) == GREEN_EDEADLOCK);
  CHECK(green_run(hub) == GREEN_EDEADLOCK);
  CHECK(embed_do(hub, "wait:set() main = require 'greenlua'.current()"));
  CHECK(green_run(hub) == GREEN_OK);
  embed_go(hub, "require 'greenlua'.kill(main, 'enough')");
  CHECK(green_run(hub) == GREEN_ELUA);
  CHECK_TEXT(green_message(hub), "enough");
  embed_go(hub, "require 'greenlua'.kill(main, setmetatable({}, "
                "{__tostring = function() error('worse', 0) end}))");
  CHECK(green_run(hub) == GREEN_ELUA);
  CHECK_TEXT(green_message(hub), "worse");
  CHECK(green_run(hub) == GREEN_OK);
  green_free(hub);
}

static void *stop_it(void *hub) {
  usleep(1000);
  CHECK(green_stop(hub) == GREEN_OK);
  return NULL;
}

static void is_stopped_from_another_thread(void) {
  green_hub *hub = embed_open(green_defaults());
  pthread_t thread;
  embed_go(
      hub,
      "local green = require 'greenlua' while true do green.sleep(0.0001) end");
  pthread_create(&thread, NULL, stop_it, hub);
  CHECK(green_run(hub) == GREEN_ESTOPPED);
  pthread_join(thread, NULL);
  green_free(hub);
}

static void is_stopped_by_a_script_that_shuts_down(void) {
  green_hub *hub = embed_open(green_defaults());
  embed_go(hub, "local c <close> = setmetatable({}, {__close = function() "
                "closed = true end}) require 'greenlua'.sleep(100)");
  green_greenlet *g =
      embed_spawn(hub, "require 'greenlua'.shutdown(3)", 0, NULL);
  CHECK(green_run(hub) == GREEN_ESTOPPED);
  CHECK(embed_status(g) == GREEN_EKILLED);
  CHECK_TEXT(embed_get(hub, "closed"), "true");
  CHECK(green_run(hub) == GREEN_OK);
  green_release(g);
  green_free(hub);
}

static void lets_main_block_on_its_own_loop(void) {
  green_hub *hub = embed_open(green_defaults());
  embed_go(hub, "x = 1");
  CHECK(embed_do(hub, "require 'greenlua'.sleep(0.001) y = x"));
  CHECK_TEXT(embed_get(hub, "y"), "1");
  green_free(hub);
}

/* --- a loop of the host's --------------------------------------------------
 */

static void runs_inside_a_loop_of_the_hosts(void) {
  green_config c = green_defaults();
  c.loop = ev_loop_new(EVFLAG_AUTO);
  green_hub *hub = embed_open(c);
  CHECK(green_fd(hub) == GREEN_EINVAL);
  embed_go(hub, "require 'greenlua'.sleep(0.01) done = true");
  ev_run(c.loop, 0); /* nothing of the host's is there: it returns */
  CHECK_TEXT(embed_get(hub, "done"), "nil");
  ev_ref(c.loop);
  for (int i = 0; i < 100 && strcmp(embed_get(hub, "done"), "true"); i++)
    ev_run(c.loop, EVRUN_ONCE);
  ev_unref(c.loop);
  CHECK_TEXT(embed_get(hub, "done"), "true");
  CHECK(!embed_do(hub, "require 'greenlua'.sleep(1)"));
  embed_go(hub, "stepped = true");
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK); /* may be mixed with it */
  CHECK_TEXT(embed_get(hub, "stepped"), "true");
  embed_go(hub, "require 'greenlua'.sleep(0.001) again = true");
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "again"), "true");
  green_free(hub);
  CHECK(ev_pending_count(c.loop) == 0);
  ev_run(c.loop, 0); /* no reference too many or too few */
  ev_loop_destroy(c.loop);
}

static green_hub *hub_of_timer;

static void on_timer(struct ev_loop *loop, ev_timer *t, int events) {
  (void)t, (void)events;
  CHECK(green_run(hub_of_timer) == GREEN_EBUSY);
  ev_break(loop, EVBREAK_ALL);
}

static void heeds_a_break_of_the_hosts_loop(void) {
  green_config c = green_defaults();
  c.loop = ev_loop_new(EVFLAG_AUTO);
  c.flags = GREEN_KEEP_LOOP;
  green_hub *hub = hub_of_timer = embed_open(c);
  ev_timer t;
  ev_timer_init(&t, on_timer, 0.005, 0);
  ev_timer_start(c.loop, &t);
  embed_go(hub, "require 'greenlua'.sleep(100)");
  CHECK(green_run(hub) == GREEN_ESTOPPED);
  ev_timer_set(&t, 0.005, 0);
  ev_timer_start(c.loop, &t);
  CHECK(ev_run(c.loop, 0)); /* kept by the sleeper, until the timer */
  green_free(hub);
  CHECK(!ev_run(c.loop, 0));
  ev_loop_destroy(c.loop);
}

static void keeps_the_hosts_loop_if_told(void) {
  green_config c = green_defaults();
  c.loop = ev_loop_new(EVFLAG_AUTO);
  c.flags = GREEN_KEEP_LOOP;
  green_hub *hub = embed_open(c);
  embed_go(hub, "require 'greenlua'.sleep(0.005) done = true");
  CHECK(!ev_run(c.loop, 0));
  CHECK_TEXT(embed_get(hub, "done"), "true");
  green_free(hub);
  ev_loop_destroy(c.loop);
}

/* --- any other loop --------------------------------------------------------
 */

static void post_number(lua_State *L, green_hub *hub, void *arg) {
  CHECK(green_step(hub, 0) == GREEN_EBUSY);
  CHECK(lua_gettop(L) == 0);
  lua_pushinteger(L, *(int *)arg);
  lua_setglobal(L, "posted");
}

static void *post_later(void *hub) {
  static int number = 42;
  usleep(2000);
  CHECK(green_step(hub, 0) == GREEN_ETHREAD);
  CHECK(green_post(hub, post_number, &number) == GREEN_OK);
  return NULL;
}

static void is_driven_by_a_descriptor(green_config c) {
  green_hub *hub = embed_open(c);
  int fd = green_fd(hub), epoll = epoll_create1(0);
  CHECK(fd >= 0 && green_fd(hub) == fd);
  struct epoll_event e = {.events = EPOLLIN};
  CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e));
  embed_go(hub, "require 'greenlua'.sleep(0.001) slept = true");
  if (!(c.flags & GREEN_NO_LOOP))
    embed_go(hub, "local a, b = require 'greenlua.socket'.pair() "
                  "require 'greenlua'.spawn(function() while true do "
                  "local line = b:receive() if not line then break end "
                  "b:send(line .. '!\\n') end finished = true end) "
                  "for i = 1, 3 do a:send('x\\n') answer = a:receive() end "
                  "a:close()");
  pthread_t thread;
  pthread_create(&thread, NULL, post_later, hub);
  int turns = 0;
  const char *last = c.flags & GREEN_NO_LOOP ? "slept" : "finished";
  for (; !strcmp(embed_get(hub, "posted"), "nil") ||
         !strcmp(embed_get(hub, last), "nil");
       turns++) {
    int64_t next = green_next(hub);
    CHECK(next >= -1);
    epoll_wait(epoll, &e, 1, next < 0 ? -1 : (int)(next / 1000000));
    CHECK(green_step(hub, 1000000) >= 0);
  }
  pthread_join(thread, NULL);
  CHECK_TEXT(embed_get(hub, "slept"), "true");
  if (!(c.flags & GREEN_NO_LOOP)) {
    CHECK_TEXT(embed_get(hub, "answer"), "x!");
    CHECK_TEXT(embed_get(hub, "finished"), "true");
  }
  CHECK(epoll_wait(epoll, &e, 1, 0) == 0); /* it does not ring for ever */
  close(epoll);
  green_free(hub);
}

static void is_driven_by_another_loop(void) {
  green_config c = green_defaults();
  is_driven_by_a_descriptor(c);
  c.flags = GREEN_NO_LOOP;
  is_driven_by_a_descriptor(c);
}

/* --- threads ---------------------------------------------------------------
 */

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
  green_hub *a = embed_open(green_defaults()), *b = embed_open(game());
  embed_go(a, "require 'greenlua'.sleep(0.001) x = 1");
  embed_go(b, "require 'greenlua'.sleep(1) x = 2");
  CHECK(green_step(b, 1000) == GREEN_OK);
  CHECK(green_run(a) == GREEN_OK);
  game_time += 2000000000;
  CHECK(green_step(b, 1000) == GREEN_OK);
  CHECK_TEXT(embed_get(a, "x"), "1");
  CHECK_TEXT(embed_get(b, "x"), "2");
  green_free(a);
  green_free(b);
}

/* --- from inside, and too late ----------------------------------------------
 */

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
  return game_time;
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
  c = game();
  c.clock = clock_tries;
  clocked = hub = embed_open(c);
  embed_go(hub, "require 'greenlua'.sleep(1)");
  tried = 0;
  CHECK(green_step(hub, 0) == GREEN_OK && tried);
  clocked = NULL;
  green_free(hub);
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
  CHECK(green_post(hub, post_number, NULL) == GREEN_ECLOSED);
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
  steps_in_game_time();
  stops_when_the_budget_is_used_up();
  refuses_what_the_hub_has_not();
  lets_idlers_run_when_nobody_is_ready();
  polls_descriptors_in_a_step();
  makes_no_system_call_when_idle();
  tells_how_a_run_ended();
  is_stopped_from_another_thread();
  is_stopped_by_a_script_that_shuts_down();
  lets_main_block_on_its_own_loop();
  runs_inside_a_loop_of_the_hosts();
  heeds_a_break_of_the_hosts_loop();
  keeps_the_hosts_loop_if_told();
  is_driven_by_another_loop();
  refuses_other_threads();
  runs_a_hub_in_each_thread();
  runs_two_hubs_in_one_thread();
  refuses_calls_from_inside();
  refuses_calls_from_the_hosts_functions();
  answers_every_call_after_its_end();
  has_words_for_its_codes();
  return 0;
}
