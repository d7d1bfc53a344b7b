/* greenlua.h: waiting for what other threads do. */
#include "embed.h"

#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

static int dropped;

static void drop(void *result) {
  if (result) dropped++;
}

static void step(green_hub *hub) {
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
}

static void *complete(void *w) {
  usleep(500);
  return (void *)(intptr_t)green_done(w, GREEN_OK, "from afar");
}

static pthread_t threads[64];
static int nthreads;

static int ask_thread(lua_State *L) {
  double timeout = luaL_optnumber(L, 1, -1);
  void *result;
  green_wait *w = green_wait_new(L, "thread", drop);
  CHECK(w && !pthread_create(&threads[nthreads++], NULL, complete, w));
  int code = green_park(L, w, timeout, &result);
  if (code) return green_throw(L, code);
  lua_pushstring(L, result);
  return 1;
}

static void join_threads(void) {
  while (nthreads) pthread_join(threads[--nthreads], NULL);
}

static void is_completed_by_other_threads(void) {
  green_hub *hub = embed_open(green_defaults());
  lua_register(green_lua(hub), "ask_thread", ask_thread);
  CHECK(embed_do(hub, "n = 0"));
  for (int i = 0; i < 20; i++)
    embed_go(hub, "if ask_thread() == 'from afar' then n = n + 1 end");
  for (int i = 0; i < 10; i++) embed_go(hub, "pcall(ask_thread, 0.0001)");
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "n"), "20");
  join_threads();
  step(hub);
  for (int i = 0; i < 10; i++) embed_go(hub, "ask_thread()");
  step(hub);
  green_free(hub); /* while they are on their way */
  join_threads();
}

static sem_t gate; /* for those that have begun */

static void work_gated(void *arg) {
  while (sem_wait(&gate)) continue;
  *(int *)arg = 77;
}

static void open_gate(int n) {
  while (n--) sem_post(&gate);
}

static void drop_int(void *arg) {
  CHECK(arg);
  free(arg);
  dropped++;
}

static int work(lua_State *L) {
  int *arg = malloc(sizeof *arg);
  *arg = 0;
  int code = green_work(L, work_gated, arg, luaL_optnumber(L, 1, -1), drop_int);
  if (code) return green_throw(L, code);
  lua_pushinteger(L, *arg);
  free(arg);
  return 1;
}

static int kill_it(green_greenlet *g, void *ud) {
  (void)ud;
  return green_kill(g, "too late");
}

enum { WORKERS = 20 }; /* more than there are threads */

static green_hub *open_worker(green_config c) {
  green_hub *hub = embed_open(c);
  lua_register(green_lua(hub), "work", work);
  CHECK(!sem_init(&gate, 0, 0));
  dropped = 0;
  return hub;
}

static void close_worker(green_hub *hub) {
  green_free(hub);
  sem_destroy(&gate);
}

static void runs_what_blocks_on_threads(void) {
  green_hub *hub = open_worker(green_defaults());
  CHECK(embed_do(hub, "n = 0"));
  for (int i = 0; i < WORKERS; i++)
    embed_go(hub, "if work() == 77 then n = n + 1 end");
  open_gate(WORKERS);
  CHECK(green_run(hub) == GREEN_OK && !dropped);
  CHECK_TEXT(embed_get(hub, "n"), "20");
  close_worker(hub);
}

static void drops_the_work_of_the_killed(void) {
  green_hub *hub = open_worker(green_defaults());
  CHECK(embed_do(hub, "late = 0"));
  for (int i = 0; i < WORKERS; i++)
    embed_go(hub, "local ok, why = pcall(work, 1000) "
                  "if why == 'too late' then late = late + 1 end");
  step(hub);
  CHECK(green_each(hub, kill_it, NULL) == 0);
  step(hub);
  CHECK_TEXT(embed_get(hub, "late"), "20");
  CHECK(dropped >= WORKERS - 8); /* who had not begun */
  open_gate(WORKERS);
  while (dropped < WORKERS) green_step(hub, INT64_MAX);
  close_worker(hub);
}

static void refuses_work_in_a_finalizer(void) {
  green_hub *hub = open_worker(green_defaults());
  embed_go(hub, "setmetatable({}, {__gc = function() ok, why = pcall(work) "
                "end}) collectgarbage()");
  step(hub);
  CHECK(strstr(embed_get(hub, "why"), "cannot block here"));
  CHECK(dropped == 1);
  close_worker(hub);
}

static void waits_for_its_threads_at_the_end(void) {
  green_hub *hub = open_worker(green_defaults());
  for (int i = 0; i < WORKERS; i++) embed_go(hub, "work()");
  step(hub);
  open_gate(WORKERS);
  green_free(hub);
  CHECK(dropped == WORKERS);
  sem_destroy(&gate);
}

static void needs_no_loop_for_them(void) {
  green_config c = green_defaults();
  c.flags = GREEN_NO_LOOP | GREEN_KEEP_LOOP;
  green_hub *hub = open_worker(c);
  embed_go(hub, "x = work()");
  open_gate(1);
  while (!strcmp(embed_get(hub, "x"), "nil")) green_step(hub, INT64_MAX);
  close_worker(hub);
}

int main(void) {
  is_completed_by_other_threads();
  runs_what_blocks_on_threads();
  drops_the_work_of_the_killed();
  refuses_work_in_a_finalizer();
  waits_for_its_threads_at_the_end();
  needs_no_loop_for_them();
  return 0;
}
