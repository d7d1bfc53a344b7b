/* What greenlua.h costs a host:
 *
 *     build/release/bench/embed [frames]
 *
 * prints `metric value unit` lines.  `open_close` is a hub with its Lua state.
 * `step_idle` is green_step with nothing to do.  `lua_switch` is two greenlets
 * that give way to each other, `c_switch` the same of two C functions;
 * `lua_wake` two that park by turns and wake each other by semaphores, `c_wake`
 * and `c_wake_k` two C functions that do so by green_wait, in place and with a
 * continuation.  `frame` is a step of a game in which 10,000 characters wake
 * once each, and `frame_floor` as many bare coroutines.
 *
 * `preempt_stall` is for how long a `while true do end` holds up one that is
 * ready, in its time slices; `preempt_on` what it costs to have a time slice
 * that nobody overruns, in percent of CPU time: of switches, of spawning and of
 * computing. */
#include <greenlua.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { IDLE = 2000000, SWITCHES = 2000000, CHARACTERS = 10000 };
static const int64_t FRAME = 16666667;

/* CPU time: nothing here waits, and others may use the machine. */
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int64_t game_time;

static int64_t game_clock(void *ud) {
  (void)ud;
  return game_time;
}

static void spawn(green_hub *hub, const char *code) {
  lua_State *L = green_lua(hub);
  if (luaL_loadstring(L, code)) abort();
  green_release(green_spawn(L, 0, NULL));
}

static green_hub *open_hub(green_config c) {
  green_hub *hub = green_open(&c, NULL);
  if (!hub) abort();
  return hub;
}

static void idle(const char *name, green_config c, int sleepers) {
  green_hub *hub = open_hub(c);
  while (sleepers--) spawn(hub, "require 'greenlua'.sleep(1e6)");
  while (green_step(hub, INT64_MAX) == GREEN_MORE)
    ;
  double t = now();
  for (int i = 0; i < IDLE; i++) green_step(hub, 2000000);
  printf("%s %.1f ns\n", name, (now() - t) / IDLE * 1e9);
  green_free(hub);
}

/* --- switches ------------------------------------------------------------- */

static green_wait *turn[2]; /* whom the other one will wake */

static int play_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  int code = green_woken(L, ctx, play_k, NULL);
  return code ? green_throw(L, code) : 0;
}

/* play(me, k): wake the other one, wait for it */
static int play(lua_State *L) {
  int me = (int)lua_tointeger(L, 1), k = lua_toboolean(L, 2);
  green_wait *w = green_wait_new(L, "turn", NULL), *other = turn[!me];
  if (!w) return green_throw(L, GREEN_EBLOCK);
  turn[me] = w;
  turn[!me] = NULL;
  if (other) green_done(other, GREEN_OK, NULL);
  if (k) return green_parkk(L, w, -1, 0, play_k);
  int code = green_park(L, w, -1, NULL);
  return code ? green_throw(L, code) : 0;
}

static int give_way(lua_State *L) {
  int code = green_sleep(L, 0);
  return code ? green_throw(L, code) : 0;
}

/* stop(): the last one to wait is let go */
static int stop(lua_State *L) {
  (void)L;
  for (int i = 0; i < 2; i++)
    if (turn[i]) green_done(turn[i], GREEN_OK, NULL);
  turn[0] = turn[1] = NULL;
  return 0;
}

static void switches(const char *name, const char *body, int n) {
  green_hub *hub = open_hub(green_defaults());
  lua_State *L = green_lua(hub);
  char code[400];
  lua_register(L, "play", play);
  lua_register(L, "stop", stop);
  lua_register(L, "give_way", give_way);
  luaL_dostring(L, "local S = require 'greenlua'.Semaphore "
                   "sems = {[0] = S(0), S(0)}");
  for (int i = 0; i < 2; i++) {
    snprintf(code, sizeof code,
             "local sleep, give_way, me, play = require 'greenlua'.sleep, "
             "give_way, %d, play local mine, other = sems[me], sems[1 - me] "
             "for _ = 1, %d do %s end stop()",
             i, n / 2, body);
    spawn(hub, code);
  }
  double t = now();
  green_run(hub);
  printf("%s %.1f ns\n", name, (now() - t) / n * 1e9);
  green_free(hub);
}

/* --- frames --------------------------------------------------------------- */

