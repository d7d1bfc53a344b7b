/* How names are looked up: resolv.conf(5), and what a program says instead. */
#ifndef GR_RESOLVER_RESOLVCONF_H
#define GR_RESOLVER_RESOLVCONF_H

#include <stdbool.h>

#include "address.h"

typedef struct gr_server {
  gr_address address;
  unsigned port;
} gr_server;

typedef struct gr_resolvconf {
  gr_server *servers;
  unsigned nservers;
  char **search; /* domains, without dots at their ends */
  unsigned nsearch;
  int ndots;      /* a name with so many dots is tried as it is first */
  int attempts;   /* at each server */
  double timeout; /* seconds, of the first attempt */
  bool rotate;    /* ask the servers by turns */
  bool tcp;       /* never UDP */
} gr_resolvconf;

/* No server, no domain; the numbers that resolv.conf(5) gives. */
void gr_resolvconf_init(gr_resolvconf *);
void gr_resolvconf_fini(gr_resolvconf *);

/* Add what a file says, then $LOCALDOMAIN and $RES_OPTIONS.  Without a file, or
 * a server in it: the one on this machine.  -1: out of memory. */
int gr_resolvconf_load(gr_resolvconf *, const char *path);

/* Add a server: "192.0.2.1", "192.0.2.1:53", "2001:db8::1", "[2001:db8::1]:53".
 * -1: it is none of these; -2: out of memory. */
int gr_resolvconf_add_server(gr_resolvconf *, const char *text);

/* Add a domain to search in; -1: out of memory. */
int gr_resolvconf_add_search(gr_resolvconf *, const char *domain);

#endif
