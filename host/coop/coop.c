#include "coop.h"

#include <math.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>

#include "alloc.h"
#include "real.h"
#include "watch.h"

_Thread_local gr_state *gr_coop_state;

/* What is armed for one wait. */
typedef struct wait {
  gr_guard guard; /* first */
  gr_list waiters;
  gr_watch *of, one;
  nfds_t n;
  int epoll; /* for events that the loop does not know; -1: none */
} wait;

/* --- watching ----------------------------------------------------------- */

/* Of poll's events those that the loop watches for: others it would neither
 * report nor keep from being reported in their place. */
enum {
  READS = POLLIN | POLLRDNORM,
  WRITES = POLLOUT | POLLWRNORM,
  IMPLIED = POLLERR | POLLHUP | POLLNVAL
};

static int loop_events(short events) {
  return (events & READS ? EV_READ : 0) | (events & WRITES ? EV_WRITE : 0);
}

static bool is_odd(const struct pollfd *p) {
  short rest = p->events & (short)~(READS | WRITES | IMPLIED);
  if (p->events & READS) rest &= (short)~POLLRDHUP; /* comes with the end */
  return p->fd >= 0 && (rest || !loop_events(p->events));
}

static void undo(gr_guard *guard) {
  wait *w = (wait *)(void *)guard;
  for (nfds_t i = 0; i < w->n; i++) gr_watch_stop(&w->of[i]);
  if (w->of != &w->one) gr_free(w->of);
  if (w->epoll >= 0) close(w->epoll);
  w->n = 0;
  w->of = &w->one;
  w->epoll = -1;
}

/* The events of poll have the same values in epoll. */
static bool watch_odd(wait *w, const struct pollfd *fds, nfds_t n, nfds_t i) {
  struct epoll_event e = {.events = (uint16_t)fds[i].events};
  if (w->epoll < 0) w->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (w->epoll < 0) return false;
  if (!epoll_ctl(w->epoll, EPOLL_CTL_ADD, fds[i].fd, &e)) return true;
  if (errno != EEXIST) return false;
  for (nfds_t k = 0; k < n; k++)
    if (fds[k].fd == fds[i].fd && is_odd(&fds[k]))
      e.events |= (uint16_t)fds[k].events;
  return !epoll_ctl(w->epoll, EPOLL_CTL_MOD, fds[i].fd, &e);
}

/* false: no memory, or no more descriptors. */
static bool arm(wait *w, gr_hub *hub, const struct pollfd *fds, nfds_t n) {
  if (n > 1 && !(w->of = gr_realloc(NULL, (n + 1) * sizeof *w->of))) {
    w->of = &w->one;
    return false;
  }
  for (nfds_t i = 0; i < n; i++) {
    if (fds[i].fd < 0) continue;
    if (is_odd(&fds[i])) {
      if (!watch_odd(w, fds, n, i)) return false;
    } else {
      gr_watch_init(&w->of[w->n]);
      gr_watch_start(&w->of[w->n++], hub, fds[i].fd, loop_events(fds[i].events),
                     &w->waiters);
    }
  }
  if (w->epoll < 0) return true;
  gr_watch_init(&w->of[w->n]);
  gr_watch_start(&w->of[w->n++], hub, w->epoll, EV_READ, &w->waiters);
  return true;
}

/* --- waiting ------------------------------------------------------------ */

bool gr_coop_can_park(gr_state *S, double at) {
  return lua_gc(S->L, LUA_GCCOUNT) >= 0 && !gr_hub_reserve(&S->hub) &&
         !(at < INFINITY && gr_timers_reserve(&S->hub.timers));
}

static gr_coop_end strike(gr_state *S) {
  gr_fail_call(S);
  return GR_COOP_STRUCK;
}

static gr_coop_end park(gr_state *S, const gr_wait *what,
                        const struct pollfd *fds, nfds_t n, double at,
                        bool deaf) {
  wait w = {.guard = {undo}, .of = &w.one, .epoll = -1};
  if (at < INFINITY && at <= gr_now()) return GR_COOP_LATE;
  if (!gr_coop_can_park(S, at)) return GR_COOP_CANNOT;
  if (!deaf && gr_interrupted(S)) return strike(S);
  gr_list_init(&w.waiters);
  if (!arm(&w, &S->hub, fds, n)) {
    undo(&w.guard);
    return GR_COOP_CANNOT;
  }
  gr_list_append(&w.waiters, &S->hub.current->node);
  gr_arm(&S->hub, at, false);
  /* Without a deadline a signal's handler may still do something about it. */
  bool external = n > 0 || at == INFINITY;
  int how = gr_block_in_place(S, what, external, &w.guard);
  undo(&w.guard);
  if (how == GR_TIMEDOUT) return GR_COOP_LATE;
  if (how == GR_RAISE && !deaf && gr_interrupted(S)) return strike(S);
  return GR_COOP_LOOK;
}

gr_coop_end gr_coop_await(gr_state *S, const gr_wait *what,
                          const struct pollfd *fds, nfds_t n, double at) {
  return park(S, what, fds, n, at, false);
}

gr_coop_end gr_coop_await_deaf(gr_state *S, const gr_wait *what, int fd,
                               double at) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return park(S, what, &p, 1, at, true);
}

gr_coop_end gr_coop_await_fd(gr_state *S, const gr_wait *what, int fd,
                             short events, double at) {
  struct pollfd p = {.fd = fd, .events = events};
  return gr_coop_await(S, what, &p, 1, at);
}

gr_coop_end gr_coop_nap(gr_state *S, const gr_wait *what, double at) {
  gr_coop_end how;
  do how = gr_coop_await(S, what, NULL, 0, at);
  while (how == GR_COOP_LOOK);
  return how;
}

void gr_coop_give_way(gr_state *S) {
  if (gr_coop_can_park(S, INFINITY))
    gr_yield_in_place(gr_running_thread(S), S, NULL);
}

void gr_coop_missed(gr_state *S) {
  enum { PATIENCE = 16 };
  static _Thread_local unsigned misses;
  if (++misses % PATIENCE == 0) gr_coop_give_way(S);
}

/* One that tries again for ever does not keep the others from running.  If they
 * are struck meanwhile, it is once more. */
bool gr_coop_fails(gr_state *S) {
  if (!gr_call_failed(S)) return false;
  gr_coop_missed(S);
  if (!gr_call_failed(S)) gr_fail_call(S);
  return true;
}

/* --- life --------------------------------------------------------------- */

/* (state): its hub is open; (): it is about to be closed. */
static int watch_state(lua_State *L) {
  gr_coop_state = lua_touserdata(L, 1);
  return 0;
}

/* Its hub is the parent's. */
static void in_child(void) {
  gr_coop_state = NULL;
}

void gr_coop_open(lua_State *L) {
  pthread_atfork(NULL, NULL, in_child);
  gr_state_watch(L, watch_state);
}