static int by_time(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void frames(int n) {
  green_config c = green_defaults();
  c.flags = GREEN_NO_LOOP;
  c.clock = game_clock;
  green_hub *hub = open_hub(c);
  double *took = malloc((size_t)n * sizeof *took), sum = 0;
  for (int i = 0; i < CHARACTERS; i++)
    spawn(hub, "local sleep, x = require 'greenlua'.sleep, 0 "
               "while true do sleep(0.016) x = x + 1 end");
  green_step(hub, INT64_MAX);
  for (int i = 0; i < n; i++) {
    game_time += FRAME;
    double t = now();
    green_step(hub, INT64_MAX);
    took[i] = now() - t;
    sum += took[i];
  }
  qsort(took, (size_t)n, sizeof *took, by_time);
  printf("frame %.2f ms\n", sum / n * 1e3);
  printf("frame_p99 %.2f ms\n", took[n * 99 / 100] * 1e3);
  free(took);
  green_free(hub);
}

static void open_and_close(int n) {
  double t = now();
  for (int i = 0; i < n; i++) green_free(open_hub(green_defaults()));
  printf("open_close %.0f us\n", (now() - t) / n * 1e6);
}

/* --- preemption ----------------------------------------------------------- */

enum { STALLS = 300, ROUNDS = 15 };
static const int64_t SLICE = 5000000;

static double stalls[STALLS];
static int nstalls;
static double stopped_at;

/* stalled(): the time since it was called last; enough? */
static int stalled(lua_State *L) {
  double t = now();
  if (stopped_at > 0 && nstalls < STALLS) stalls[nstalls++] = t - stopped_at;
  lua_pushboolean(L, nstalls == STALLS);
  stopped_at = now();
  return 1;
}

static void preempt_stall(const char *place, const char *busy) {
  green_config c = green_defaults();
  c.time_slice = SLICE;
  green_hub *hub = open_hub(c);
  lua_register(green_lua(hub), "stalled", stalled);
  nstalls = 0;
  stopped_at = 0;
  spawn(hub, "local sleep = require 'greenlua'.sleep sleep()"
             " while not stalled() do sleep() end");
  spawn(hub, busy);
  while (nstalls < STALLS) green_step(hub, 0);
  green_free(hub);
  qsort(stalls, STALLS, sizeof *stalls, by_time);
  const double slice = (double)SLICE * 1e-9;
  printf("preempt_stall%s %.2f slices\n", place, stalls[STALLS / 2] / slice);
  printf("preempt_stall%s_p99 %.2f slices\n", place,
         stalls[STALLS * 99 / 100] / slice);
  printf("preempt_stall%s_max %.2f slices\n", place,
         stalls[STALLS - 1] / slice);
}

static double time_of(const char *code, int64_t slice) {
  green_config c = green_defaults();
  c.time_slice = slice;
  green_hub *hub = open_hub(c);
  for (int i = 0; i < 4; i++) spawn(hub, code);
  double t = now();
  green_run(hub);
  t = now() - t;
  green_free(hub);
  return t;
}

/* By turns, and the best of each: what else the machine does comes on top. */
static void preempt_on(const char *what, const char *code) {
  double off = 1e9, on = 1e9;
  for (int i = 0; i < ROUNDS; i++) {
    double a = time_of(code, 0), b = time_of(code, 20 * SLICE);
    if (a < off) off = a;
    if (b < on) on = b;
  }
  printf("preempt_on_%s %.2f %%\n", what, (on / off - 1) * 100);
}

static void preemption(void) {
  preempt_stall("", "while true do end");
  preempt_stall("_in_c",
                "table.sort({1, 2}, function() while true do end end)");
  preempt_on("switch", "local sleep = require 'greenlua'.sleep"
                       " for _ = 1, 1e5 do sleep() end");
  preempt_on("spawn", "local spawn = require 'greenlua'.spawn"
                      " local function f() end"
                      " for _ = 1, 2e4 do spawn(f):join() end");
  preempt_on("compute", "local sleep = require 'greenlua'.sleep for _ = 1, 100"
                        " do local x = 0 for i = 1, 3e4 do x = x + i end"
                        " sleep() end");
}

/* The least there is to do: bare coroutines, resumed by turns. */
static void frame_floor(int n) {
  static lua_State *all[CHARACTERS];
  lua_State *L = luaL_newstate();
  int nres;
  luaL_openlibs(L);
  luaL_checkstack(L, CHARACTERS + 10, NULL);
  for (int i = 0; i < CHARACTERS; i++) {
    all[i] = lua_newthread(L);
    luaL_loadstring(all[i], "local yield, x = coroutine.yield, 0 "
                            "while true do yield() x = x + 1 end");
    lua_resume(all[i], L, 0, &nres);
  }
  double t = now();
  for (int k = 0; k < n; k++)
    for (int i = 0; i < CHARACTERS; i++) lua_resume(all[i], L, 0, &nres);
  printf("frame_floor %.2f ms\n", (now() - t) / n * 1e3);
  lua_close(L);
}

int main(int argc, char **argv) {
  open_and_close(200);
  green_config c = green_defaults();
  idle("step_idle", c, 0);
  idle("step_idle_sleepers", c, 1000);
  c.flags = GREEN_NO_LOOP;
  idle("step_idle_no_loop", c, 0);
  switches("lua_switch", "sleep()", SWITCHES);
  switches("c_switch", "give_way()", SWITCHES);
  switches("lua_wake",
           "other:release() if me == 0 or _ > 1 then mine:acquire() end",
           SWITCHES / 2);
  switches("c_wake", "play(me)", SWITCHES);
  switches("c_wake_k", "play(me, true)", SWITCHES / 2);
  frames(argc > 1 ? atoi(argv[1]) : 300);
  frame_floor(argc > 1 ? atoi(argv[1]) : 300);
  preemption();
  return 0;
}
