#include "watchdog.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
  AFTER = 2, /* ticks that a run must have been seen for */
  REST = 16  /* ticks without a run before it sleeps */
};

/* A thread's own; changed there only, with the signal blocked. */
static _Thread_local gr_watchdog *of_thread;

/* Signals belong to the process, and so does this. */
static struct {
  pthread_mutex_t lock;
  unsigned users; /* watchdogs; the signal is that of the first */
  int signal;
  struct sigaction before;
} handler = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_signal(int sig) {
  int err = errno;
  (void)sig;
  for (gr_watchdog *dog = of_thread; dog; dog = dog->next) {
    int64_t ran = __atomic_exchange_n(&dog->ran, 0, __ATOMIC_RELAXED);
    if (ran) dog->overrun(dog->hub, ran);
  }
  errno = err;
}

/* --- the handler's life --------------------------------------------------- */

static int install(int sig) {
  struct sigaction action;
  if (sigaction(sig, NULL, &handler.before)) return -1;
  if (handler.before.sa_handler != SIG_DFL &&
      handler.before.sa_handler != SIG_IGN)
    return errno = EBUSY, -1;
  memset(&action, 0, sizeof action);
  sigfillset(&action.sa_mask);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  handler.signal = sig;
  return sigaction(sig, &action, NULL);
}

/* All watchdogs use the first one's signal. */
static int acquire(int sig) {
  pthread_mutex_lock(&handler.lock);
  int status = handler.users ? 0 : install(sig ? sig : SIGRTMAX - 2);
  if (!status && sig && handler.signal != sig) {
    errno = EBUSY;
    status = -1;
  }
  if (!status) handler.users++;
  pthread_mutex_unlock(&handler.lock);
  return status;
}

static void release(void) {
  pthread_mutex_lock(&handler.lock);
  if (!--handler.users) sigaction(handler.signal, &handler.before, NULL);
  pthread_mutex_unlock(&handler.lock);
}

/* --- the list ------------------------------------------------------------- */

static void block(int sig, sigset_t *before) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, sig);
  pthread_sigmask(SIG_BLOCK, &set, before);
}

static void enlist(gr_watchdog *dog) {
  sigset_t before;
  block(dog->signal, &before);
  dog->next = of_thread;
  of_thread = dog;
  sigdelset(&before, dog->signal); /* a host may have blocked all */
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Once the sender has ended, what it has sent is taken back: nobody may be
 * left to handle it. */
static void delist(gr_watchdog *dog) {
  sigset_t before, set;
  struct timespec none = {0, 0};
  block(dog->signal, &before);
  gr_watchdog **at = &of_thread;
  while (*at && *at != dog) at = &(*at)->next;
  if (*at) *at = dog->next;
  sigemptyset(&set);
  sigaddset(&set, dog->signal);
  while (!of_thread && sigtimedwait(&set, NULL, &none) > 0) continue;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* --- the thread ----------------------------------------------------------- */

static struct timespec after(int64_t ns) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  ns += t.tv_nsec;
  t.tv_sec += ns / 1000000000;
  t.tv_nsec = ns % 1000000000;
  return t;
}

static unsigned run_of(const gr_hub *hub) {
  return __atomic_load_n(&hub->runs, __ATOMIC_SEQ_CST);
}

static void sleep_until_roused(gr_watchdog *dog) {
  __atomic_store_n(&dog->resting, 1, __ATOMIC_SEQ_CST);
  if (run_of(dog->hub) & 1)
    __atomic_store_n(&dog->resting, 0, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&dog->resting, __ATOMIC_RELAXED) && !dog->stop)
    pthread_cond_wait(&dog->wake, &dog->lock);
}

static void *watch(void *arg) {
  gr_watchdog *dog = arg;
  unsigned seen = 0, ticks = 0, idle = 0;
  pthread_mutex_lock(&dog->lock);
  while (!dog->stop) {
    struct timespec t = after(dog->tick);
    while (!dog->stop && !pthread_cond_timedwait(&dog->wake, &dog->lock, &t))
      continue;
    unsigned run = run_of(dog->hub);
    idle = run & 1 ? 0 : idle + 1;
    ticks = run & 1 && run == seen ? ticks + 1 : 0;
    seen = run;
    if (idle > REST) sleep_until_roused(dog);
    if (ticks < AFTER || dog->stop) continue;
    __atomic_store_n(&dog->ran, ticks * dog->tick, __ATOMIC_RELAXED);
    pthread_kill(dog->hub->thread, dog->signal);
  }
  pthread_mutex_unlock(&dog->lock);
  return NULL;
}

/* --- for the hub ---------------------------------------------------------- */

static void init_wake(gr_watchdog *dog) {
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&dog->wake, &attr);
  pthread_condattr_destroy(&attr);
  pthread_mutex_init(&dog->lock, NULL);
}

/* The signals of others are not for this thread. */
static int start_thread(gr_watchdog *dog) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int err = pthread_create(&dog->thread, NULL, watch, dog);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = err;
  return err ? -1 : 0;
}

int gr_watchdog_start(gr_watchdog *dog, gr_hub *hub, int signal, int64_t tick,
                      void (*overrun)(gr_hub *, int64_t)) {
  if (acquire(signal)) return -1;
  memset(dog, 0, sizeof *dog);
  dog->hub = hub;
  dog->overrun = overrun;
  dog->tick = tick;
  dog->signal = handler.signal;
  dog->pid = getpid();
  init_wake(dog);
  enlist(dog);
  if (!start_thread(dog)) {
    hub->dog = dog;
    return 0;
  }
  int err = errno;
  dog->pid = 0;
  gr_watchdog_stop(dog);
  errno = err;
  return -1;
}

void gr_watchdog_stop(gr_watchdog *dog) {
  dog->hub->dog = NULL;
  if (dog->pid == getpid()) {
    pthread_mutex_lock(&dog->lock);
    dog->stop = true;
    pthread_cond_signal(&dog->wake);
    pthread_mutex_unlock(&dog->lock);
    pthread_join(dog->thread, NULL);
    pthread_cond_destroy(&dog->wake);
    pthread_mutex_destroy(&dog->lock);
  }
  delist(dog);
  release();
}

void gr_watchdog_hasten(gr_watchdog *dog, int64_t tick) {
  if (dog->pid != getpid()) return;
  pthread_mutex_lock(&dog->lock);
  if (tick < dog->tick) dog->tick = tick;
  pthread_cond_signal(&dog->wake);
  pthread_mutex_unlock(&dog->lock);
}

void gr_watchdog_rouse(gr_watchdog *dog) {
  /* Either it sees that somebody runs, or we that it is about to sleep. */
  __atomic_fetch_add(&dog->hub->runs, 0, __ATOMIC_SEQ_CST);
  if (!__atomic_load_n(&dog->resting, __ATOMIC_SEQ_CST)) return;
  if (dog->pid != getpid()) { /* a forked child, which has no such thread */
    __atomic_store_n(&dog->resting, 0, __ATOMIC_RELAXED);
    return;
  }
  pthread_mutex_lock(&dog->lock);
  __atomic_store_n(&dog->resting, 0, __ATOMIC_RELAXED);
  pthread_cond_signal(&dog->wake);
  pthread_mutex_unlock(&dog->lock);
}
