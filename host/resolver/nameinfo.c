#include "nameinfo.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>

#include "alloc.h"
#include "threadpool.h"

typedef struct gr_name_job {
  gr_work work;
  gr_nameinfo *owner; /* NULL: it has been given up */
  struct sockaddr_storage address;
  socklen_t len;
  int status;
  char name[NI_MAXHOST];
} gr_name_job;

static void run(gr_work *work) {
  gr_name_job *job = gr_container(work, gr_name_job, work);
  job->status = getnameinfo((struct sockaddr *)&job->address, job->len,
                            job->name, sizeof job->name, NULL, 0, NI_NAMEREQD);
}

static int status_of(int gai) {
  switch (gai) {
  case 0:
    return GR_DNS_OK;
  case EAI_NONAME:
    return GR_DNS_NXDOMAIN;
  case EAI_AGAIN:
    return GR_DNS_TIMEOUT;
  case EAI_MEMORY:
    return GR_DNS_NOMEM;
  default:
    return GR_DNS_SERVFAIL;
  }
}

static int set_name(gr_nameinfo *n, const char *name) {
  n->name = gr_realloc(NULL, strlen(name) + 1);
  return n->name ? (strcpy(n->name, name), 0) : -1;
}

static void done(gr_hub *hub, gr_work *work) {
  gr_name_job *job = gr_container(work, gr_name_job, work);
  gr_nameinfo *n = job->owner;
  (void)hub;
  if (n) {
    n->job = NULL;
    n->status = work->dropped ? GR_DNS_CANCELLED : status_of(job->status);
    if (!n->status && set_name(n, job->name)) n->status = GR_DNS_NOMEM;
  }
  gr_free(job);
  if (n) n->done(n);
}

int gr_nameinfo_start(gr_nameinfo *n, gr_hub *hub, const gr_address *a) {
  gr_name_job *job = gr_calloc(sizeof *job);
  if (!job) {
    errno = ENOMEM;
    return -1;
  }
  job->work.run = run;
  job->work.done = done;
  job->owner = n;
  job->len = gr_address_with_port(a, 0, &job->address);
  n->hub = hub;
  if (gr_work_submit(hub, &job->work)) {
    gr_free(job);
    return -1;
  }
  n->job = job;
  return 0;
}

void gr_nameinfo_fini(gr_nameinfo *n) {
  gr_name_job *job = n->job;
  gr_free(n->name);
  n->name = NULL;
  if (!job) return;
  n->job = NULL;
  job->owner = NULL;
  if (gr_work_cancel(n->hub, &job->work)) gr_free(job);
}
