#include "timer.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"

enum { ARITY = 8, FIRST = 1 }; /* four children share a cache line */

struct gr_deadline {
  double at;
  gr_timer *timer;
};

void gr_timers_init(gr_timers *h) {
  memset(h, 0, sizeof *h);
}

void gr_timers_fini(gr_timers *h) {
  gr_free(h->heap);
  gr_timers_init(h);
}

int gr_timers_reserve(gr_timers *h) {
  if (h->count + FIRST < h->room) return 0;
  uint32_t room = h->room ? h->room * 2 : 64;
  struct gr_deadline *heap = gr_realloc(h->heap, room * sizeof *heap);
  if (!heap) return -1;
  h->heap = heap;
  h->room = room;
  return 0;
}

static bool before(struct gr_deadline a, struct gr_deadline b) {
  if (a.at != b.at) return a.at < b.at;
  /* Sequence numbers wrap: their distance tells, not their size. */
  return ((a.timer->seq - b.timer->seq) & 0x10000000) != 0;
}

static void place(gr_timers *h, uint32_t i, struct gr_deadline d) {
  h->heap[i] = d;
  d.timer->place = i;
}

static void sift_up(gr_timers *h, uint32_t i, struct gr_deadline d) {
  while (i > FIRST) {
    uint32_t parent = (i - FIRST - 1) / ARITY + FIRST;
    if (!before(d, h->heap[parent])) break;
    place(h, i, h->heap[parent]);
    i = parent;
  }
  place(h, i, d);
}

static void sift_down(gr_timers *h, uint32_t i, struct gr_deadline d) {
  for (;;) {
    uint32_t child = (i - FIRST) * ARITY + 1 + FIRST, end = child + ARITY;
    if (end > h->count + FIRST) end = h->count + FIRST;
    if (child >= end) break;
    uint32_t least = child;
    while (++child < end)
      if (before(h->heap[child], h->heap[least])) least = child;
    if (!before(h->heap[least], d)) break;
    place(h, i, h->heap[least]);
    i = least;
  }
  place(h, i, d);
}

void gr_timers_add(gr_timers *h, gr_timer *t, double at, bool daemon) {
  daemon = daemon || at == INFINITY; /* it never comes */
  assert(!t->place && !isnan(at));
  assert(h->count + FIRST < h->room);
  t->seq = h->seq++;
  t->daemon = daemon;
  h->daemons += daemon;
  h->count++;
  sift_up(h, h->count, (struct gr_deadline){at, t});
}

void gr_timers_remove(gr_timers *h, gr_timer *t) {
  uint32_t i = t->place;
  if (!i) return;
  struct gr_deadline last = h->heap[h->count--];
  h->daemons -= t->daemon;
  t->place = 0;
  if (last.timer == t) return;
  if (i > FIRST && before(last, h->heap[(i - FIRST - 1) / ARITY + FIRST]))
    sift_up(h, i, last);
  else
    sift_down(h, i, last);
}

double gr_timers_next(const gr_timers *h) {
  return h->count ? h->heap[FIRST].at : INFINITY;
}

double gr_timers_at(const gr_timers *h, const gr_timer *t) {
  return h->heap[t->place].at;
}

gr_timer *gr_timers_expire(gr_timers *h, double now) {
  if (!h->count || h->heap[FIRST].at > now) return NULL;
  gr_timer *t = h->heap[FIRST].timer;
  gr_timers_remove(h, t);
  return t;
}
