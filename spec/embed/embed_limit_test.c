/* greenlua.h: limits of memory and time. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "embed.h"

/* ThreadSanitizer holds signals back until the program calls something. */
#ifdef __SANITIZE_THREAD__
#define SPIN " do local _ = {} end "
#else
#define SPIN " do end "
#endif
#define FOREVER "while true" SPIN

enum { MS = 1000 * 1000, MB = 1024 * 1024 };

static _Thread_local char report[4000];

static void on_error(green_hub *hub, const char *text, void *ud) {
  (void)hub, (void)ud;
  size_t n = strlen(report);
  snprintf(report + n, sizeof report - n, "%s", text);
}

static green_config quiet(void) {
  green_config c = green_defaults();
  c.on_error = on_error;
  report[0] = 0;
  return c;
}

static green_hub *sliced(int64_t slice, int64_t budget) {
  green_config c = quiet();
  c.time_slice = slice;
  c.cpu_budget = budget;
  return embed_open(c);
}

static uint64_t preempted(green_hub *hub) {
  green_stats s = {.size = sizeof s};
  CHECK(green_count(hub, &s) == GREEN_OK);
  return s.preempted;
}

/* --- memory --------------------------------------------------------------- */

/* What a script does to have it all. */
static const char *const greedy[] = {
    "local t = {} while true do t[#t + 1] = {} end",
    "local s = 'x' while true do s = s .. s end",
    "local s = string.rep('x', 1 << 40)",
    "local t = table.move({1}, 1, 1, 1) for i = 1, math.huge do t[i] = i end",
    "local function f() return 1 + f() end f()",
    "local t = {} for i = 1, math.huge do t[i] = coroutine.create(print) end",
    "local t = {} while true do t[#t + 1] = function() return t end end",
    "local t = {} while true do local ok = pcall(function()"
    "  while true do t[#t + 1] = ('x'):rep(1000) .. #t end end)"
    "  if not ok then error 'gave up' end end",
    "string.format('%099d', 1):rep(1 << 30)",
    "table.concat(setmetatable({}, {__len = function() return 1 << 30 end,"
    "  __index = function() return ('x'):rep(10000) end}))",
};

/* A reference that the test holds ends the report on stderr as well. */
static void lets_who_asks_for_too_much_die_alone(void) {
  for (size_t i = 0; i < sizeof greedy / sizeof *greedy; i++) {
    green_config c = quiet();
    c.memory = 8 * MB;
    green_hub *hub = embed_open(c);
    embed_go(hub, "n = 0; local green = require 'greenlua'"
                  " for i = 1, 20 do green.sleep(0) n = n + 1 end"
                  " green.killall({}) over = true");
    green_greenlet *g = embed_spawn(hub, greedy[i], 0, NULL);
    for (int turn = 0; turn < 100; turn++) green_step(hub, MS);
    CHECK(embed_status(g) == GREEN_ELUA);
    CHECK_TEXT(embed_get(hub, "over"), "true");
    green_release(g);
    CHECK(embed_do(hub, "collectgarbage() t = ('x'):rep(1 << 20) t = nil"));
    green_stats s = {.size = sizeof s};
    CHECK(green_count(hub, &s) == GREEN_OK);
    CHECK(s.lua_peak <= 8 * MB + 64 * 1024 && s.lua_peak >= s.lua_bytes);
    green_free(hub);
  }
}

static void changes_the_limit_of_memory(void) {
  green_hub *hub = embed_open(quiet());
  CHECK(embed_do(hub, "big = ('x'):rep(4 << 20)"));
  CHECK(green_limit_memory(hub, 2 * MB) == GREEN_OK);
  CHECK(!embed_do(hub, "other = ('y'):rep(1 << 19)"));
  CHECK_TEXT(lua_tostring(green_lua(hub), -1), "not enough memory");
  lua_settop(green_lua(hub), 0);
  lua_pushnil(green_lua(hub));
  lua_setglobal(green_lua(hub), "big");
  CHECK(embed_do(hub, "other = ('y'):rep(1 << 19)"));
  CHECK(green_limit_memory(hub, 0) == GREEN_OK);
  CHECK(embed_do(hub, "big = ('x'):rep(4 << 20)"));
  green_close(hub);
  CHECK(green_limit_memory(hub, MB) == GREEN_ECLOSED);
  green_free(hub);
  CHECK(green_limit_memory(NULL, MB) == GREEN_EINVAL);
}

