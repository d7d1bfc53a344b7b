#include "stack.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static gr_stack home;

static _Noreturn void leave(gr_stack *self) {
  gr_stack_switch(self, &home);
  CHECK(!"resumed after its end");
  abort();
}

/* --- what runs on them -------------------------------------------------- */

typedef struct counter {
  gr_stack *self;
  int n;
} counter;

static void count(void *arg) {
  counter *c = arg;
  double sum = 0.5; /* must be there after each switch */
  for (int i = 1; i <= 1000; i++) {
    sum += i;
    c->n++;
    gr_stack_switch(c->self, &home);
    CHECK(sum == 0.5 + i * (i + 1) / 2);
  }
  leave(c->self);
}

static void keeps_what_is_on_a_stack(void) {
  enum { MANY = 20 };
  counter c[MANY];
  for (int i = 0; i < MANY; i++) {
    c[i] = (counter){gr_stack_open(GR_STACK_SIZE, count, &c[i]), 0};
    CHECK(c[i].self);
  }
  for (int n = 1; n <= 1000; n++)
    for (int i = 0; i < MANY; i++) {
      gr_stack_switch(&home, c[i].self);
      CHECK(c[i].n == n);
    }
  for (int i = 0; i < MANY; i++) gr_stack_close(c[i].self);
}

/* a starts b, b goes home: whoever stopped is found where it stopped */
static gr_stack *a, *b;
static char trail[16];

static void run_a(void *arg) {
  (void)arg;
  strcat(trail, "a");
  gr_stack_switch(a, b);
  strcat(trail, "A");
  leave(a);
}

static void run_b(void *arg) {
  (void)arg;
  strcat(trail, "b");
  gr_stack_switch(b, &home);
  strcat(trail, "B");
  gr_stack_switch(b, a);
  leave(b);
}

static void goes_from_any_to_any(void) {
  a = gr_stack_open(GR_STACK_SIZE, run_a, NULL);
  b = gr_stack_open(GR_STACK_SIZE, run_b, NULL);
  gr_stack_switch(&home, a);
  strcat(trail, "h");
  gr_stack_switch(&home, b);
  CHECK(!strcmp(trail, "abhBA"));
  gr_stack_close(a);
  gr_stack_close(b); /* which is still in the middle */
}

static gr_stack *deep;

/* Each block is needed until those below it have gone: no loop will do. */
static __attribute__((noinline)) int use(int kib, volatile char *above) {
  volatile char block[1024];
  block[0] = (char)(*above + 1);
  int below = kib ? use(kib - 1, block) : 0;
  return below + (block[0] == (char)(*above + 1));
}

static void dig(void *kib) {
  volatile char top = 0;
  CHECK(use(*(int *)kib, &top) == *(int *)kib + 1);
  leave(deep);
}

/* AddressSanitizer's frames are several times as large. */
static void has_the_size_that_was_asked_for(void) {
  int kib = GR_STACK_SIZE / 1024 / 4;
  deep = gr_stack_open(GR_STACK_SIZE, dig, &kib);
  CHECK(deep->size >= GR_STACK_SIZE - 4096);
  gr_stack_switch(&home, deep);
  gr_stack_close(deep);
}

static void has_a_guard_page_below(void) {
  int kib = GR_STACK_SIZE / 1024 * 4, status;
  fflush(NULL);
  pid_t child = fork();
  if (!child) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGSEGV, SIG_DFL); /* a sanitizer has its own */
    deep = gr_stack_open(GR_STACK_SIZE, dig, &kib);
    gr_stack_switch(&home, deep);
    _exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void is_reused_by_the_system(void) {
  counter c;
  for (int i = 0; i < 2000; i++) {
    c = (counter){gr_stack_open(64 * 1024, count, &c), 0};
    CHECK(c.self);
    gr_stack_switch(&home, c.self);
    CHECK(c.n == 1);
    gr_stack_close(c.self);
  }
}

static void is_null_when_there_is_no_room(void) {
  CHECK(!gr_stack_open((size_t)1 << 60, count, NULL));
}

int main(void) {
  gr_stack_adopt(&home);
  keeps_what_is_on_a_stack();
  goes_from_any_to_any();
  has_the_size_that_was_asked_for();
  has_a_guard_page_below();
  is_reused_by_the_system();
  is_null_when_there_is_no_room();
  return 0;
}
