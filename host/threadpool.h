/* Threads for what has no way to wait but to block: getaddrinfo, files.
 *
 *     typedef struct job { gr_work work; ...what it needs, copied... } job;
 *     job->work = (gr_work){.run = read_it, .done = have_read};
 *     if (gr_work_submit(hub, &job->work)) ...errno...
 *
 * `run` is called on a thread of the pool: it touches nothing but its job, no
 * Lua, no hub.  Then `done` is called on the hub's thread, from inside the
 * loop: it may wake, and frees the job.  It is called once for each job that
 * was submitted and not cancelled with success, at the latest when the hub is
 * closed.
 *
 * So a job is memory of its own, not of whoever waits for it.  Who gives up
 * waiting (a kill, a timeout) calls gr_work_cancel: true, and the job is his
 * again and has not run; false, and it runs: he marks in it that nobody cares,
 * and `done` drops the result.  A thread is never stopped in the midst of
 * something, therefore closing the hub waits for what runs.
 *
 * Threads are started when there is work and none is free, up to a limit; one
 * that finds nothing to do for some seconds ends.  They take no signals.
 */
#ifndef GR_THREADPOOL_H
#define GR_THREADPOOL_H

#include "hub.h"

enum { GR_POOL_THREADS = 8, GR_POOL_MOST = 256 };

typedef struct gr_work {
  void (*run)(struct gr_work *);            /* on a thread */
  void (*done)(gr_hub *, struct gr_work *); /* on the hub's, afterwards */
  gr_node node; /* in line, or with the thread that runs it */
  gr_post post;
  gr_hub *hub;
  bool dropped; /* it never ran: the hub is being closed (for `done`) */
} gr_work;

/* Have it run.  0, or -1 and errno: there is no thread, and none can be had. */
int gr_work_submit(gr_hub *, gr_work *);

/* Take it back.  True: it has not run and never will, nor will `done`. */
bool gr_work_cancel(gr_hub *, gr_work *);

/* How many threads there may be, 1 to GR_POOL_MOST.  -1: out of memory. */
int gr_threadpool_limit(gr_hub *, unsigned threads);

/* After how many seconds an idle one ends.  -1: out of memory. */
int gr_threadpool_patience(gr_hub *, double seconds);

/* How many threads there are now. */
unsigned gr_threadpool_size(gr_hub *);

#endif
