/* The hub with waiters that are no greenlets: plain C functions. */
#include "hub.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "fakes.h"

/* --- order ---------------------------------------------------------------- */

static void starts_in_the_order_of_the_calls(void) {
  fake f[5];
  open_hub(NULL);
  for (int i = 0; i < 5; i++) {
    make(&f[i], (char)('a' + i), die);
    gr_start(&hub, &f[i].w);
  }
  CHECK(!*trail);
  turn();
  CHECK(!strcmp(trail, "abcde"));
  close_hub();
}

static gr_list gate;

static void wait_once(fake *f) {
  if (f->n++ == 0) {
    park(&f->w, &gate, INFINITY);
  } else {
    note((char)('0' + f->w.status));
    die(f);
  }
}

static void wakes_in_the_order_of_arrival(void) {
  fake f[4];
  open_hub(NULL);
  gr_list_init(&gate);
  for (int i = 0; i < 4; i++) {
    make(&f[i], (char)('a' + i), wait_once);
    gr_start(&hub, &f[i].w);
  }
  turn();
  CHECK(f[3].w.state == GR_PARKED && f[3].w.what == &some_wait);
  CHECK(f[3].w.turn == 1);
  gr_wake(&hub, &f[2].w, GR_CLOSED); /* out of turn */
  gr_wake_first(&hub, &gate, GR_WOKEN);
  gr_wake_all(&hub, &gate, GR_WOKEN);
  CHECK(!*trail); /* a wake runs nobody */
  gr_wake_first(&hub, &gate, GR_WOKEN);
  gr_wake_all(&hub, &gate, GR_WOKEN);
  turn();
  CHECK(!strcmp(trail, "2c0a0b0d"));
  close_hub();
}

/* --- time ----------------------------------------------------------------- */

static void sleep_once(fake *f) {
  if (f->n++ == 0) {
    park(&f->w, &gate, gr_now() + 0.02 * (f->name - 'a' + 1));
  } else {
    note((char)('0' + f->w.status));
    die(f);
  }
}

static void ends_waits_by_their_deadlines(void) {
  fake f[4];
  open_hub(NULL);
  gr_list_init(&gate);
  for (int i = 3; i >= 0; i--) {
    make(&f[i], (char)('a' + i), sleep_once);
    gr_start(&hub, &f[i].w);
  }
  turn();
  gr_wake(&hub, &f[3].w, GR_WOKEN);
  CHECK(!gr_timer_set(&f[3].w.timer));
  double until = gr_now() + 0.08;
  CHECK(main_parks(NULL, until, false) == GR_TIMEDOUT);
  CHECK(gr_now() >= until);
  CHECK(!strcmp(trail, "0d1a1b1c"));
  CHECK(gr_list_empty(&gate));
  close_hub();
}

static void starts_later(void) {
  fake a, b;
  open_hub(NULL);
  make(&a, 'a', die);
  make(&b, 'b', die);
  CHECK(!gr_start_at(&hub, &a.w, gr_now() + 0.04));
  CHECK(!gr_start_at(&hub, &b.w, gr_now() + 0.01));
  CHECK(a.w.state == GR_FRESH);
  CHECK(main_parks(NULL, gr_now() + 0.08, false) == GR_TIMEDOUT);
  CHECK(!strcmp(trail, "ba"));
  close_hub();
}

static void ring(gr_hub *h, gr_alarm *a) {
  (void)a;
  CHECK(h == &hub && !h->current);
  note('!');
  gr_wake(h, &me, GR_RAISE);
}

static void calls_alarms_and_clears_them(void) {
  gr_alarm a, b;
  open_hub(NULL);
  gr_alarm_init(&a, ring);
  gr_alarm_init(&b, ring);
  CHECK(!gr_alarm_set(&hub, &a, gr_now() + 0.001, false));
  CHECK(!gr_alarm_set(&hub, &b, gr_now(), false));
  gr_alarm_clear(&hub, &b);
  gr_alarm_clear(&hub, &b);
  CHECK(main_parks(NULL, gr_now() + 10, false) == GR_RAISE);
  CHECK(!strcmp(trail, "!"));
  close_hub();
}

