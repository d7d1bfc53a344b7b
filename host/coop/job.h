/* Inside coop*.c: a call that is made on a thread of the pool.
 *
 * Who waits for it may be struck, and the thread goes on with it; so a job is
 * memory of its own, with copies of the arguments, from gr_calloc. */
#ifndef GR_COOP_JOB_H
#define GR_COOP_JOB_H

#include "coop.h"
#include "threadpool.h"

typedef struct gr_coop_job {
  gr_work work; /* first */
  gr_list waiters;
  bool finished;
  bool left;                          /* by who waited for it */
  void (*call)(struct gr_coop_job *); /* on the thread */
  void (*drop)(struct gr_coop_job *); /* NULL, or free what it has got */
} gr_coop_job;

/* Have it called, and wait for that.  If what it returns is not GR_COOP_LOOK
 * the job is no longer the caller's. */
gr_coop_end gr_coop_perform(gr_state *, const gr_wait *what, gr_coop_job *);

/* Drop what it has got, and free it. */
void gr_coop_job_free(gr_coop_job *);

/* Put a string, or NULL, where others of a job's end; and its size there. */
char *gr_coop_copy(char **end, const char *text);
size_t gr_coop_size(const char *text);

#endif