static void limits_the_memory_of_a_state_of_the_hosts(void) {
  lua_State *L = luaL_newstate();
  green_config c = quiet();
  void *ud, *ud_after;
  lua_Alloc f = lua_getallocf(L, &ud);
  c.L = L;
  c.memory = 4 * MB;
  green_hub *hub = embed_open(c);
  CHECK(!embed_do(hub, "x = ('x'):rep(8 << 20)"));
  lua_settop(L, 0);
  green_close(hub);
  CHECK(lua_getallocf(L, &ud_after) == f && ud_after == ud);
  CHECK(!luaL_dostring(L, "x = ('x'):rep(8 << 20)"));
  green_free(hub);
  lua_close(L);
}

static void does_not_open_where_memory_is_too_small(void) {
  green_config c = quiet();
  for (size_t limit = 20000; limit < 400000; limit += 20000) {
    int code = 0;
    c.memory = limit;
    green_hub *hub = green_open(&c, &code);
    CHECK(hub ? code == GREEN_OK : code == GREEN_ENOMEM);
    green_free(hub);
  }
}

/* --- slices --------------------------------------------------------------- */

/* Where a script may spend its time. */
static const char *const busy[] = {
    FOREVER,
    "while true do pcall(function() " FOREVER " end) end",
    "local function f() " FOREVER " end coroutine.wrap(f)()",
    "local function f() " FOREVER " end"
    " coroutine.wrap(function() coroutine.wrap(f)() end)()",
    "local co = coroutine.create(function() " FOREVER " end)"
    " while true do coroutine.resume(co) end",
    "table.sort({1, 2, 3}, function() " FOREVER " end)",
    "return ('x'):gsub('x', function() " FOREVER " end)",
    "local t = setmetatable({}, {__lt = function() " FOREVER " end})"
    " return t < t",
    "local t <close> = setmetatable({}, {__close = function() " FOREVER
    " end})",
    "local co = coroutine.create(function()"
    " local t <close> = setmetatable({}, {__close = function() " FOREVER
    " end}) coroutine.yield() end)"
    " coroutine.resume(co) coroutine.close(co)",
    "xpcall(error, function() " FOREVER " end)",
    "local t = setmetatable({}, {__index = function() " FOREVER " end})"
    " return t.x",
    "require('greenlua').within(1000, function() " FOREVER " end)",
    "for i = 1, math.huge" SPIN,
    "::top:: local _ = {} goto top",
    "return load(function() " FOREVER " end)",
    "return tostring(setmetatable({}, {__tostring = function() " FOREVER
    " end}))",
    "local f = coroutine.wrap(function() local t <close> = setmetatable({},"
    " {__close = function() " FOREVER " end}) error 'x' end) f()",
};

static void lets_others_run_beside_a_busy_one(void) {
  for (size_t i = 0; i < sizeof busy / sizeof *busy; i++) {
    green_hub *hub = sliced(2 * MS, 0);
    green_release(embed_spawn(hub, busy[i], 0, NULL));
    green_greenlet *g = embed_spawn(
        hub,
        "local green = require 'greenlua' for _ = 1, 3 do green.sleep(0) end",
        0, NULL);
    while (embed_state(g) != GREEN_DEAD) CHECK(green_step(hub, MS) >= 0);
    CHECK(embed_status(g) == GREEN_OK);
    CHECK(preempted(hub) >= 2);
    green_release(g);
    green_free(hub); /* it is closed wherever it stands */
  }
}

static void goes_on_where_it_was_made_to_give_way(void) {
  green_hub *hub = sliced(MS, 0);
  green_greenlet *g[4];
  for (int i = 0; i < 4; i++)
    g[i] = embed_spawn(hub,
                       "local t = {} for i = 1, 300 do"
                       "  for j = 1, 1000 do t[i] = (t[i] or 0) + j end end"
                       " local s = 0 for _, v in ipairs(t) do s = s + v end"
                       " assert(s == 300 * 500500) sum = (sum or 0) + s",
                       0, NULL);
  CHECK(green_run(hub) == GREEN_OK);
  for (int i = 0; i < 4; i++) {
    CHECK(embed_status(g[i]) == GREEN_OK);
    green_release(g[i]);
  }
  CHECK_TEXT(embed_get(hub, "sum"), "600600000");
  green_free(hub);
}

