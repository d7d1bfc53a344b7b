#include "hub.h"

#include "limit/watchdog.h"
#include "pass.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
  MAX_STACKS = 16000 /* two mappings each, of the kernel's usual 65,530 */
};
static const double SLICE = 1e-3; /* seconds before the loop is polled */

double gr_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double gr_hub_now(const gr_hub *hub) {
  return hub->clock ? (double)hub->clock(hub->clock_ud) * 1e-9 : gr_now();
}

/* --- the ready queue ---------------------------------------------------- */

void gr_waiter_init(gr_waiter *w) {
  memset(w, 0, sizeof *w);
  gr_node_init(&w->node);
  gr_timer_init(&w->timer, GR_TIMER_WAIT);
}

static void append(gr_hub *hub, gr_waiter *w) {
  w->state = GR_READY;
  if (hub->current || hub->passing) {
    gr_list_append(&hub->ready, &w->node);
  } else { /* the loop says so */
    gr_list_append(&hub->polled, &w->node);
    hub->due++;
  }
}

static void expire(gr_hub *hub, gr_timer *t);

void gr_start(gr_hub *hub, gr_waiter *w) {
  assert(w->state == GR_FRESH);
  gr_timers_remove(&hub->timers, &w->timer);
  append(hub, w);
}

int gr_start_at(gr_hub *hub, gr_waiter *w, double at) {
  assert(w->state == GR_FRESH);
  if (gr_timers_reserve(&hub->timers)) return -1;
  gr_timers_add(&hub->timers, &w->timer, at, false);
  return 0;
}

void gr_wake(gr_hub *hub, gr_waiter *w, int status) {
  assert(w->state == GR_PARKED);
  gr_node_remove(&w->node);
  gr_timers_remove(&hub->timers, &w->timer);
  if (w->flags & GR_EXTERNAL) {
    w->flags &= (uint8_t)~GR_EXTERNAL;
    hub->external--;
  }
  w->status = (uint8_t)status;
  append(hub, w);
}

void gr_wake_first(gr_hub *hub, gr_list *list, int status) {
  if (gr_list_empty(list)) return;
  gr_wake(hub, gr_container(gr_list_first(list), gr_waiter, node), status);
}

void gr_wake_all(gr_hub *hub, gr_list *list, int status) {
  while (!gr_list_empty(list)) gr_wake_first(hub, list, status);
}

/* Main is nobody's to limit. */
static inline void begin_run(gr_hub *hub, gr_waiter *w) {
  unsigned next = ((hub->runs | 1) + 1) | (w && w != hub->main);
  __atomic_store_n(&hub->runs, next, __ATOMIC_RELAXED);
  if (hub->switched) hub->switched(hub, w);
}

void gr_hub_begin_run(gr_hub *hub, gr_waiter *w) {
  begin_run(hub, w);
  if (w && hub->dog) gr_watchdog_rouse(hub->dog);
}

/* Who runs now: NULL if nobody, or if the loop is to be polled first. */
static gr_waiter *pick(gr_hub *hub) {
  if (gr_list_empty(&hub->ready)) return NULL;
  if (hub->due) {
    hub->due--;
  } else {
    if (!hub->budget) return NULL;
    if (--hub->budget % hub->look == 0 && gr_now() > hub->until) {
      hub->budget = 0;
      return NULL;
    }
  }
  gr_node *n = gr_list_first(&hub->ready);
  gr_node_remove(n);
  gr_waiter *w = gr_container(n, gr_waiter, node);
  w->state = GR_RUNNING;
  begin_run(hub, w);
  return w;
}

/* --- stacks ------------------------------------------------------------- */

static void scheduler(void *arg);

static void push_idle(gr_hub *hub, gr_stack *s) {
  gr_node *n = &s->node;
  n->next = hub->idle.next;
  n->prev = &hub->idle;
  hub->idle.next->prev = n;
  hub->idle.next = n;
  hub->nidle++;
}

static gr_stack *take_idle(gr_hub *hub, gr_node *n) {
  gr_node_remove(n);
  hub->nidle--;
  return gr_container(n, gr_stack, node);
}

void gr_hub_trim(gr_hub *hub, unsigned keep) {
  while (hub->nidle > keep) {
    gr_stack_close(take_idle(hub, hub->idle.prev));
    hub->nstacks--;
  }
}

int gr_hub_reserve(gr_hub *hub) {
  if (hub->nidle) return 0;
  if (hub->nstacks >= hub->max_stacks) {
    errno = EAGAIN;
    return -1;
  }
  gr_stack *s = gr_stack_open(GR_STACK_SIZE, scheduler, hub);
  if (!s) return -1;
  hub->nstacks++;
  push_idle(hub, s);
  return 0;
}

