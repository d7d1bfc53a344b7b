/* Deadlines in a heap.
 *
 * A timer is eight bytes in its owner; the heap holds the deadline beside the
 * pointer, so sifting touches no owner.  Equal deadlines expire in the order
 * in which they were set.  The heap knows neither the clock nor the loop: time
 * is whatever its user compares with, in seconds.
 */
#ifndef GR_TIMER_H
#define GR_TIMER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct gr_timer {
  uint32_t place;      /* in the heap, from 1; 0: not set */
  unsigned seq : 29;   /* orders equal deadlines */
  unsigned kind : 2;   /* its owner's: what to do when it expires */
  unsigned daemon : 1; /* does not count as something to wait for */
} gr_timer;

typedef struct gr_timers {
  struct gr_deadline *heap; /* from index 1 */
  uint32_t count, room;
  uint32_t daemons; /* of them */
  uint32_t seq;
} gr_timers;

void gr_timers_init(gr_timers *);
void gr_timers_fini(gr_timers *);

static inline void gr_timer_init(gr_timer *t, unsigned kind) {
  *t = (gr_timer){.kind = kind};
}

static inline bool gr_timer_set(const gr_timer *t) {
  return t->place != 0;
}

/* Make sure that the next gr_timers_add cannot fail.  -1: out of memory. */
int gr_timers_reserve(gr_timers *);

/* Set `t`, which must not be set, to expire at `at`.  A reserved place is used
 * up.  `daemon`: nobody need wait for this one. */
void gr_timers_add(gr_timers *, gr_timer *t, double at, bool daemon);

/* Unset `t`; nothing happens if it is not set. */
void gr_timers_remove(gr_timers *, gr_timer *t);

/* The earliest deadline, or INFINITY. */
double gr_timers_next(const gr_timers *);

/* The deadline of `t`, which must be set. */
double gr_timers_at(const gr_timers *, const gr_timer *t);

/* Unset and return the earliest if it is not after `now`, else NULL. */
gr_timer *gr_timers_expire(gr_timers *, double now);

#endif