static void does_not_disturb_who_is_quick(void) {
  green_hub *hub = sliced(500 * MS, 0);
  embed_go(hub, "local green, now = require 'greenlua',"
                " require 'greenlua.core'.now local till = now() + 0.6"
                " repeat green.sleep(0) until now() > till done = true");
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "done"), "true");
  CHECK(preempted(hub) == 0);
  green_free(hub);
}

static void closes_a_busy_one(void) {
  green_hub *hub = sliced(MS, 0);
  green_greenlet *g = embed_spawn(hub, FOREVER, 0, NULL);
  while (!preempted(hub)) CHECK(green_step(hub, MS) >= 0);
  CHECK(green_end(g) == GREEN_OK);
  CHECK(green_run(hub) == GREEN_OK);
  CHECK(embed_status(g) == GREEN_EKILLED);
  green_release(g);
  green_free(hub);
}

/* --- <close> variables ---------------------------------------------------- */

/* Counts: as C's own ways to give back what is held do, it calls no Lua. */
static int closed;

static int note_close(lua_State *L) {
  (void)L;
  closed++;
  return 0;
}

/* What holds one variable outside of the C function and one inside. */
static const char *const holding[] = {
    "hold(function() " FOREVER " end)",
    "hold(function() table.sort({1, 2, 3}, function() " FOREVER " end) end)",
    "hold(function() return ('x'):gsub('x', function() " FOREVER " end) end)",
    "hold(coroutine.wrap(function() table.sort({1, 2}, function() " FOREVER
    " end) end))",
    "hold(function() table.sort({1, 2}, coroutine.wrap(function() " FOREVER
    " end)) end)",
    "hold(function() table.sort({1, 2}, function() coroutine.wrap(function()"
    " table.sort({1, 2}, function() " FOREVER " end) end)() end) end)",
};

enum { NHOLDING = sizeof holding / sizeof *holding };

/* A hub with a greenlet that holds the semaphore, for which another waits. */
static green_hub *with_holder(const char *body, const green_options *o,
                              green_greenlet **g) {
  char code[800];
  green_hub *hub = sliced(MS, 0);
  lua_State *L = green_lua(hub);
  lua_register(L, "note", note_close);
  CHECK(embed_do(hub, "sem = require 'greenlua'.Semaphore(1)"
                      " noted = {__close = note} function hold(f)"
                      "  local a <close> = setmetatable({}, noted)"
                      "  local b <close> = sem:hold()"
                      "  local c <close> = setmetatable({}, {__close ="
                      "    function() entered = true " FOREVER " end})"
                      "  local d <close> = setmetatable({}, noted)"
                      "  f() end"));
  closed = 0;
  snprintf(code, sizeof code, "local b <close> = setmetatable({}, noted) %s",
           body);
  *g = embed_spawn(hub, code, 0, o);
  embed_go(hub, "local green = require 'greenlua' green.sleep(0)"
                " local s <close> = sem:hold() got = true");
  return hub;
}

static void closes_the_variables_of_who_is_out_of_time(void) {
  for (int i = 0; i < NHOLDING; i++) {
    green_greenlet *g;
    green_options o = {.size = sizeof o, .cpu_budget = 5 * MS};
    green_hub *hub = with_holder(holding[i], &o, &g);
    CHECK(green_run(hub) == GREEN_OK);
    if (closed != 3) fprintf(stderr, "%d closed: %s\n", closed, holding[i]);
    CHECK(closed == 3);
    CHECK_TEXT(embed_get(hub, "got"), "true");
    CHECK_TEXT(embed_get(hub, "entered"), "nil"); /* no Lua of its own */
    CHECK(embed_status(g) == GREEN_ELUA);
    CHECK(strstr(report, "the budget of CPU time is used up"));
    green_release(g);
    green_free(hub);
  }
}

static void closes_the_variables_of_one_that_gives_way(void) {
  for (int i = 0; i < NHOLDING; i++) {
    green_greenlet *g;
    green_options o = {.size = sizeof o, .cpu_budget = 200 * MS};
    green_hub *hub = with_holder(holding[i], &o, &g);
    while (!preempted(hub)) CHECK(green_step(hub, MS) >= 0);
    CHECK(green_end(g) == GREEN_OK);
    CHECK(green_run(hub) == GREEN_OK);
    CHECK(closed == 3);
    CHECK_TEXT(embed_get(hub, "entered"), "true");
    CHECK_TEXT(embed_get(hub, "got"), "true");
    green_release(g);
    green_free(hub);
  }
}

