/* For tests in C: a hub with waiters that are no greenlets but plain C
 * functions. */
#ifndef FAKES_H
#define FAKES_H

#include <string.h>

#include "check.h"
#include "hub.h"

static gr_hub hub;
static gr_waiter me; /* main */
static char trail[4096];

static const gr_wait some_wait = {.name = "some"};

typedef struct fake {
  gr_waiter w; /* first */
  char name;
  void (*step)(struct fake *); /* parks it, or lets it die */
  int n;
} fake;

static inline void note(char c) {
  size_t n = strlen(trail);
  CHECK(n + 1 < sizeof trail);
  trail[n] = c;
  trail[n + 1] = 0;
}

static inline void resume(gr_hub *h, gr_waiter *w) {
  fake *f = (fake *)(void *)w;
  CHECK(h == &hub && h->current == w && w->state == GR_RUNNING);
  f->step(f);
  CHECK(w->state != GR_RUNNING);
}

static inline void make(fake *f, char name, void (*step)(fake *)) {
  gr_waiter_init(&f->w);
  f->name = name;
  f->step = step;
  f->n = 0;
}

static inline void die(fake *f) {
  note(f->name);
  f->w.state = GR_DEAD;
}

static inline void give_way(gr_waiter *w) {
  w->state = GR_READY;
  gr_list_append(&hub.ready, &w->node);
}

static inline void park(gr_waiter *w, gr_list *on, double at) {
  CHECK(hub.current == w);
  CHECK(!gr_timers_reserve(&hub.timers));
  if (on) gr_list_append(on, &w->node);
  gr_arm(&hub, at, false);
  gr_park_waiter(&hub, &some_wait, false);
}

/* What main does. */
static inline int main_parks(gr_list *on, double at, bool external) {
  CHECK(!gr_hub_reserve(&hub) && !gr_timers_reserve(&hub.timers));
  if (on) gr_list_append(on, &me.node);
  gr_arm(&hub, at, false);
  gr_park_waiter(&hub, &some_wait, external);
  gr_hub_block(&hub);
  CHECK(hub.current == &me && me.state == GR_RUNNING);
  return me.status;
}

static inline void turn(void) {
  CHECK(!gr_hub_reserve(&hub));
  give_way(&me);
  gr_hub_block(&hub);
}

static inline void open_hub(struct ev_loop *loop) {
  CHECK(!gr_hub_init(&hub, loop));
  gr_waiter_init(&me);
  me.state = GR_RUNNING;
  hub.main = hub.current = &me;
  hub.resume = resume;
  *trail = 0;
}

static inline void close_hub(void) {
  CHECK(hub.external == 0);
  gr_hub_fini(&hub);
}

/* A step of one that gives way some times, then dies. */
static inline void few_turns(fake *f) {
  if (f->n++ < 1000)
    give_way(&f->w);
  else
    die(f);
}

#endif
