/* greenlua.h: who runs the hub, and work from other threads. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "alloc.h"
#include "green.h"

/* --- until the end -------------------------------------------------------- */

static const gr_wait run_wait = {.name = "run", .calm = true, .foreign = true};

/* (state) -> what was raised in main, as text */
static int describe(lua_State *L) {
  gr_state *S = lua_touserdata(L, 1);
  gr_push_interrupt(L, S, S->main);
  luaL_tolstring(L, -1, NULL);
  return 1;
}

static int outcome(green_hub *hub, gr_state *S, int how) {
  switch (how) {
  case GR_DEADLOCK:
    return GREEN_EDEADLOCK;
  case GR_CLOSED:
    return GREEN_ESTOPPED;
  case GR_RAISE:
    lua_pushcfunction(S->talk, describe);
    lua_pushlightuserdata(S->talk, S);
    lua_pcall(S->talk, 1, 1, 0); /* an error will do as well */
    return gr_shell_fail(hub, S->talk, GREEN_ELUA);
  default:
    return GREEN_OK;
  }
}

static bool stopped(green_hub *hub) {
  return __atomic_exchange_n(&hub->stop, 0, __ATOMIC_ACQ_REL);
}

int green_run(green_hub *hub) {
  int code = gr_shell_check(hub);
  if (code) return code;
  gr_state *S = hub->S;
  struct ev_loop *loop = S->hub.loop;
  if (!loop || S->hub.clock) return GREEN_EINVAL;
  if (hub->running || (!S->hub.owns_loop && ev_depth(loop))) return GREEN_EBUSY;
  if (gr_interrupted(S)) return outcome(hub, S, GR_RAISE);
  if (stopped(hub)) return GREEN_ESTOPPED;
  if (!S->living) return GREEN_OK;
  hub->running = true;
  S->hub.stack->data = S->host;
  gr_park_waiter(&S->hub, &run_wait, false);
  gr_hub_block(&S->hub);
  hub->running = false;
  code = outcome(hub, S, S->main->w.status);
  return stopped(hub) && code == GREEN_OK ? GREEN_ESTOPPED : code;
}

/* In the hub's thread: main may have been woken by something else. */
static void stop_run(gr_hub *h, gr_post *p) {
  green_hub *hub = gr_container(p, green_hub, stopper);
  gr_waiter *main = h->main;
  __atomic_store_n(&hub->stopping, 0, __ATOMIC_RELEASE);
  if (main->state == GR_PARKED && main->what == &run_wait)
    gr_wake(h, main, GR_WOKEN);
}

int green_stop(green_hub *hub) {
  if (!hub) return GREEN_EINVAL;
  pthread_mutex_lock(&hub->lock);
  int code = hub->S ? GREEN_OK : GREEN_ECLOSED;
  __atomic_store_n(&hub->stop, 1, __ATOMIC_RELEASE);
  if (hub->S && !__atomic_exchange_n(&hub->stopping, 1, __ATOMIC_ACQ_REL)) {
    hub->stopper.run = stop_run;
    gr_hub_post(&hub->S->hub, &hub->stopper);
  }
  pthread_mutex_unlock(&hub->lock);
  return code;
}

bool gr_stop_host(gr_state *S) {
  green_hub *hub = S->shell;
  return hub && hub->open && green_stop(hub) == GREEN_OK;
}

/* --- step by step --------------------------------------------------------- */

int green_step(green_hub *hub, int64_t budget) {
  int code = gr_shell_check(hub);
  if (code) return code;
  if (budget < 0) return GREEN_EINVAL;
  double seconds = budget == INT64_MAX ? INFINITY : (double)budget * 1e-9;
  return gr_hub_step(&hub->S->hub, seconds) ? GREEN_MORE : GREEN_OK;
}

int64_t green_next(green_hub *hub) {
  int code = gr_shell_here(hub);
  if (code) return code;
  double after = gr_hub_next(&hub->S->hub);
  if (after == INFINITY) return -1;
  return after < 9e9 ? (int64_t)ceil(after * 1e9) : INT64_MAX;
}

int green_fd(green_hub *hub) {
  int code = gr_shell_check(hub);
  if (code) return code;
  gr_hub *h = &hub->S->hub;
  if (h->loop && !h->owns_loop) return GREEN_EINVAL;
  int fd = gr_hub_fd(h);
  if (fd < 0) return GREEN_ESYS;
  gr_hub_step(h, 0); /* so that it tells of what is watched now */
  return fd;
}

/* --- from other threads --------------------------------------------------- */

typedef struct errand {
  gr_post post;
  green_hub *hub;
  void (*f)(lua_State *, green_hub *, void *);
  void *arg;
} errand;

/* (errand) */
static int perform(lua_State *L) {
  errand e = *(errand *)lua_touserdata(L, 1);
  lua_settop(L, 0);
  e.f(L, e.hub, e.arg);
  return 0;
}

static void run_errand(gr_hub *h, gr_post *p) {
  gr_state *S = (gr_state *)(void *)h;
  errand *e = gr_container(p, errand, post);
  lua_pushcfunction(S->talk, perform);
  lua_pushlightuserdata(S->talk, e);
  gr_talk(S, NULL, 1);
  gr_free(e);
}

int green_post(green_hub *hub, void (*f)(lua_State *, green_hub *, void *),
               void *arg) {
  if (!hub || !f) return GREEN_EINVAL;
  errand *e = gr_realloc(NULL, sizeof *e);
  if (!e) return GREEN_ENOMEM;
  *e = (errand){{NULL, run_errand}, hub, f, arg};
  pthread_mutex_lock(&hub->lock);
  bool open = hub->S;
  if (open) gr_hub_post(&hub->S->hub, &e->post);
  pthread_mutex_unlock(&hub->lock);
  if (!open) gr_free(e);
  return open ? GREEN_OK : GREEN_ECLOSED;
}
