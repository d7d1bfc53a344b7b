#include "job.h"

#include <math.h>
#include <string.h>

#include "alloc.h"

static gr_coop_job *job_of(gr_work *work) {
  return (gr_coop_job *)(void *)work;
}

void gr_coop_job_free(gr_coop_job *j) {
  if (j->drop) j->drop(j);
  gr_free(j);
}

static void run(gr_work *work) {
  job_of(work)->call(job_of(work));
}

static void done(gr_hub *hub, gr_work *work) {
  gr_coop_job *j = job_of(work);
  j->finished = true;
  if (j->left)
    gr_coop_job_free(j);
  else
    gr_wake_first(hub, &j->waiters, GR_WOKEN);
}

static void leave(gr_coop_job *j) {
  j->left = true;
  if (j->finished || gr_work_cancel(j->work.hub, &j->work)) gr_coop_job_free(j);
}

typedef struct waiting {
  gr_guard guard; /* first */
  gr_coop_job *j;
} waiting;

static void abandon(gr_guard *guard) {
  leave(((waiting *)(void *)guard)->j);
}

gr_coop_end gr_coop_perform(gr_state *S, const gr_wait *what, gr_coop_job *j) {
  waiting w = {{abandon}, j};
  bool able = gr_coop_can_park(S, INFINITY);
  bool struck = able && gr_interrupted(S);
  j->work.run = run;
  j->work.done = done;
  gr_list_init(&j->waiters);
  if (struck) gr_fail_call(S);
  if (!able || struck || gr_work_submit(&S->hub, &j->work)) {
    gr_coop_job_free(j);
    return struck ? GR_COOP_STRUCK : GR_COOP_CANNOT;
  }
  while (!j->finished) {
    gr_list_append(&j->waiters, &S->hub.current->node);
    int how = gr_block_in_place(S, what, true, &w.guard);
    if (how != GR_RAISE || j->finished || !gr_interrupted(S)) continue;
    gr_fail_call(S);
    leave(j);
    return GR_COOP_STRUCK;
  }
  return GR_COOP_LOOK;
}

char *gr_coop_copy(char **end, const char *text) {
  if (!text) return NULL;
  char *to = *end;
  size_t size = strlen(text) + 1;
  *end += size;
  return memcpy(to, text, size);
}

size_t gr_coop_size(const char *text) {
  return text ? strlen(text) + 1 : 0;
}