static void closes_the_variables_at_the_end_of_the_hub(void) {
  for (int i = 0; i < NHOLDING; i++) {
    green_greenlet *g;
    green_hub *hub = with_holder(holding[i], NULL, &g);
    while (!preempted(hub)) CHECK(green_step(hub, MS) >= 0);
    CHECK(green_close(hub) == GREEN_OK);
    CHECK(closed == 3);
    green_release(g);
    green_free(hub);
  }
}

static void limits_one_greenlet_and_what_it_starts(void) {
  green_hub *hub = embed_open(quiet());
  green_options o = {.size = sizeof o, .time_slice = MS};
  green_greenlet *g = embed_spawn(
      hub, "require('greenlua').spawn(function() " FOREVER "end) " FOREVER, 0,
      &o);
  embed_go(hub, "local green = require 'greenlua'"
                " for i = 1, 5 do green.sleep(0) end over = true");
  while (strcmp(embed_get(hub, "over"), "true")) green_step(hub, MS);
  CHECK(preempted(hub) >= 4);
  green_release(g);
  green_free(hub);
}

static void ends_what_the_hub_calls_and_does_not_return(int64_t slice,
                                                        int64_t budget) {
  green_hub *hub = sliced(slice, budget);
  embed_go(hub, "local green = require 'greenlua'"
                " green.spawn(green.sleep, 0):rawlink(function() " FOREVER
                "end) green.sleep(0) green.sleep(0) over = true");
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "over"), "true");
  CHECK(strstr(report, "a function that the hub calls takes too long"));
  green_free(hub);
}

static void closes_a_hub_whose_close_variables_do_not_end(void) {
  green_hub *hub = sliced(MS, 0);
  embed_go(hub,
           "local function hold() local t <close> = setmetatable({},"
           " {__close = function() closed = true " FOREVER " end})"
           " require('greenlua').sleep(1000) end"
           " local a <close> = setmetatable({}, {__close = function() " FOREVER
           " end}) coroutine.wrap(hold)()");
  CHECK(green_step(hub, MS) == GREEN_OK);
  green_free(hub);
}

/* --- budgets -------------------------------------------------------------- */

static void ends_who_is_out_of_time_whatever_it_catches(void) {
  static const char *const stubborn[] = {
      "while true do xpcall(function() " FOREVER " end, function() " FOREVER
      " end) end",
      "local function again() local t <close> = setmetatable({},"
      " {__close = again}) " FOREVER " end again()",
      "while true do local co = coroutine.create(function() " FOREVER
      " end) coroutine.resume(co) end",
      "while true do local g = require('greenlua').spawn(function() " FOREVER
      " end) pcall(g.get, g) end",
      "local green = require 'greenlua'"
      " local function bomb() green.spawn(bomb) green.spawn(bomb) end bomb()",
      "while true do require('greenlua').sleep(0) end",
      "local green = require('greenlua') local a = green.spawn(type, 1)"
      " while true do a:link(function() " FOREVER " end) green.sleep(0) end",
      "local green = require('greenlua') local g = green.spawn(green.sleep, 0)"
      " g:link(function() " FOREVER " end) g:join()",
      "local e = require('greenlua').Event()"
      " while true do e:rawlink(function() " FOREVER " end) e:set() end",
      "local q = require('greenlua').PriorityQueue(nil, {2, 1}, "
      "function() " FOREVER " end) while true do pcall(q.put, q, 1) end",
  };
  for (size_t i = 0; i < sizeof stubborn / sizeof *stubborn; i++) {
    green_hub *hub = embed_open(quiet());
    green_options o = {.size = sizeof o, .cpu_budget = 5 * MS};
    CHECK(green_limit_memory(hub, 64 * MB) == GREEN_OK);
    CHECK(green_limit_time(hub, MS, 0) == GREEN_OK);
    green_greenlet *g = embed_spawn(hub, stubborn[i], 0, &o);
    embed_go(hub, "local green = require 'greenlua'"
                  " for i = 1, 3 do green.sleep(0) end over = true");
    CHECK(green_run(hub) == GREEN_OK);
    CHECK_TEXT(embed_get(hub, "over"), "true");
    green_info info = {.size = sizeof info};
    CHECK(green_inspect(g, &info) == GREEN_OK && info.state == GREEN_DEAD);
    CHECK(info.cpu_used >= 5 * MS);
    green_release(g);
    green_free(hub);
  }
}

