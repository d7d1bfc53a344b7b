#include "resolver.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "channel.h"
#include "query.h"

enum { FORGOTTEN = 4 }; /* times `parallel`: then a channel is replaced */

/* --- statuses and names ------------------------------------------------- */

#define STATUSES(X)                                                            \
  X(OK, "no error")                                                            \
  X(NXDOMAIN, "no such name")                                                  \
  X(NODATA, "the name has no such records")                                    \
  X(SERVFAIL, "the name server failed")                                        \
  X(REFUSED, "the name server refused the query")                              \
  X(NOTIMP, "the name server does not know such queries")                      \
  X(FORMERR, "the name server did not understand the query")                   \
  X(TIMEOUT, "no name server answered")                                        \
  X(UNREACHABLE, "no name server could be reached")                            \
  X(BADRESP, "the name server's answer is malformed")                          \
  X(BADNAME, "not a valid name")                                               \
  X(CANCELLED, "the resolver was closed")                                      \
  X(NOMEM, "not enough memory")

static const struct {
  const char *code, *message;
} statuses[GR_DNS_STATUSES] = {
#define X(name, text) [GR_DNS_##name] = {#name, text},
    STATUSES(X)
#undef X
};

const char *gr_dns_code(int status) {
  return statuses[status].code;
}

const char *gr_dns_message(int status) {
  return statuses[status].message;
}

bool gr_dns_valid(const char *name, size_t len) {
  enum { LABEL = 63, NAME = 253 };
  size_t label = 0;
  if (len && name[len - 1] == '.') len--;
  if (!len || len > NAME) return false;
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)name[i];
    if (c <= ' ' || c >= 0x7f || c == '\\') return false;
    if (c == '.' && !label) return false;
    label = c == '.' ? 0 : label + 1;
    if (label > LABEL) return false;
  }
  return label;
}

static int status_of(int ares) {
  switch (ares) {
  case ARES_SUCCESS:
    return GR_DNS_OK;
  case ARES_ENODATA:
    return GR_DNS_NODATA;
  case ARES_EFORMERR:
    return GR_DNS_FORMERR;
  case ARES_ESERVFAIL:
    return GR_DNS_SERVFAIL;
  case ARES_ENOTFOUND:
    return GR_DNS_NXDOMAIN;
  case ARES_ENOTIMP:
    return GR_DNS_NOTIMP;
  case ARES_EREFUSED:
    return GR_DNS_REFUSED;
  case ARES_EBADNAME:
    return GR_DNS_BADNAME;
  case ARES_ETIMEOUT:
    return GR_DNS_TIMEOUT;
  case ARES_ECONNREFUSED:
    return GR_DNS_UNREACHABLE;
  case ARES_ENOMEM:
    return GR_DNS_NOMEM;
  case ARES_ECANCELLED:
  case ARES_EDESTRUCTION:
    return GR_DNS_CANCELLED;
  default:
    return GR_DNS_BADRESP;
  }
}

static int status_of_rcode(unsigned rcode) {
  static const int of[] = {GR_DNS_OK,       GR_DNS_FORMERR, GR_DNS_SERVFAIL,
                           GR_DNS_NXDOMAIN, GR_DNS_NOTIMP,  GR_DNS_REFUSED};
  return rcode < sizeof of / sizeof *of ? of[rcode] : GR_DNS_SERVFAIL;
}

/* What the message itself says. */
static int check(const gr_query *q) {
  gr_message m;
  gr_record r;
  char target[GR_NAME_TEXT], owner[GR_NAME_TEXT];
  if (gr_message_read(&m, q->answer, q->len)) return GR_DNS_BADRESP;
  if (m.rcode) return status_of_rcode(m.rcode);
  if (!gr_message_target(q->answer, q->len, target)) return GR_DNS_BADRESP;
  bool any = false;
  int more;
  while ((more = gr_message_next(&m, &r)) > 0) {
    if (any || r.section != GR_ANSWER) continue;
    if (q->type != GR_DNS_ANY && r.type != q->type) continue;
    any = gr_message_name(&m, r.name, owner) && gr_same_name(owner, target);
  }
  if (more < 0) return GR_DNS_BADRESP;
  return any ? GR_DNS_OK : GR_DNS_NODATA;
}

void gr_query_look(gr_resolver *r, const uint8_t *data, size_t len) {
  gr_message m;
  char name[GR_NAME_TEXT];
  if (gr_message_read(&m, data, len)) return;
  int status = status_of_rcode(m.rcode);
  if (status != GR_DNS_SERVFAIL && status != GR_DNS_NOTIMP &&
      status != GR_DNS_REFUSED)
    return;
  gr_message_name(&m, m.question, name);
  gr_query *q = gr_query_find(r, name, m.qtype);
  if (q && !q->ended) q->heard = status;
}

/* --- asking ------------------------------------------------------------- */

static gr_query *first_in_line(gr_resolver *r) {
  return gr_container(gr_list_first(&r->line), gr_query, node);
}

