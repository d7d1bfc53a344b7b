#include "lookup.h"

#include <netdb.h>
#include <string.h>
#include <strings.h>

#include "alloc.h"
#include "threadpool.h"

static const char localhost[] = "localhost";

/* --- what this machine knows -------------------------------------------- */

static int end(gr_lookup *l, int status) {
  l->status = status;
  if (status == GR_DNS_OK) gr_addresses_sort(&l->found);
  return 1;
}

static int set_canonical(gr_lookup *l, const char *name) {
  size_t n = strlen(name) + 1;
  gr_free(l->canonical);
  l->canonical = gr_realloc(NULL, n);
  if (!l->canonical) return -1;
  memcpy(l->canonical, name, n);
  return 0;
}

/* 1: it has ended. */
static int as_number(gr_lookup *l) {
  gr_address a;
  if (!gr_address_parse(&a, l->name)) return 0;
  if (l->family != AF_UNSPEC && l->family != a.family)
    return end(l, GR_DNS_NODATA);
  if (gr_addresses_add(&l->found, &a)) return end(l, GR_DNS_NOMEM);
  return end(l, GR_DNS_OK);
}

static int in_hosts(gr_lookup *l) {
  bool known = false;
  const char *canonical;
  int how = gr_hosts_find(&l->resolver->hosts, l->name, l->family, gr_now(),
                          &l->found, &known, &canonical);
  if (how < 0) return end(l, GR_DNS_NOMEM);
  if (!known) return 0;
  if (!how) return 0; /* the other family: servers may know it */
  return end(l, set_canonical(l, canonical) ? GR_DNS_NOMEM : GR_DNS_OK);
}

/* "localhost", or "….localhost" */
static bool is_localhost(const char *name, size_t n) {
  const size_t size = sizeof localhost - 1;
  if (n && name[n - 1] == '.') n--;
  if (n < size || strncasecmp(name + n - size, localhost, size)) return false;
  return n == size || name[n - size - 1] == '.';
}

static int as_localhost(gr_lookup *l) {
  static const gr_address here[] = {
      {.family = AF_INET6, .bytes = {[15] = 1}},
      {.family = AF_INET, .bytes = {127, 0, 0, 1}}};
  if (!is_localhost(l->name, l->len)) return 0;
  for (int i = 0; i < 2; i++)
    if (l->family == AF_UNSPEC || l->family == here[i].family)
      if (gr_addresses_add(&l->found, &here[i])) return end(l, GR_DNS_NOMEM);
  return end(l, set_canonical(l, l->name) ? GR_DNS_NOMEM : GR_DNS_OK);
}

/* --- the search list ---------------------------------------------------- */

static int count_dots(const char *name) {
  int n = 0;
  for (; *name; name++) n += *name == '.';
  return n;
}

int gr_search_name(gr_resolver *r, const char *name, int i, char *to) {
  size_t n = strlen(name);
  const gr_resolvconf *conf = &r->conf;
  int domains = (int)conf->nsearch;
  if (n && name[n - 1] == '.') domains = 0; /* it is whole */
  bool plain_first = !domains || count_dots(name) >= conf->ndots;
  if (i > domains) return -1;
  if (i == (plain_first ? 0 : domains)) {
    if (n >= GR_NAME_TEXT) return 0;
    memcpy(to, name, n + 1);
  } else {
    const char *domain = conf->search[i - plain_first];
    if (n + 1 + strlen(domain) >= GR_NAME_TEXT) return 0;
    memcpy(to, name, n);
    to[n] = '.';
    strcpy(to + n + 1, domain);
  }
  return gr_dns_valid(to, strlen(to));
}

/* --- name servers ------------------------------------------------------- */

/* Add what an answer has: 0; -1: out of memory. */
static int collect(gr_lookup *l, const gr_query *q) {
  gr_message m;
  gr_record r;
  char target[GR_NAME_TEXT], owner[GR_NAME_TEXT];
  gr_message_target(q->answer, q->len, target);
  gr_message_read(&m, q->answer, q->len);
  size_t size = q->type == GR_DNS_A ? 4 : 16;
  while (gr_message_next(&m, &r) > 0 && r.section == GR_ANSWER) {
    if (r.type != q->type || r.len != size) continue;
    if (!gr_message_name(&m, r.name, owner) || !gr_same_name(owner, target))
      continue;
    gr_address a = {.family = size == 4 ? AF_INET : AF_INET6};
    memcpy(a.bytes, m.data + r.data, size);
    if (gr_addresses_add(&l->found, &a)) return -1;
  }
  return set_canonical(l, target);
}