static void says_that_the_budget_is_used_up(void) {
  green_hub *hub = embed_open(quiet());
  green_options o = {.size = sizeof o, .cpu_budget = MS};
  green_greenlet *g = embed_spawn(hub, FOREVER, 0, &o);
  CHECK(green_run(hub) == GREEN_OK);
  CHECK(embed_status(g) == GREEN_ELUA);
  CHECK(strstr(report, "the budget of CPU time is used up"));
  green_release(g);
  green_free(hub);
}

static void has_a_budget_for_all(void) {
  green_hub *hub = sliced(0, 5 * MS);
  embed_go(hub, FOREVER);
  embed_go(hub, "while true do require('greenlua').sleep(0) end");
  CHECK(green_run(hub) == GREEN_OK);
  CHECK(green_limit_time(hub, 0, 0) == GREEN_OK);
  embed_go(hub, "fine = true");
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "fine"), "true");
  green_free(hub);
}

/* --- the signal ----------------------------------------------------------- */

static void handler(int sig) {
  (void)sig;
}

static void leaves_a_handler_of_the_programs_alone(void) {
  struct sigaction before, after;
  int code = 0;
  signal(SIGRTMIN + 3, handler);
  green_config c = quiet();
  c.time_slice = MS;
  c.time_signal = SIGRTMIN + 3;
  CHECK(!green_open(&c, &code) && code == GREEN_ELUA);
  green_hub *hub = embed_open(quiet());
  CHECK(green_limit_time(hub, -1, 0) == GREEN_EINVAL);
  green_free(hub);
  signal(SIGRTMIN + 3, SIG_DFL);
  sigaction(SIGRTMIN + 3, NULL, &before);
  hub = embed_open(c);
  embed_go(hub, "for i = 1, 2e6" SPIN);
  CHECK(green_run(hub) == GREEN_OK);
  green_free(hub);
  sigaction(SIGRTMIN + 3, NULL, &after);
  CHECK(before.sa_handler == SIG_DFL && after.sa_handler == SIG_DFL);
}

static void *run_one(void *arg) {
  green_hub *hub = sliced(MS, 0);
  (void)arg;
  embed_go(hub, "local green = require 'greenlua'"
                " local busy = green.spawn(function() " FOREVER "end)"
                " for i = 1, 5 do green.sleep(0) end busy:close()");
  CHECK(green_run(hub) == GREEN_OK);
  CHECK(preempted(hub) >= 4);
  green_free(hub);
  return NULL;
}