/* Tell all who wait; each may ask again, and drop its ask. */
static void tell(gr_query *q) {
  q->refs++;
  while (!gr_list_empty(&q->asks)) {
    gr_ask *ask = gr_container(gr_list_first(&q->asks), gr_ask, node);
    gr_node_remove(&ask->node);
    ask->done(ask);
  }
  gr_query_release(q);
}

static void end(gr_query *q, int status) {
  q->ended = true;
  q->status = status;
  q->asked = gr_now();
  gr_query_keep(q);
  tell(q);
}

/* A server that does not understand us may not know EDNS (RFC 6891 §7).  c-ares
 * sees to that for one query at a time.  It is in line again; those who wait
 * for it keep it. */
static bool ask_plainly(gr_resolver *r, gr_query *q) {
  if (q->retried) return false;
  q->retried = true;
  if (!r->plain) r->channel = NULL;
  r->plain = true;
  gr_free(q->answer);
  q->answer = NULL;
  q->len = 0;
  q->refs--;
  gr_list_append(&r->line, &q->node);
  return true;
}

void gr_query_end(gr_query *q, int status, const uint8_t *data, size_t len) {
  gr_resolver *r = q->resolver;
  gr_channel *c = q->channel;
  q->channel = NULL;
  c->out--;
  if (q->wanted) {
    c->wanted--;
    r->out--;
  }
  int how = status_of(status);
  if (how == GR_DNS_UNREACHABLE && q->heard) how = q->heard;
  if (data && (q->answer = gr_realloc(NULL, len + 1))) {
    memcpy(q->answer, data, len);
    q->len = len;
    how = check(q);
  } else if (data) {
    how = GR_DNS_NOMEM;
  }
  if (how == GR_DNS_FORMERR && q->wanted && ask_plainly(r, q)) return;
  end(q, how);
  gr_query_release(q); /* of c-ares */
}

/* The channel to ask on; NULL: out of memory. */
static gr_channel *have_channel(gr_resolver *r) {
  if (r->channel && r->channel->out >= FORGOTTEN * r->parallel)
    r->channel = NULL; /* it stays until its last wanted query has ended */
  if (!r->channel) r->channel = gr_channel_open(r);
  return r->channel;
}

static void start(gr_resolver *r, gr_query *q) {
  gr_node_remove(&q->node);
  gr_channel *c = have_channel(r);
  if (!c) {
    gr_query_unlist(q);
    end(q, GR_DNS_NOMEM);
    return;
  }
  q->channel = c;
  q->refs++; /* c-ares' */
  c->out++;
  c->wanted++;
  r->out++;
  r->asked++;
  gr_channel_send(c, q);
}

/* What could not be done inside of c-ares: channels of which nobody wants
 * anything are silenced, and those that have been replaced are closed. */
static void sweep(gr_resolver *r) {
  for (gr_node *n = r->channels.next, *next; n != &r->channels; n = next) {
    gr_channel *c = gr_container(n, gr_channel, node);
    next = n->next;
    if (c->wanted) continue;
    if (c != r->channel)
      gr_channel_close(c);
    else if (c->out)
      gr_channel_cancel(c);
  }
}

void gr_resolver_enter(gr_resolver *r) {
  r->depth++;
  r->refs++;
}

void gr_resolver_leave(gr_resolver *r) {
  if (r->depth == 1 && r->hub) {
    while (r->out < r->parallel && !gr_list_empty(&r->line))
      start(r, first_in_line(r)); /* nested: only counts */
    sweep(r);
  }
  r->depth--;
  gr_resolver_release(r);
}

/* After a fork the sockets are the parent's, and so are those who waited. */
static void after_fork(gr_resolver *r) {
  if (r->pid == getpid()) return;
  gr_hub_after_fork(r->hub);
  r->pid = getpid();
  r->channel = NULL;
  while (!gr_list_empty(&r->channels))
    gr_channel_close(
        gr_container(gr_list_first(&r->channels), gr_channel, node));
}

/* Somebody wants its answer, or nobody does any more. */
static void set_wanted(gr_query *q, bool wanted) {
  if (q->channel && q->wanted != wanted) {
    q->channel->wanted += wanted ? 1u : -1u;
    q->resolver->out += wanted ? 1u : -1u;
  }
  q->wanted = wanted;
}

static int join(gr_ask *ask, gr_query *q) {
  ask->query = q;
  q->refs++;
  if (q->ended) return 1;
  set_wanted(q, true);
  gr_list_append(&q->asks, &ask->node);
  return 0;
}

int gr_resolver_ask(gr_resolver *r, gr_ask *ask, const char *name,
                    unsigned type) {
  ask->query = NULL;
  gr_node_init(&ask->node);
  if (r->hub) {
    after_fork(r);
    gr_resolver_refresh(r);
  }
  gr_query *q = gr_query_find(r, name, type);
  if (q) {
    r->hits += q->ended;
    return join(ask, q);
  }
  if (!(q = gr_query_new(r, name, type))) return -1;
  q->refs++;
  q->wanted = true;
  if (r->hub) {
    gr_list_append(&r->line, &q->node);
    gr_resolver_enter(r);
    gr_resolver_leave(r);
  } else {
    end(q, GR_DNS_CANCELLED);
  }
  int how = join(ask, q);
  gr_query_release(q);
  return how;
}

