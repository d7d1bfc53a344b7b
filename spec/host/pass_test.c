/* A pass of the hub: its budget, and who runs in it. */
#include <string.h>

#include "fakes.h"

static unsigned switches, polls, most;
static ev_check check;

static void on_check(struct ev_loop *loop, ev_check *w, int events) {
  (void)loop, (void)w, (void)events;
  if (polls++ && switches > most) most = switches;
  switches = 0;
}

static void spin(fake *f) {
  switches++;
  if (f->n++ < 5000)
    give_way(&f->w);
  else
    f->w.state = GR_DEAD;
}

static void polls_the_loop_within_its_budget(void) {
  fake f[2];
  open_hub(NULL);
  polls = switches = most = 0;
  ev_check_init(&check, on_check);
  ev_check_start(hub.loop, &check);
  for (int i = 0; i < 2; i++) {
    make(&f[i], 'a', spin);
    gr_start(&hub, &f[i].w);
  }
  while (f[0].w.state != GR_DEAD || f[1].w.state != GR_DEAD)
    CHECK(main_parks(NULL, gr_now() + 0.001, false) == GR_TIMEDOUT);
  CHECK(most <= 257);             /* main is one of those who run */
  CHECK(polls >= 2 * 5000 / 257); /* and they spun more than that */
  ev_check_stop(hub.loop, &check);
  close_hub();
}

static void spin_slowly(fake *f) {
  double until = gr_now() + 0.0005;
  while (gr_now() < until)
    ;
  spin(f);
}

static void polls_the_loop_when_its_time_is_over(void) {
  fake f;
  open_hub(NULL);
  polls = switches = most = 0;
  ev_check_init(&check, on_check);
  ev_check_start(hub.loop, &check);
  make(&f, 'a', spin_slowly);
  f.n = 5000 - 40;
  gr_start(&hub, &f.w);
  while (f.w.state != GR_DEAD)
    CHECK(main_parks(NULL, gr_now() + 0.001, false) == GR_TIMEDOUT);
  CHECK(most <= 24); /* looked at every eighth time */
  ev_check_stop(hub.loop, &check);
  close_hub();
}

static fake *victim;

static void late(fake *f) {
  if (f->n++ == 0)
    park(&f->w, NULL, gr_now());
  else
    die(f);
}

/* Notes whether `victim`, whom the loop makes ready, is still to run. */
static void crowd(fake *f) {
  if (victim->w.state == GR_READY) note('x');
  switches++;
  if (f->n++ < 1000)
    give_way(&f->w);
  else
    f->w.state = GR_DEAD;
}

static void runs_first_who_the_loop_made_ready(void) {
  fake f[20], v;
  open_hub(NULL);
  victim = &v;
  make(&v, 'v', late);
  gr_start(&hub, &v.w);
  for (int i = 0; i < 20; i++) {
    make(&f[i], 'a', crowd);
    gr_start(&hub, &f[i].w);
  }
  while (v.w.state != GR_DEAD) turn();
  CHECK(!strcmp(trail, "v"));
  for (int i = 0; i < 20; i++)
    while (f[i].w.state != GR_DEAD) turn();
  close_hub();
}

static void idle_once(fake *f) {
  if (f->n++ == 0) {
    gr_hub_await_idle(&hub, &f->w);
    gr_park_waiter(&hub, &some_wait, true);
  } else {
    die(f);
  }
}

static void wakes_idlers_one_by_one_when_nobody_is_ready(void) {
  fake a, b, c;
  open_hub(NULL);
  make(&a, 'a', idle_once);
  make(&b, 'b', idle_once);
  make(&c, 'c', few_turns);
  gr_start(&hub, &a.w);
  gr_start(&hub, &b.w);
  gr_start(&hub, &c.w);
  while (b.w.state != GR_DEAD)
    CHECK(main_parks(NULL, gr_now() + 0.001, false) == GR_TIMEDOUT);
  CHECK(!strcmp(trail, "cab"));
  close_hub();
}

int main(void) {
  polls_the_loop_within_its_budget();
  polls_the_loop_when_its_time_is_over();
  runs_first_who_the_loop_made_ready();
  wakes_idlers_one_by_one_when_nobody_is_ready();
  return 0;
}