/* Leave `self` for `w`, wherever it stands; for NULL, for the driver. */
static void go(gr_hub *hub, gr_stack *self, gr_waiter *w) {
  gr_stack *to;
  hub->current = NULL;
  if (!w || w == hub->main) {
    to = &hub->driver;
    hub->current = w;
  } else if (w->stack) {
    to = w->stack;
    hub->current = w;
  } else { /* to be resumed by a scheduler, on an idle stack */
    to = take_idle(hub, gr_list_first(&hub->idle));
    hub->next = w;
  }
  hub->stack = to;
  gr_stack_switch(self, to);
}

/* What every stack of the hub's runs.  It is entered where it left off: after
 * the greenlet that stood above it has gone, or when it is wanted again. */
static void scheduler(void *arg) {
  gr_hub *hub = arg;
  gr_stack *self = hub->stack;
  for (;;) {
    gr_waiter *w = hub->next ? hub->next : pick(hub);
    hub->next = NULL;
    if (w && !w->stack && w != hub->main) {
      hub->current = w;
      hub->resume(hub, w);
      hub->current = NULL;
      continue;
    }
    push_idle(hub, self);
    go(hub, self, w);
  }
}

void gr_hub_abandon(gr_hub *hub, gr_waiter *w) {
  gr_stack *s = w->stack;
  if (!s) return;
  w->stack = NULL;
  if (s->guard) s->guard->undo(s->guard);
  gr_stack_close(s);
  hub->nstacks--;
}

/* --- parking ------------------------------------------------------------ */

void gr_arm(gr_hub *hub, double at, bool daemon) {
  if (at < INFINITY)
    gr_timers_add(&hub->timers, &hub->current->timer, at, daemon);
}

void gr_park_waiter(gr_hub *hub, const gr_wait *what, bool external) {
  gr_waiter *w = hub->current;
  assert(w->state == GR_RUNNING);
  w->state = GR_PARKED;
  w->what = what;
  w->turn++;
  if (external) {
    w->flags |= GR_EXTERNAL;
    hub->external++;
  }
}

/* On a host's loop whoever breaks it means us, too: main's wait ends. */
static void stop_driving(gr_hub *hub) {
  gr_waiter *main = hub->main;
  if (main->state == GR_PARKED) gr_wake(hub, main, GR_CLOSED);
  gr_node_remove(&main->node);
  main->state = GR_RUNNING;
  hub->current = main;
}

static void drive(gr_hub *hub) {
  hub->current = NULL;
  hub->driving = true;
  ev_ref(hub->loop); /* nothing of ours counts there: it would not wait */
  if (hub->owns_loop) {
    while (hub->current != hub->main) ev_run(hub->loop, EVRUN_ONCE);
  } else {
    ev_run(hub->loop, 0);
    if (hub->current != hub->main) stop_driving(hub);
  }
  ev_unref(hub->loop);
  hub->driving = false;
}

void gr_hub_block(gr_hub *hub) {
  gr_waiter *w = hub->current;
  if (w == hub->main) {
    drive(hub);
    return;
  }
  gr_stack *self = hub->stack;
  w->stack = self;
  gr_waiter *next = pick(hub);
  if (next == w) { /* nobody else: it need not leave */
    w->stack = NULL;
    return;
  }
  go(hub, self, next);
  w->stack = NULL;
}

void gr_hub_block_guarded(gr_hub *hub, gr_guard *guard) {
  gr_stack *self = hub->stack;
  self->guard = guard;
  gr_hub_block(hub);
  self->guard = NULL;
}

/* --- the pass ----------------------------------------------------------- */

bool gr_hub_alive(const gr_hub *hub) {
  return hub->external || hub->timers.count > hub->timers.daemons ||
         !gr_list_empty(&hub->ready) || !gr_list_empty(&hub->polled);
}

void gr_hub_enter(gr_hub *hub) {
  gr_waiter *host = hub->current; /* a host's loop runs while main does */
  hub->current = NULL;
  gr_list_prepend_all(&hub->ready, &hub->polled);
  gr_waiter *w = pick(hub);
  if (w == hub->main) {
    hub->current = w;
  } else if (w) {
    if (hub->dog) gr_watchdog_rouse(hub->dog);
    hub->passing = true;
    go(hub, &hub->driver, w);
    hub->passing = false;
  }
  if (hub->current != hub->main) begin_run(hub, NULL);
  if (!hub->current) hub->current = host;
}

void gr_hub_run_one(gr_hub *hub, gr_waiter *w) {
  gr_waiter *host = hub->current;
  gr_node_remove(&w->node);
  w->state = GR_RUNNING;
  hub->budget = hub->due = 0; /* who is next is the driver */
  hub->passing = true;
  go(hub, &hub->driver, w);
  hub->passing = false;
  hub->current = host;
  for (gr_timer *t; (t = gr_timers_expire(&hub->timers, -INFINITY));)
    expire(hub, t);
}

/* --- timers and threads ------------------------------------------------- */