void gr_ask_drop(gr_ask *ask) {
  gr_query *q = ask->query;
  if (!q) return;
  gr_resolver *r = q->resolver;
  ask->query = NULL;
  gr_node_remove(&ask->node);
  if (q->ended || !gr_list_empty(&q->asks)) {
    gr_query_release(q);
    return;
  }
  set_wanted(q, false);
  gr_resolver_enter(r);
  gr_query_release(q); /* in line, it goes; out, it stays */
  gr_resolver_leave(r);
}

/* --- the configuration -------------------------------------------------- */

void gr_resolver_refresh(gr_resolver *r) {
  gr_resolvconf conf;
  if (!r->conf_path || !gr_seen_change(&r->seen, r->conf_path, gr_now()))
    return;
  gr_resolvconf_init(&conf);
  if (gr_resolvconf_load(&conf, r->conf_path)) {
    gr_resolvconf_fini(&conf);
    r->seen.at = 0;
    return; /* out of memory: the one from before will do for now */
  }
  gr_resolvconf_fini(&r->conf);
  r->conf = conf;
  r->plain = false;
  r->channel = NULL;
  gr_query_forget(r);
}

void gr_resolver_clear(gr_resolver *r) {
  gr_query_forget(r);
}

/* --- life --------------------------------------------------------------- */

static void fini(gr_hub *hub, gr_part *part) {
  gr_resolver *r = gr_container(part, gr_resolver, part);
  (void)hub;
  gr_resolver_close(r);
}

static char *copy(const char *s) {
  char *to = gr_realloc(NULL, strlen(s) + 1);
  return to ? strcpy(to, s) : NULL;
}

gr_resolver *gr_resolver_new(gr_hub *hub, gr_resolver_options *o) {
  gr_resolver *r = gr_calloc(sizeof *r);
  if (!r) return NULL;
  if ((o->conf_path && !(r->conf_path = copy(o->conf_path))) ||
      (o->hosts_path && !(r->hosts_path = copy(o->hosts_path)))) {
    gr_free(r->conf_path);
    gr_free(r);
    return NULL;
  }
  r->conf = o->conf;
  gr_resolvconf_init(&o->conf);
  r->hub = hub;
  r->refs = 1;
  r->threads = o->threads;
  r->parallel = o->parallel ? o->parallel : GR_DNS_PARALLEL;
  r->pid = getpid();
  gr_hosts_init(&r->hosts, r->hosts_path);
  gr_list_init(&r->channels);
  gr_list_init(&r->line);
  gr_list_init(&r->cached);
  gr_hub_add_part(hub, &r->part, fini);
  return r;
}

static const char *setting(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value && *value ? value : otherwise;
}

gr_resolver *gr_resolver_default(gr_hub *hub, const char **message) {
  const char *kind = setting("GREENLUA_RESOLVER", "ares");
  gr_resolver_options o = {
      .conf_path = setting("GREENLUA_RESOLV_CONF", "/etc/resolv.conf"),
      .hosts_path = setting("GREENLUA_HOSTS", "/etc/hosts"),
      .threads = !strcmp(kind, "thread")};
  *message = NULL;
  if (hub->resolver) return hub->resolver;
  if (!o.threads && strcmp(kind, "ares")) {
    *message = kind;
    return NULL;
  }
  gr_resolvconf_init(&o.conf);
  hub->resolver = gr_resolver_new(hub, &o);
  return hub->resolver;
}

void gr_resolver_use(gr_hub *hub, gr_resolver *r) {
  gr_resolver *before = hub->resolver;
  hub->resolver = r;
  if (r) r->refs++;
  if (before) gr_resolver_release(before);
}

void gr_resolver_close(gr_resolver *r) {
  if (!r->hub) return;
  r->refs++;
  r->depth++; /* nothing new is begun */
  gr_node_remove(&r->part.node);
  bool system = r->hub->resolver == r;
  if (system) r->hub->resolver = NULL;
  r->channel = NULL;
  while (!gr_list_empty(&r->channels))
    gr_channel_close(
        gr_container(gr_list_first(&r->channels), gr_channel, node));
  while (!gr_list_empty(&r->line)) {
    gr_query *q = first_in_line(r);
    gr_node_remove(&q->node);
    end(q, GR_DNS_CANCELLED);
  }
  gr_query_forget(r);
  r->hub = NULL;
  r->depth--;
  if (system) gr_resolver_release(r);
  gr_resolver_release(r);
}

void gr_resolver_release(gr_resolver *r) {
  if (r->refs == 1) gr_resolver_close(r);
  if (--r->refs) return;
  gr_hosts_fini(&r->hosts);
  gr_resolvconf_fini(&r->conf);
  gr_free(r->buckets);
  gr_free(r->conf_path);
  gr_free(r->hosts_path);
  gr_free(r);
}