/* Of two failures the one that says more: a server that did not answer may
 * have known the name; one that knows the name knows more than one that does
 * not. */
static int weigh(int a, int b) {
  if (a == GR_DNS_OK || a == b) return b;
  if (b == GR_DNS_OK) return a;
  if (a == GR_DNS_NXDOMAIN) return b;
  if (b == GR_DNS_NXDOMAIN) return a;
  return a == GR_DNS_NODATA ? b : a;
}

static int outcome(gr_lookup *l) {
  int status = GR_DNS_OK;
  for (int i = 0; i < 2; i++) {
    gr_query *q = l->asks[i].query;
    if (!q) continue;
    if (q->status == GR_DNS_OK && collect(l, q)) return GR_DNS_NOMEM;
    if (q->status != GR_DNS_OK) status = weigh(status, q->status);
  }
  for (int i = 0; i < 2; i++) gr_ask_drop(&l->asks[i]);
  if (l->found.count) return GR_DNS_OK;
  return status == GR_DNS_OK ? GR_DNS_NODATA : status;
}

/* Does the search go on after that? */
static bool goes_on(int status) {
  return status == GR_DNS_NXDOMAIN || status == GR_DNS_NODATA ||
         status == GR_DNS_SERVFAIL || status == GR_DNS_BADNAME;
}

/* What one name came to; true: that is all. */
static bool settle(gr_lookup *l, int status) {
  if (!goes_on(status)) return end(l, status);
  if (status != GR_DNS_BADNAME) l->worst = weigh(l->worst, status);
  l->step++;
  return false;
}

/* Ask for one name: 1: it has been answered; 0; -1: out of memory. */
static int ask(gr_lookup *l, const char *name) {
  gr_resolver *r = l->resolver;
  if (l->family != AF_INET &&
      gr_resolver_ask(r, &l->asks[0], name, GR_DNS_AAAA) < 0)
    return -1;
  if (l->family != AF_INET6 &&
      gr_resolver_ask(r, &l->asks[1], name, GR_DNS_A) < 0)
    return -1;
  return !gr_ask_waits(&l->asks[0]) && !gr_ask_waits(&l->asks[1]);
}

/* From `step` on: 1: it has ended. */
static int try_names(gr_lookup *l) {
  char name[GR_NAME_TEXT];
  for (;;) {
    int status = GR_DNS_BADNAME;
    int how = gr_search_name(l->resolver, l->name, l->step, name);
    if (how < 0) return end(l, l->worst ? l->worst : GR_DNS_BADNAME);
    if (how) {
      l->asking = true;
      how = ask(l, name);
      l->asking = false;
      if (!how) return 0;
      status = how < 0 ? GR_DNS_NOMEM : outcome(l);
    }
    if (settle(l, status)) return 1;
  }
}

static void have_answer(gr_lookup *l) {
  if (l->asking) return;
  if (gr_ask_waits(&l->asks[0]) || gr_ask_waits(&l->asks[1])) return;
  if (settle(l, outcome(l)) || try_names(l)) l->done(l);
}

static void have_first(gr_ask *a) {
  have_answer(gr_container(a, gr_lookup, asks[0]));
}

static void have_second(gr_ask *a) {
  have_answer(gr_container(a, gr_lookup, asks[1]));
}

/* --- on a thread -------------------------------------------------------- */

typedef struct gr_job {
  gr_work work;
  gr_lookup *owner; /* NULL: it has been given up */
  int family, status;
  struct addrinfo *list;
  char name[];
} gr_job;

static void run_job(gr_work *work) {
  gr_job *job = gr_container(work, gr_job, work);
  struct addrinfo hints = {.ai_family = job->family,
                           .ai_socktype = SOCK_STREAM,
                           .ai_flags = AI_CANONNAME};
  job->status = getaddrinfo(job->name, NULL, &hints, &job->list);
}

