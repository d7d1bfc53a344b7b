/* greenlua.h: green_run, and a loop of the host's. */
#include "embed.h"

#include <ev.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

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

/* --- a loop of the host's ------------------------------------------------- */

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

/* --- any other loop ------------------------------------------------------- */

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

int main(void) {
  tells_how_a_run_ended();
  is_stopped_from_another_thread();
  is_stopped_by_a_script_that_shuts_down();
  lets_main_block_on_its_own_loop();
  runs_inside_a_loop_of_the_hosts();
  heeds_a_break_of_the_hosts_loop();
  keeps_the_hosts_loop_if_told();
  is_driven_by_another_loop();
  return 0;
}