static void limits_hubs_of_several_threads(void) {
  pthread_t threads[3];
  for (int i = 0; i < 3; i++)
    CHECK(!pthread_create(&threads[i], NULL, run_one, NULL));
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

/* --- sandboxes ------------------------------------------------------------ */

static green_hub *sandbox(unsigned grants) {
  green_config c = quiet();
  c.open = green_opensandbox;
  c.grants = grants;
  c.memory = 16 * MB;
  c.time_slice = MS;
  return embed_open(c);
}

static void gives_a_sandbox_what_is_granted(void) {
  green_hub *hub = sandbox(0);
  CHECK(embed_do(hub, "assert(not io and not package and not os.execute"
                      " and not string.dump and not debug.getinfo"
                      " and not ('').dump)"));
  CHECK(embed_do(hub,
                 "local green = require 'greenlua' assert(green.Queue"
                 " and green.Pool and green.LoopExit() and not green.socket"
                 " and not pcall(require, 'greenlua.socket'))"));
  CHECK(embed_do(hub, "assert(_G == require '_G')"));
  green_free(hub);
  hub = sandbox(GREEN_GRANT_SOCKETS);
  CHECK(embed_do(hub, "require('greenlua.socket') require('greenlua.http')"
                      " assert(require('greenlua').websocket and not io)"));
  green_free(hub);
  hub = sandbox(GREEN_GRANT_FILES | GREEN_GRANT_PROCESSES);
  CHECK(embed_do(hub, "assert(io.open and io.popen and os.execute)"
                      " assert(not pcall(require, 'greenlua.socket'))"));
  green_free(hub);
}

/* Some are refused, the others have no effect. */
static const char *const finalizers[] = {
    "setmetatable({}, {__gc = gc})",
    "local mt = {} setmetatable({}, mt) mt.__gc = gc setmetatable({}, mt)",
    "local Q = require('greenlua').Queue Q.__gc = gc Q() Q(5)",
    "local E = require('greenlua').Event E.__gc = gc E()",
    "local E = require('greenlua').Event:extend 'E' E.__gc = gc E()",
    "local C = require('greenlua').Greenlet:extend 'C' C.__gc = gc"
    " C(print) C.spawn(print)",
    "local Q = require('greenlua').Queue:extend 'Q' Q.__gc = gc Q() Q(3)",
    "local q = require('greenlua').Queue() q.__index.__gc = gc"
    " require('greenlua').Queue()",
    "local L = require('greenlua').Local:extend 'L' L.__gc = gc L()",
    "local T = require('greenlua').Timeout T.__gc = gc T(1):cancel()",
    "local G = require('greenlua').Group:extend 'G' G.__gc = gc G()",
    "local S = require('greenlua').Semaphore S.__gc = gc S():hold()",
};

static void lets_no_script_have_a_finalizer(void) {
  for (size_t i = 0; i < sizeof finalizers / sizeof *finalizers; i++) {
    green_hub *hub = sandbox(0);
    CHECK(embed_do(hub, "function gc() ran = true end"));
    embed_do(hub, finalizers[i]);
    lua_settop(green_lua(hub), 0);
    lua_gc(green_lua(hub), LUA_GCCOLLECT);
    lua_gc(green_lua(hub), LUA_GCCOLLECT);
    if (strcmp(embed_get(hub, "ran"), "nil"))
      fprintf(stderr, "%s\n", finalizers[i]);
    CHECK_TEXT(embed_get(hub, "ran"), "nil");
    green_free(hub);
  }
}

static const char *const escapes[] = {
    "getmetatable('').__index = nil",
    "return load('\\27Lua')()",
    "debug.getregistry()",
    "require 'greenlua.core'",
    "require('greenlua').socket.bind('*', 0)",
    "require('greenlua').shutdown()",
    "coroutine.wrap(function() error(setmetatable({}, {__tostring = error}))"
    " end)()",
};

static void refuses_attempts_to_escape(void) {
  for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
    green_hub *hub = sandbox(0);
    CHECK(!embed_do(hub, escapes[i]));
    lua_settop(green_lua(hub), 0);
    CHECK(embed_do(hub, "string.rep = nil assert(('x'):rep(2) == 'xx')"));
    green_free(hub);
  }
}

/* Their signals do not come where ThreadSanitizer holds them back. */
#ifndef __SANITIZE_THREAD__
/* C functions of Lua's that run for as long as their arguments say. */
static const char *const in_c[] = {
    "return ('a'):rep(40):find(('a?'):rep(40) .. ('a'):rep(40))",
    "return string.match(('a'):rep(1e5), ('.-'):rep(20) .. 'b')",
    "return ('a'):rep(1e5):gsub(('.-'):rep(20) .. 'b', '')",
    "for _ in ('a'):rep(1e5):gmatch(('.-'):rep(20) .. 'b') do end",
    "return ('('):rep(4e6):find '%b()'",
    "return ('a'):rep(4e6):find '^(.-)%1*b'",
    "table.move({}, 1, math.maxinteger - 1, 2)",
    "table.concat(setmetatable({}, {__index = table.concat}), '', 1, 1 << 62)",
    "table.insert(setmetatable({}, {__len = function() return 1 << 62 end}),"
    " 1, 1)",
    "table.remove(setmetatable({}, {__len = function() return 1 << 62 end}),"
    " 1)",
    "table.sort(setmetatable({}, {__len = function() return 1 << 30 end,"
    " __index = rawlen, __newindex = rawlen}), math.ult)",
};

