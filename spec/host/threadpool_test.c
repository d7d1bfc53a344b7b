/* Threads that do blocking work for a hub. */
#include "threadpool.h"

#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "main_hub.h"

static void park(double seconds) {
  CHECK(!gr_hub_reserve(&hub) && !gr_timers_reserve(&hub.timers));
  gr_arm(&hub, gr_now() + seconds, false);
  gr_park_waiter(&hub, &some_wait, true);
  gr_hub_block(&hub);
}

/* --- jobs ---------------------------------------------------------------- */

typedef struct job {
  gr_work work;
  int microseconds, input, output;
  sem_t *gate;  /* to be passed first, or NULL */
  bool blocked; /* were signals? */
  int *left;    /* jobs that are still to be done */
  bool told;
} job;

static void run(gr_work *work) {
  job *j = gr_container(work, job, work);
  sigset_t set;
  pthread_sigmask(SIG_SETMASK, NULL, &set);
  j->blocked = sigismember(&set, SIGTERM) && sigismember(&set, SIGINT);
  if (j->gate) sem_wait(j->gate);
  if (j->microseconds) usleep((useconds_t)j->microseconds);
  j->output = j->input * 2;
}

static void done(gr_hub *h, gr_work *work) {
  job *j = gr_container(work, job, work);
  CHECK(h == &hub && !j->told);
  j->told = true;
  if (!--*j->left && me.state == GR_PARKED) gr_wake(h, &me, GR_WOKEN);
}

static void make(job *j, int n, int microseconds, int *left) {
  *j = (job){.work = {.run = run, .done = done},
             .input = n,
             .microseconds = microseconds,
             .left = left};
}

enum { MANY = 200 };

static void does_all_that_it_is_given(void) {
  static job jobs[MANY];
  int left = MANY;
  open_hub();
  CHECK(gr_threadpool_size(&hub) == 0);
  for (int i = 0; i < MANY; i++) {
    make(&jobs[i], i, i % 7 * 10, &left);
    CHECK(!gr_work_submit(&hub, &jobs[i].work));
    CHECK(gr_threadpool_size(&hub) <= GR_POOL_THREADS);
  }
  park(20);
  CHECK(left == 0);
  for (int i = 0; i < MANY; i++)
    CHECK(jobs[i].output == 2 * i && jobs[i].blocked && !jobs[i].work.dropped);
  gr_hub_fini(&hub);
}

static void starts_no_more_threads_than_it_may(void) {
  static job jobs[20];
  int left = 20;
  open_hub();
  CHECK(!gr_threadpool_limit(&hub, 2));
  for (int i = 0; i < 20; i++) {
    make(&jobs[i], i, 100, &left);
    CHECK(!gr_work_submit(&hub, &jobs[i].work));
  }
  CHECK(gr_threadpool_size(&hub) == 2);
  park(20);
  CHECK(left == 0);
  gr_hub_fini(&hub);
}

static void takes_back_what_has_not_begun(void) {
  static job jobs[5];
  int left = 1;
  sem_t gate;
  open_hub();
  sem_init(&gate, 0, 0);
  CHECK(!gr_threadpool_limit(&hub, 1));
  for (int i = 0; i < 5; i++) {
    make(&jobs[i], i + 1, 0, &left);
    if (!i) jobs[i].gate = &gate;
    CHECK(!gr_work_submit(&hub, &jobs[i].work));
  }
  for (int i = 4; i >= 1; i--) CHECK(gr_work_cancel(&hub, &jobs[i].work));
  sem_post(&gate);
  park(20);
  CHECK(left == 0);
  for (int i = 0; i < 5; i++) {
    CHECK(!gr_work_cancel(&hub, &jobs[i].work));
    CHECK(jobs[i].told == !i && jobs[i].output == (i ? 0 : 2));
  }
  gr_hub_fini(&hub);
  sem_destroy(&gate);
}

static void lets_idle_threads_go(void) {
  static job j;
  int left;
  open_hub();
  CHECK(!gr_threadpool_patience(&hub, 0.005));
  for (int round = 0; round < 3; round++) {
    left = 1;
    make(&j, 1, 0, &left);
    CHECK(!gr_work_submit(&hub, &j.work));
    park(20);
    CHECK(left == 0);
    for (int i = 0; i < 1000 && gr_threadpool_size(&hub); i++) park(0.002);
    CHECK(gr_threadpool_size(&hub) == 0);
  }
  gr_hub_fini(&hub);
}

/* What a thread has is waited for, the rest never runs. */
static void tells_all_when_the_hub_is_closed(void) {
  static job jobs[MANY];
  int left = MANY, dropped = 0;
  open_hub();
  CHECK(!gr_threadpool_limit(&hub, 2));
  for (int i = 0; i < MANY; i++) {
    make(&jobs[i], i + 1, 20000, &left);
    CHECK(!gr_work_submit(&hub, &jobs[i].work));
  }
  gr_hub_fini(&hub);
  CHECK(left == 0);
  for (int i = 0; i < MANY; i++) {
    CHECK(jobs[i].told && jobs[i].work.dropped == !jobs[i].output);
    dropped += jobs[i].work.dropped;
  }
  CHECK(dropped > 0);
}

/* Threads after a fork are nothing that ThreadSanitizer supports. */
#ifndef __SANITIZE_THREAD__
static void starts_afresh_in_a_child(void) {
  static job first, second;
  int left = 1;
  open_hub();
  make(&first, 1, 0, &left);
  CHECK(!gr_work_submit(&hub, &first.work));
  park(20);
  CHECK(left == 0);
  pid_t child = fork();
  if (!child) {
    left = 1;
    make(&second, 21, 0, &left);
    if (gr_threadpool_size(&hub) || gr_work_submit(&hub, &second.work))
      _exit(2);
    park(10);
    gr_hub_fini(&hub);
    _exit(left == 0 && second.output == 42 ? 0 : 1);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  gr_hub_fini(&hub);
}
#endif

int main(void) {
  does_all_that_it_is_given();
  starts_no_more_threads_than_it_may();
  takes_back_what_has_not_begun();
  lets_idle_threads_go();
  tells_all_when_the_hub_is_closed();
#ifndef __SANITIZE_THREAD__
  starts_afresh_in_a_child();
#endif
  return 0;
}
