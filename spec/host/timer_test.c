#include "timer.h"

#include <math.h>
#include <string.h>

#include "check.h"

/* The model: what is set, found by looking at all of it. */
enum { TIMERS = 400, STEPS = 200000 };

typedef struct model {
  gr_timer timer;
  double at;
  unsigned long turn; /* of being set; 0: not set */
  bool daemon;
} model;

static model all[TIMERS];
static unsigned long turns;

static model *earliest(void) {
  model *best = NULL;
  for (int i = 0; i < TIMERS; i++) {
    model *m = &all[i];
    if (!m->turn) continue;
    if (!best || m->at < best->at ||
        (m->at == best->at && m->turn < best->turn))
      best = m;
  }
  return best;
}

static void count(const gr_timers *h) {
  uint32_t n = 0, daemons = 0;
  for (int i = 0; i < TIMERS; i++) {
    CHECK(gr_timer_set(&all[i].timer) == (all[i].turn != 0));
    if (!all[i].turn) continue;
    n++;
    daemons += all[i].daemon;
    CHECK(gr_timers_at(h, &all[i].timer) == all[i].at);
  }
  CHECK(h->count == n && h->daemons == daemons);
}

static void step(gr_timers *h, unsigned *seed, double *now) {
  model *m = &all[check_random(seed) % TIMERS], *next;
  switch (check_random(seed) % 8) {
  case 0: /* the time goes on */
    *now += check_random(seed) % 4;
    while ((next = earliest()) && next->at <= *now) {
      CHECK(gr_timers_next(h) == next->at);
      CHECK(gr_timers_expire(h, *now) == &next->timer);
      next->turn = 0;
    }
    CHECK(!gr_timers_expire(h, *now));
    break;
  case 1:
  case 2:
    gr_timers_remove(h, &m->timer);
    m->turn = 0;
    break;
  default:
    if (m->turn) break;
    CHECK(!gr_timers_reserve(h));
    m->at = *now + check_random(seed) % 50; /* many are equal */
    m->turn = ++turns;
    m->daemon = check_random(seed) % 3 == 0;
    gr_timers_add(h, &m->timer, m->at, m->daemon);
  }
}

static void agrees_with_a_sorted_model(uint32_t first_seq) {
  gr_timers h;
  unsigned seed = 1 + first_seq;
  double now = 0;
  gr_timers_init(&h);
  h.seq = first_seq;
  memset(all, 0, sizeof all);
  for (int i = 0; i < TIMERS; i++) gr_timer_init(&all[i].timer, 0);
  for (int i = 0; i < STEPS; i++) {
    step(&h, &seed, &now);
    if (i % 1000 == 0) count(&h);
  }
  for (int i = 0; i < TIMERS; i++) gr_timers_remove(&h, &all[i].timer);
  CHECK(h.count == 0 && h.daemons == 0);
  gr_timers_fini(&h);
}

static void is_infinity_when_empty(void) {
  gr_timers h;
  gr_timers_init(&h);
  CHECK(gr_timers_next(&h) == (double)INFINITY);
  CHECK(!gr_timers_expire(&h, 1e300));
  gr_timers_fini(&h);
}

static void keeps_the_kind(void) {
  gr_timers h;
  gr_timer t;
  gr_timers_init(&h);
  gr_timer_init(&t, 3);
  CHECK(!gr_timers_reserve(&h));
  gr_timers_add(&h, &t, 1, true);
  CHECK(t.kind == 3 && h.daemons == 1);
  CHECK(!gr_timers_expire(&h, 0.5));
  CHECK(gr_timers_expire(&h, 1) == &t);
  CHECK(t.kind == 3 && !gr_timer_set(&t) && h.daemons == 0);
  gr_timers_remove(&h, &t); /* nothing happens */
  gr_timers_fini(&h);
}

static void expires_a_million_in_order(void) {
  enum { MANY = 1000000 };
  gr_timers h;
  gr_timer *t = calloc(MANY, sizeof *t);
  unsigned seed = 7;
  double last = -1;
  int n = 0;
  gr_timers_init(&h);
  for (int i = 0; i < MANY; i++) {
    gr_timer_init(&t[i], 0);
    CHECK(!gr_timers_reserve(&h));
    gr_timers_add(&h, &t[i], check_random(&seed) % 100000, false);
  }
  for (double next; (next = gr_timers_next(&h)) < (double)INFINITY; n++) {
    CHECK(next >= last);
    last = next;
    CHECK(gr_timers_expire(&h, next));
  }
  CHECK(n == MANY);
  gr_timers_fini(&h);
  free(t);
}

int main(void) {
  is_infinity_when_empty();
  keeps_the_kind();
  agrees_with_a_sorted_model(0);
  agrees_with_a_sorted_model((1u << 29) - 1000); /* its numbers wrap */
  agrees_with_a_sorted_model((1u << 28) - 1000);
  agrees_with_a_sorted_model(UINT32_MAX - 1000);
  expires_a_million_in_order();
  return 0;
}
