/* The hub on a loop: its watchers, which start the passes. */
#include <math.h>

#include "pass.h"
#include "watch.h"

enum {
  BUDGET = 256,    /* switches before the loop is polled */
  KEEP_RESTING = 4 /* and when it is about to wait */
};

/* How far the loop's time, from which its timers count, is behind.  A host's is
 * not touched; too little of it costs an idle turn. */
static double lag(gr_hub *hub) {
  if (hub->owns_loop) {
    ev_now_update(hub->loop);
    return 0;
  }
  return fmin(fmax(ev_time() - ev_now(hub->loop), 0), 1);
}

/* Let the loop wake us for the earliest deadline.  A later one than needed
 * is left alone: it costs one idle turn. */
static void arm_loop(gr_hub *hub) {
  double next = gr_timers_next(&hub->timers);
  if (next >= hub->armed || hub->clock) return;
  hub->armed = next;
  double after = next - gr_now() + lag(hub);
  hub->timer.repeat = after > 1e-9 ? after : 1e-9;
  bool fresh = !ev_is_active(&hub->timer);
  ev_timer_again(hub->loop, &hub->timer);
  if (fresh) ev_unref(hub->loop);
}

static void begin_turn(gr_hub *hub) {
  hub->turns = ev_iteration(hub->loop);
  hub->budget = BUDGET;
  hub->look = GR_CLOCK_EVERY;
  hub->until = gr_now() + hub->slice;
}

/* Does what we wait for keep a host's ev_run going? */
void gr_hub_keep_loop(gr_hub *hub) {
  bool keep = hub->keeps_loop && gr_hub_alive(hub);
  if (keep == hub->kept) return;
  hub->kept = keep;
  if (keep)
    ev_ref(hub->loop);
  else
    ev_unref(hub->loop);
}

void gr_hub_settle(gr_hub *hub) {
  if (hub->flush) hub->flush(hub);
  gr_watch_verify(hub);
}

static void pass(gr_hub *hub) {
  if (hub->before_pass) hub->before_pass(hub);
  gr_hub_enter(hub);
  gr_hub_settle(hub);
}

/* On a host's loop, which may not come to its prepare watchers again soon: who
 * was made ready by the poll runs after it. */
static void on_check(struct ev_loop *loop, ev_check *c, int events) {
  gr_hub *hub = c->data;
  (void)events;
  if (gr_list_empty(&hub->ready) && gr_list_empty(&hub->polled)) return;
  pass(hub);
  if (hub->driving && hub->current) ev_break(loop, EVBREAK_ONE);
}

static void on_prepare(struct ev_loop *loop, ev_prepare *p, int events) {
  gr_hub *hub = p->data;
  (void)events;
  if (hub->stepping) { /* step.c has the pass */
    gr_hub_settle(hub);
    return;
  }
  if (ev_iteration(loop) != hub->turns) begin_turn(hub);
  pass(hub);
  if (hub->driving && hub->owns_loop && !hub->current && !gr_hub_alive(hub)) {
    gr_wake(hub, hub->main, GR_DEADLOCK);
    gr_hub_enter(hub);
  }
  if (hub->driving && hub->current) ev_break(loop, EVBREAK_ONE);
  bool more = !gr_list_empty(&hub->ready) || !gr_list_empty(&hub->polled);
  if (!more) gr_hub_trim(hub, KEEP_RESTING);
  arm_loop(hub);
  gr_hub_keep_loop(hub);
  more = more || !gr_list_empty(&hub->idlers);
  if (more != (bool)ev_is_active(&hub->idler)) {
    if (more)
      ev_idle_start(loop, &hub->idler);
    else
      ev_idle_stop(loop, &hub->idler);
  }
}

/* The poll found nothing.  One at a time: it may make others ready. */
static void on_idle(struct ev_loop *loop, ev_idle *w, int events) {
  gr_hub *hub = w->data;
  (void)loop, (void)events;
  if (gr_list_empty(&hub->ready) && gr_list_empty(&hub->polled))
    gr_wake_first(hub, &hub->idlers, GR_WOKEN);
}

void gr_hub_await_idle(gr_hub *hub, gr_waiter *w) {
  gr_list_append(&hub->idlers, &w->node);
}

/* --- the others ---------------------------------------------------------- */

static void on_timer(struct ev_loop *loop, ev_timer *w, int events) {
  gr_hub *hub = w->data;
  (void)events;
  ev_ref(loop);
  ev_timer_stop(loop, w);
  hub->armed = INFINITY;
  gr_hub_expire(hub);
}

static void on_async(struct ev_loop *loop, ev_async *w, int events) {
  (void)loop, (void)events;
  gr_hub_run_posts(w->data);
}

/* --- life ---------------------------------------------------------------- */

void gr_hub_start_watchers(gr_hub *hub) {
  ev_prepare_init(&hub->prepare, on_prepare);
  ev_idle_init(&hub->idler, on_idle);
  ev_set_priority(&hub->idler, EV_MINPRI);
  ev_init(&hub->timer, on_timer);
  ev_async_init(&hub->async, on_async);
  hub->prepare.data = hub->idler.data = hub;
  hub->timer.data = hub->async.data = hub;
  ev_set_priority(&hub->prepare, EV_MINPRI); /* after a host's own */
  ev_prepare_start(hub->loop, &hub->prepare);
  ev_unref(hub->loop);
  if (!hub->owns_loop) {
    ev_check_init(&hub->check, on_check);
    ev_set_priority(&hub->check, EV_MINPRI);
    hub->check.data = hub;
    ev_check_start(hub->loop, &hub->check);
    ev_unref(hub->loop);
  }
  ev_async_start(hub->loop, &hub->async);
  ev_unref(hub->loop);
  begin_turn(hub);
}

void gr_hub_stop_watchers(gr_hub *hub) {
  struct ev_loop *loop = hub->loop;
  if (ev_is_active(&hub->timer)) ev_ref(loop);
  ev_timer_stop(loop, &hub->timer);
  ev_idle_stop(loop, &hub->idler);
  if (!hub->owns_loop) {
    ev_ref(loop);
    ev_check_stop(loop, &hub->check);
  }
  ev_ref(loop);
  ev_async_stop(loop, &hub->async);
  ev_ref(loop);
  ev_prepare_stop(loop, &hub->prepare);
  if (hub->kept) ev_unref(loop);
  if (hub->owns_loop)
    ev_loop_destroy(loop); /* if it runs, it is not come
                              back to */
}