/* --- the end -------------------------------------------------------------- */

static void tells_main_of_a_deadlock(void) {
  gr_alarm a;
  fake f;
  open_hub(NULL);
  gr_list_init(&gate);
  CHECK(main_parks(&gate, INFINITY, false) == GR_DEADLOCK);
  CHECK(gr_list_empty(&gate));
  make(&f, 'f', wait_once);
  gr_start(&hub, &f.w);
  CHECK(main_parks(NULL, INFINITY, false) == GR_DEADLOCK);
  CHECK(f.w.state == GR_PARKED);
  gr_alarm_init(&a, ring);
  CHECK(!gr_alarm_set(&hub, &a, gr_now() + 100, true)); /* nobody need wait */
  CHECK(!gr_hub_alive(&hub));
  CHECK(main_parks(NULL, INFINITY, false) == GR_DEADLOCK);
  gr_alarm_clear(&hub, &a);
  gr_wake(&hub, &f.w, GR_WOKEN);
  CHECK(gr_hub_alive(&hub));
  turn();
  CHECK(!strcmp(trail, "0f"));
  close_hub();
}

/* --- other threads -------------------------------------------------------- */

enum { THREADS = 4, POSTS = 2000 };

typedef struct letter {
  gr_post post; /* first */
  int thread, number;
} letter;

static letter letters[THREADS][POSTS];
static int arrived[THREADS], total;

static void read_letter(gr_hub *h, gr_post *p) {
  letter *l = (letter *)(void *)p;
  CHECK(h == &hub && !h->current);
  CHECK(arrived[l->thread]++ == l->number);
  if (++total == THREADS * POSTS) gr_wake(h, &me, GR_WOKEN);
}

static void *write_letters(void *arg) {
  int thread = *(int *)arg;
  for (int i = 0; i < POSTS; i++) {
    letter *l = &letters[thread][i];
    *l = (letter){{NULL, read_letter}, thread, i};
    gr_hub_post(&hub, &l->post);
    if (i % 500 == 0) usleep(100);
  }
  return NULL;
}

static void runs_posts_from_other_threads_in_their_order(void) {
  pthread_t threads[THREADS];
  int numbers[THREADS];
  open_hub(NULL);
  total = 0;
  memset(arrived, 0, sizeof arrived);
  for (int i = 0; i < THREADS; i++) {
    numbers[i] = i;
    CHECK(!pthread_create(&threads[i], NULL, write_letters, &numbers[i]));
  }
  CHECK(main_parks(NULL, INFINITY, true) == GR_WOKEN);
  CHECK(total == THREADS * POSTS);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  close_hub();
}

/* --- way 2 ---------------------------------------------------------------- */

static void block(fake *f) {
  CHECK(!gr_hub_reserve(&hub));
  park(&f->w, &gate, INFINITY);
  gr_hub_block(&hub);
  CHECK(hub.current == &f->w && f->w.state == GR_RUNNING && !f->w.stack);
}

static void block_in_place(fake *f) {
  volatile char mine[300]; /* of its own stack */
  memset((void *)mine, f->name, sizeof mine);
  for (int i = 0; i < 3; i++) {
    note(f->name);
    block(f);
    for (size_t j = 0; j < sizeof mine; j++) CHECK(mine[j] == f->name);
  }
  die(f);
}

static void sets_stacks_aside_and_comes_back(void) {
  fake f[3];
  open_hub(NULL);
  gr_list_init(&gate);
  for (int i = 0; i < 3; i++) {
    make(&f[i], (char)('a' + i), block_in_place);
    gr_start(&hub, &f[i].w);
  }
  for (int i = 0; i < 4; i++) {
    turn();
    gr_wake_all(&hub, &gate, GR_WOKEN);
  }
  CHECK(!strcmp(trail, "abcabcabcabc"));
  close_hub();
}

