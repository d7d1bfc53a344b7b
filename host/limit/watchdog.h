/* A thread that notices when a greenlet runs for too long.
 *
 * Every tick it looks at the number of the hub's current run (gr_hub.runs).  If
 * that is the same several times over it sends the hub's thread a signal, each
 * tick, until another run begins.  While nobody runs it soon goes to sleep, and
 * the hub wakes it.
 *
 * The signal's handler is the process's from the first watchdog to the last,
 * and does nothing in threads that are not watched. */
#ifndef GR_LIMIT_WATCHDOG_H
#define GR_LIMIT_WATCHDOG_H

#include "hub.h"

typedef struct gr_watchdog {
  gr_hub *hub;
  /* In the signal handler: the current run has gone on for that long, ns. */
  void (*overrun)(gr_hub *, int64_t ns);
  struct gr_watchdog *next; /* of the same thread */
  pthread_t thread;         /* its own */
  pid_t pid;                /* of the process that has that */
  pthread_mutex_t lock;
  pthread_cond_t wake;
  int64_t tick; /* ns; under the lock, as is: */
  bool stop;    /* it is to end */
  int resting;  /* atomic */
  int64_t ran;  /* atomic: for how long it has seen this run; 0: no news */
  int signal;
} gr_watchdog;

/* Watch the hub of the calling thread; `signal` 0: SIGRTMAX - 2.  0, or -1 and
 * errno: EBUSY if the program has a handler for that signal. */
int gr_watchdog_start(gr_watchdog *, gr_hub *, int signal, int64_t tick,
                      void (*overrun)(gr_hub *, int64_t));

/* From the hub's thread.  After a fork the child is not watched. */
void gr_watchdog_stop(gr_watchdog *);

/* Look more often; a longer tick than now is ignored. */
void gr_watchdog_hasten(gr_watchdog *, int64_t tick);

/* A greenlet is about to run. */
void gr_watchdog_rouse(gr_watchdog *);

#endif