static void stops_c_functions_that_take_long(void) {
  for (size_t i = 0; i < sizeof in_c / sizeof *in_c; i++) {
    green_hub *hub = sandbox(0);
    green_options o = {.size = sizeof o, .cpu_budget = 5 * MS};
    green_release(embed_spawn(hub, in_c[i], 0, NULL));
    green_greenlet *g[] = {
        embed_spawn(hub, "for i = 1, 3 do require('greenlua').sleep(0) end", 0,
                    NULL),
        embed_spawn(hub, in_c[i], 0, &o)};
    for (int k = 0; k < 2; k++) {
      while (embed_state(g[k]) != GREEN_DEAD) CHECK(green_step(hub, MS) >= 0);
      CHECK(embed_status(g[k]) == (k ? GREEN_ELUA : GREEN_OK));
      green_release(g[k]);
    }
    if (!strstr(report, "the budget of CPU time"))
      fprintf(stderr, "%s\n%s", in_c[i], report);
    CHECK(strstr(report, "the budget of CPU time is used up"));
    CHECK(preempted(hub) >= 2);
    green_free(hub); /* the first one stands in it still */
  }
}
#endif

/* Those of time and memory meet in one. */
static void outlives_scripts_that_mean_harm(void) {
  static const char *const bad[] = {
      "local green = require 'greenlua' while true do pcall(function()"
      " local t = {} while true do t[#t + 1] = green.spawn(function() " FOREVER
      " end) end end) end",
      "local function f() return pcall(f) end while true do f() end",
      "local function f() return xpcall(f, f) end while true do f() end",
      "while true do pcall(string.rep, 'x', 1 << 30) end",
      "local co while true do local last = co co = coroutine.wrap(function()"
      " if last then last() end coroutine.yield() end) pcall(co) end",
      "while true do pcall(error, setmetatable({}, {__tostring = "
      "function() " FOREVER " end})) end",
      "error(setmetatable({}, {__tostring = function() " FOREVER " end}))",
      "while true do xpcall(error, function() error() end) end",
      "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
      "local t = {} while true do pcall(table.insert, t, ('x'):rep(1e4)) end",
      "local function f(...) return f(1, ...) end while true do pcall(f) end",
      "local function f(s) return pcall(string.gsub, s, '.', f) end"
      " while true do f 'x' end",
      "while true do pcall(load, function() return 'local x = {' end) end",
      "while true do pcall(string.format, '%99.99f', 1e308) end",
      "local t = setmetatable({}, {__index = function(t, i)"
      " return require('greenlua').current() end})"
      " require('greenlua').joinall(t)",
      "local t <close> = setmetatable({}, {__close = function() " FOREVER
      " end}) table.sort({1, 2, 3}, function() " FOREVER " end)",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    green_hub *hub = sandbox(0);
    CHECK(green_limit_time(hub, MS, 20 * MS) == GREEN_OK);
    green_greenlet *g = embed_spawn(hub, bad[i], 0, NULL);
    CHECK(green_run(hub) == GREEN_OK);
    CHECK(embed_state(g) == GREEN_DEAD);
    green_release(g);
    green_free(hub);
  }
}

int main(void) {
  gives_a_sandbox_what_is_granted();
  lets_no_script_have_a_finalizer();
  refuses_attempts_to_escape();
#ifndef __SANITIZE_THREAD__
  stops_c_functions_that_take_long();
#endif
  outlives_scripts_that_mean_harm();
  lets_who_asks_for_too_much_die_alone();
  changes_the_limit_of_memory();
  limits_the_memory_of_a_state_of_the_hosts();
  does_not_open_where_memory_is_too_small();
  lets_others_run_beside_a_busy_one();
  goes_on_where_it_was_made_to_give_way();
  does_not_disturb_who_is_quick();
  closes_a_busy_one();
  closes_the_variables_of_who_is_out_of_time();
  closes_the_variables_of_one_that_gives_way();
  closes_the_variables_at_the_end_of_the_hub();
  limits_one_greenlet_and_what_it_starts();
  ends_what_the_hub_calls_and_does_not_return(MS, 0);
  ends_what_the_hub_calls_and_does_not_return(0, 1000 * MS);
  closes_a_hub_whose_close_variables_do_not_end();
  ends_who_is_out_of_time_whatever_it_catches();
  says_that_the_budget_is_used_up();
  has_a_budget_for_all();
  leaves_a_handler_of_the_programs_alone();
  limits_hubs_of_several_threads();
}