static void alternate(fake *f) { /* both ways, by turns */
  if (f->n % 2) block(f);
  if (f->n++ < 6)
    park(&f->w, &gate, INFINITY);
  else
    die(f);
}

static void mixes_both_ways(void) {
  enum { MANY = 500 };
  static fake f[MANY];
  open_hub(NULL);
  gr_list_init(&gate);
  for (int i = 0; i < MANY; i++) {
    make(&f[i], 'x', alternate);
    f[i].n = i % 3;
    gr_start(&hub, &f[i].w);
  }
  for (int i = 0; i < 30; i++) {
    turn();
    gr_wake_all(&hub, &gate, GR_WOKEN);
  }
  for (int i = 0; i < MANY; i++) CHECK(f[i].w.state == GR_DEAD);
  CHECK(main_parks(NULL, gr_now() + 0.001, false) == GR_TIMEDOUT);
  CHECK(hub.nstacks < 20 && hub.nidle == hub.nstacks);
  close_hub();
}

static void block_for_ever(fake *f) {
  block(f);
  CHECK(!"woken");
}

static void refuses_more_stacks_than_allowed(void) {
  fake f[3];
  open_hub(NULL);
  gr_list_init(&gate);
  hub.max_stacks = 4;
  for (int i = 0; i < 3; i++) {
    make(&f[i], 'f', block_for_ever);
    gr_start(&hub, &f[i].w);
  }
  turn();
  CHECK(hub.nstacks == 4 && hub.nidle == 1);
  while (hub.nidle) { /* somebody else takes it */
    gr_stack *s = gr_container(gr_list_first(&hub.idle), gr_stack, node);
    gr_node_remove(&s->node);
    hub.nidle--;
    errno = 0;
    CHECK(gr_hub_reserve(&hub) == -1 && errno == EAGAIN);
    gr_list_append(&hub.idle, &s->node);
    hub.nidle++;
    break;
  }
  for (int i = 0; i < 3; i++) {
    gr_node_remove(&f[i].w.node);
    gr_hub_abandon(&hub, &f[i].w);
    CHECK(!f[i].w.stack);
    gr_hub_abandon(&hub, &f[i].w);
  }
  CHECK(hub.nstacks == 1);
  turn();
  close_hub();
}

/* --- a host's own loop ---------------------------------------------------- */

static void runs_in_a_hosts_loop(void) {
  struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
  fake f[3];
  open_hub(loop);
  gr_list_init(&gate);
  make(&f[0], 'a', sleep_once);
  make(&f[1], 'b', few_turns);
  make(&f[2], 'c', block_in_place);
  for (int i = 0; i < 3; i++) gr_start(&hub, &f[i].w);
  for (int i = 0; i < 100000 && f[2].w.state != GR_DEAD; i++) {
    ev_run(loop, EVRUN_NOWAIT);
    CHECK(hub.current == &me);
    if (f[0].w.state == GR_DEAD) gr_wake_all(&hub, &gate, GR_WOKEN);
  }
  CHECK(f[0].w.state == GR_DEAD && f[1].w.state == GR_DEAD);
  CHECK(f[2].w.state == GR_DEAD);
  /* Our watchers alone keep no loop. */
  ev_run(loop, 0);
  CHECK(main_parks(NULL, gr_now() + 0.001, false) == GR_TIMEDOUT);
  close_hub();
  ev_loop_destroy(loop);
}

int main(void) {
  starts_in_the_order_of_the_calls();
  wakes_in_the_order_of_arrival();
  ends_waits_by_their_deadlines();
  starts_later();
  calls_alarms_and_clears_them();
  tells_main_of_a_deadlock();
  runs_posts_from_other_threads_in_their_order();
  sets_stacks_aside_and_comes_back();
  mixes_both_ways();
  refuses_more_stacks_than_allowed();
  runs_in_a_hosts_loop();
  return 0;
}
