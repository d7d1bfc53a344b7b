/* The addresses of a name.
 *
 * In this order: a number is its own address; the hosts file; "localhost" and
 * what ends so is this machine (RFC 6761 §6.3); name servers, which are asked
 * for IPv6 and IPv4 at once, by the rules of resolv.conf's search list.  What
 * was found is arranged as RFC 6724 says.  With GREENLUA_RESOLVER=thread,
 * getaddrinfo(3) is asked on a thread in the servers' place.
 *
 * It belongs to whoever waits for it, and can be given up at any time. */
#ifndef GR_RESOLVER_LOOKUP_H
#define GR_RESOLVER_LOOKUP_H

#include "resolver.h"

typedef struct gr_lookup {
  gr_resolver *resolver;
  void (*done)(struct gr_lookup *); /* from inside the loop: see gr_ask */
  void *data;                       /* the user's */
  int family;                       /* AF_UNSPEC: both */
  int status;                       /* GR_DNS_OK …, when it has ended */
  gr_addresses found;               /* nothing if that is not GR_DNS_OK */
  char *canonical;                  /* the name behind its aliases, or NULL */

  char *name;
  size_t len; /* of it, without a domain */
  gr_ask asks[2];
  bool asking;        /* answers that come now are seen to afterwards */
  int step;           /* in the search list */
  int worst;          /* what the steps so far have ended with */
  struct gr_job *job; /* on a thread */
} gr_lookup;

/* Look up.  1: it has ended; 0: `done` will be called.  `family`: AF_UNSPEC
 * for both.  A name may hold anything. */
int gr_lookup_start(gr_lookup *, gr_resolver *, const char *name, size_t len,
                    int family);

/* Give it up if it has not ended, and free what it has. */
void gr_lookup_fini(gr_lookup *);

/* What getaddrinfo(3)'s callers know a failure as, in LuaSocket's words. */
const char *gr_lookup_message(int status);

/* The i-th name to ask for when a program says `name` (`to` has room for
 * GR_NAME_TEXT bytes): as resolv.conf's search list and ndots say.  1; 0: that
 * cannot be a name; -1: there is none more. */
int gr_search_name(gr_resolver *, const char *name, int i, char *to);

#endif