static void expire(gr_hub *hub, gr_timer *t) {
  if (t->kind == GR_TIMER_ALARM) {
    gr_alarm *a = gr_container(t, gr_alarm, timer);
    a->fire(hub, a);
    return;
  }
  gr_waiter *w = gr_container(t, gr_waiter, timer);
  if (w->state == GR_FRESH)
    gr_start(hub, w);
  else
    gr_wake(hub, w, GR_TIMEDOUT);
}

void gr_hub_expire(gr_hub *hub) {
  double now = gr_hub_now(hub);
  for (gr_timer *t; (t = gr_timers_expire(&hub->timers, now));) expire(hub, t);
}

void gr_alarm_init(gr_alarm *a, void (*fire)(gr_hub *, gr_alarm *)) {
  gr_timer_init(&a->timer, GR_TIMER_ALARM);
  a->fire = fire;
}

int gr_alarm_set(gr_hub *hub, gr_alarm *a, double at, bool daemon) {
  if (gr_timers_reserve(&hub->timers)) return -1;
  gr_timers_add(&hub->timers, &a->timer, at, daemon);
  return 0;
}

void gr_alarm_clear(gr_hub *hub, gr_alarm *a) {
  gr_timers_remove(&hub->timers, &a->timer);
}

/* --- life --------------------------------------------------------------- */

void gr_hub_add_part(gr_hub *hub, gr_part *part,
                     void (*fini)(gr_hub *, gr_part *)) {
  part->fini = fini;
  gr_list_append(&hub->parts, &part->node);
}

static void fini_parts(gr_hub *hub) {
  while (!gr_list_empty(&hub->parts)) {
    gr_part *part = gr_container(hub->parts.prev, gr_part, node);
    gr_node_remove(&part->node);
    part->fini(hub, part);
  }
}

static void close_fds(gr_hub *hub) {
  if (hub->post_fd >= 0) close(hub->post_fd);
  if (hub->poll_fd >= 0) close(hub->poll_fd);
  hub->post_fd = hub->poll_fd = -1;
}

void gr_hub_after_fork(gr_hub *hub) {
  if (hub->pid == getpid()) return;
  hub->pid = getpid();
  hub->loop_fd = -1; /* libev opens another one, whose number nobody knows */
  pthread_mutex_init(&hub->lock, NULL); /* some thread may have had it */
  hub->posts = NULL;
  hub->last_post = &hub->posts;
  if (hub->loop) ev_loop_fork(hub->loop);
  close_fds(hub);
}

/* libev tells nobody which descriptor it polls; it is the first it opens. */
static int next_descriptor(void) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd >= 0) close(fd);
  return fd;
}

int gr_hub_open(gr_hub *hub, const gr_hub_options *o) {
  memset(hub, 0, sizeof *hub);
  gr_list_init(&hub->ready);
  gr_list_init(&hub->polled);
  gr_list_init(&hub->idle);
  gr_list_init(&hub->idlers);
  gr_list_init(&hub->watches);
  gr_list_init(&hub->fresh);
  gr_list_init(&hub->parts);
  gr_timers_init(&hub->timers);
  gr_stack_adopt(&hub->driver);
  hub->stack = &hub->driver;
  hub->max_stacks = o->max_stacks ? o->max_stacks : MAX_STACKS;
  hub->armed = INFINITY;
  hub->last_post = &hub->posts;
  hub->post_fd = hub->poll_fd = -1;
  hub->pid = getpid();
  hub->thread = pthread_self();
  hub->slice = o->slice > 0 ? o->slice : SLICE;
  hub->clock = o->clock;
  hub->clock_ud = o->clock_ud;
  hub->keeps_loop = o->keeps_loop;
  hub->at_exit = o->at_exit;
  hub->signals = o->signals;
  hub->owns_loop = !o->loop && !o->bare;
  hub->loop_fd = hub->owns_loop ? next_descriptor() : -1;
  hub->loop = hub->owns_loop ? ev_loop_new(EVFLAG_AUTO) : o->loop;
  if (!hub->loop && !o->bare) return -1;
  if (gr_hub_reserve(hub)) {
    if (hub->owns_loop) ev_loop_destroy(hub->loop);
    return -1;
  }
  pthread_mutex_init(&hub->lock, NULL);
  if (hub->loop) gr_hub_start_watchers(hub);
  hub->open = true;
  return 0;
}

int gr_hub_init(gr_hub *hub, struct ev_loop *loop) {
  return gr_hub_open(hub, &(gr_hub_options){.loop = loop});
}

void gr_hub_fini(gr_hub *hub) {
  fini_parts(hub);
  if (hub->streams) hub->fini_streams(hub);
  if (hub->loop) gr_hub_stop_watchers(hub);
  hub->open = false;
  hub->loop = NULL;
  close_fds(hub);
  gr_timers_fini(&hub->timers);
  gr_hub_trim(hub, 0);
  pthread_mutex_destroy(&hub->lock);
}