static int status_of(int gai) {
  switch (gai) {
  case 0:
    return GR_DNS_OK;
  case EAI_NODATA:
  case EAI_ADDRFAMILY:
    return GR_DNS_NODATA;
  case EAI_AGAIN:
    return GR_DNS_TIMEOUT;
  case EAI_NONAME:
    return GR_DNS_NXDOMAIN;
  case EAI_MEMORY:
    return GR_DNS_NOMEM;
  default:
    return GR_DNS_SERVFAIL;
  }
}

static int collect_list(gr_lookup *l, const struct addrinfo *list) {
  if (list && list->ai_canonname && set_canonical(l, list->ai_canonname))
    return GR_DNS_NOMEM;
  for (; list; list = list->ai_next) {
    if (list->ai_family != AF_INET && list->ai_family != AF_INET6) continue;
    gr_address a = gr_address_of(list->ai_addr);
    if (gr_addresses_add(&l->found, &a)) return GR_DNS_NOMEM;
  }
  return l->found.count ? GR_DNS_OK : GR_DNS_NODATA;
}

static void finish_job(gr_hub *hub, gr_work *work) {
  gr_job *job = gr_container(work, gr_job, work);
  gr_lookup *l = job->owner;
  (void)hub;
  if (l) {
    l->job = NULL;
    l->status = work->dropped ? GR_DNS_CANCELLED : status_of(job->status);
    if (l->status == GR_DNS_OK) l->status = collect_list(l, job->list);
  }
  if (job->list) freeaddrinfo(job->list);
  gr_free(job);
  if (l) l->done(l);
}

static int ask_thread(gr_lookup *l) {
  gr_hub *hub = l->resolver->hub;
  if (!hub) return end(l, GR_DNS_CANCELLED);
  gr_job *job = gr_calloc(sizeof *job + strlen(l->name) + 1);
  if (!job) return end(l, GR_DNS_NOMEM);
  job->work.run = run_job;
  job->work.done = finish_job;
  job->owner = l;
  job->family = l->family;
  strcpy(job->name, l->name);
  if (gr_work_submit(hub, &job->work)) {
    gr_free(job);
    return end(l, GR_DNS_NOMEM);
  }
  l->job = job;
  return 0;
}

/* --- all of it ---------------------------------------------------------- */

int gr_lookup_start(gr_lookup *l, gr_resolver *r, const char *name, size_t len,
                    int family) {
  l->resolver = r;
  l->family = family;
  l->found = (gr_addresses){.at = NULL};
  l->canonical = NULL;
  l->job = NULL;
  l->step = l->worst = 0;
  l->asking = false;
  l->asks[0] = (gr_ask){.done = have_first};
  l->asks[1] = (gr_ask){.done = have_second};
  l->name = gr_realloc(NULL, len + 1);
  if (!l->name) return end(l, GR_DNS_NOMEM);
  memcpy(l->name, name, len);
  l->name[len] = 0;
  l->len = len;
  if (memchr(name, 0, len)) return end(l, GR_DNS_BADNAME);
  if (as_number(l)) return 1;
  if (!gr_dns_valid(name, len)) return end(l, GR_DNS_BADNAME);
  if (in_hosts(l) || as_localhost(l)) return 1;
  if (r->threads) return ask_thread(l);
  gr_resolver_refresh(r); /* for the search list */
  return try_names(l);
}

const char *gr_lookup_message(int status) {
  switch (status) {
  case GR_DNS_NXDOMAIN:
  case GR_DNS_NODATA:
  case GR_DNS_BADNAME:
    return "host or service not provided, or not known";
  case GR_DNS_BADRESP:
    return "non-recoverable failure in name resolution";
  case GR_DNS_NOMEM:
    return "memory allocation failure";
  case GR_DNS_CANCELLED:
    return "closed";
  default:
    return "temporary failure in name resolution";
  }
}

void gr_lookup_fini(gr_lookup *l) {
  gr_job *job = l->job;
  l->job = NULL;
  for (int i = 0; i < 2; i++) gr_ask_drop(&l->asks[i]);
  if (job) {
    job->owner = NULL;
    if (l->resolver->hub && gr_work_cancel(l->resolver->hub, &job->work))
      gr_free(job);
  }
  gr_addresses_fini(&l->found);
  gr_free(l->canonical);
  gr_free(l->name);
  l->canonical = l->name = NULL;
}
