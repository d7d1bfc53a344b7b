/* Questions to name servers, asked by c-ares on the hub's loop; no thread.
 *
 *     int how = gr_resolver_ask(r, &ask, "example.org", GR_DNS_MX);
 *     how == 1: ask.query has the answer already; 0: done(&ask) will be called
 *     ...
 *     gr_ask_drop(&ask);      in the end, whatever has happened
 *
 * A query is what is asked: a name and a type.  Whoever wants its answer has an
 * ask in it; several asks for the same share one query.  The query lives as
 * long as somebody refers to it: its asks, the cache, c-ares.  So who is killed
 * or runs out of time drops its ask, and a late answer finds a query that
 * nobody waits for, which does no harm; if nobody waits for any, c-ares is
 * told to forget them, and its sockets are closed.
 *
 * Answers are kept as long as their TTL says, failures that a server vouches
 * for (no such name, no such records) as long as its SOA says, others not at
 * all.  What has been used least recently makes room.
 *
 * At most `parallel` queries are out at a time, so that their answers fit into
 * a socket's receive buffer; the others wait in line.
 *
 * The queries go through a channel of c-ares.  When resolv.conf has changed, or
 * too many are out that nobody waits for, a new channel takes its place; the
 * old one goes when the last of its queries has ended.
 *
 * done() is called from inside the loop: it may wake, ask, drop, and no more.
 */
#ifndef GR_RESOLVER_H
#define GR_RESOLVER_H

#include "hosts.h"
#include "hub.h"
#include "message.h"
#include "resolvconf.h"

/* What a lookup ends with; gr_dns_code has their names. */
enum {
  GR_DNS_OK,
  GR_DNS_NXDOMAIN,    /* no such name */
  GR_DNS_NODATA,      /* a name, but nothing of that kind */
  GR_DNS_SERVFAIL,    /* the server could not find out */
  GR_DNS_REFUSED,     /* or did not want to */
  GR_DNS_NOTIMP,      /* or does not know how */
  GR_DNS_FORMERR,     /* or did not understand us */
  GR_DNS_TIMEOUT,     /* no server answered */
  GR_DNS_UNREACHABLE, /* none could be reached */
  GR_DNS_BADRESP,     /* the answer is malformed */
  GR_DNS_BADNAME,     /* that cannot be a name */
  GR_DNS_CANCELLED,   /* the resolver was closed */
  GR_DNS_NOMEM,
  GR_DNS_STATUSES
};

enum { GR_DNS_PARALLEL = 128 }; /* unless its user says otherwise */

typedef struct gr_query {
  gr_node node;          /* in line, or in the cache by last use */
  struct gr_query *next; /* in its bucket */
  gr_list asks;          /* that wait */
  struct gr_resolver *resolver;
  struct gr_channel *channel; /* it was asked on, while it is out */
  unsigned refs;
  unsigned hash;
  bool listed; /* in the table */
  bool wanted; /* by an ask, or by one to be */
  bool ended;
  bool retried; /* without EDNS */
  int status;
  int heard; /* what a server failed with, or GR_DNS_OK */
  unsigned type;
  uint8_t *answer; /* a message, or NULL */
  size_t len;
  double asked, expires; /* when it was answered, and is forgotten */
  char name[];           /* without a dot at its end */
} gr_query;

typedef struct gr_ask {
  gr_node node;
  gr_query *query; /* NULL: none */
  void (*done)(struct gr_ask *);
} gr_ask;

typedef struct gr_resolver {
  gr_part part; /* of the hub; unused once closed */
  gr_hub *hub;  /* NULL: closed */
  unsigned refs;

  gr_resolvconf conf;
  char *conf_path; /* of resolv.conf; NULL: conf is the user's own */
  gr_seen seen;    /* of that file */
  char *hosts_path;
  gr_hosts hosts;
  bool threads; /* addresses are found by getaddrinfo(3) on a thread */

  gr_list channels;           /* the last one is the one to ask on */
  struct gr_channel *channel; /* it, or NULL */
  gr_list line;               /* queries that wait for their turn */
  unsigned parallel, out;     /* limit, and how many are out and wanted */
  bool plain;     /* a server does not understand EDNS: ask without */
  unsigned depth; /* calls into c-ares that have not returned */
  pid_t pid;      /* whose the channels are */

  struct gr_query **buckets;
  unsigned nbuckets, nqueries; /* a power of two; in the table */
  gr_list cached;              /* the least recently used first */
  unsigned ncached;
  size_t cached_bytes;
  uint64_t asked, hits; /* for people: questions sent, answers from the cache */
} gr_resolver;

/* What a program can say about a resolver of its own. */
typedef struct gr_resolver_options {
  const char *conf_path;  /* resolv.conf; NULL: none is read, `conf` is it */
  const char *hosts_path; /* NULL: none */
  gr_resolvconf conf;     /* taken over if it works */
  unsigned parallel;
  bool threads;
} gr_resolver_options;

/* A resolver, with one reference; NULL: out of memory. */
gr_resolver *gr_resolver_new(gr_hub *, gr_resolver_options *);

/* The one that uses the system's configuration, and closes with the hub.
 * $GREENLUA_RESOLVER, $GREENLUA_RESOLV_CONF and $GREENLUA_HOSTS are looked at
 * when it is first wanted.  NULL, and *message (NULL: out of memory). */
gr_resolver *gr_resolver_default(gr_hub *, const char **message);

/* Let this one (NULL: a new one, when it is wanted) take the place of the
 * default one; the hub has a reference then. */
void gr_resolver_use(gr_hub *, gr_resolver *);

/* End all its queries with GR_DNS_CANCELLED; further ones end so at once. */
void gr_resolver_close(gr_resolver *);

/* Give a reference back. */
void gr_resolver_release(gr_resolver *);

/* Ask.  1: `ask->query` has ended; 0: `ask->done` will be called; -1: out of
 * memory.  The name is valid (gr_dns_valid), a dot at its end makes no
 * difference; it is asked for as it is. */
int gr_resolver_ask(gr_resolver *, gr_ask *, const char *name, unsigned type);

/* Wait no longer, and let go of the answer.  Nothing happens if there is no
 * query. */
void gr_ask_drop(gr_ask *);

/* The ask has not got its answer yet. */
static inline bool gr_ask_waits(const gr_ask *ask) {
  return ask->query && gr_node_linked(&ask->node);
}

/* Forget all answers. */
void gr_resolver_clear(gr_resolver *);

/* Have the configuration up to date: before its search list is used. */
void gr_resolver_refresh(gr_resolver *);

/* Can that be a name?  Labels of 1 to 63 bytes, 253 in all, printable ASCII. */
bool gr_dns_valid(const char *name, size_t len);

/* The name of a status, "NXDOMAIN" …, and a sentence. */
const char *gr_dns_code(int status);
const char *gr_dns_message(int status);

#endif
