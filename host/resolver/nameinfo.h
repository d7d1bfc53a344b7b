/* The name of an address, by getnameinfo(3) on a thread. */
#ifndef GR_RESOLVER_NAMEINFO_H
#define GR_RESOLVER_NAMEINFO_H

#include "resolver.h"

typedef struct gr_nameinfo {
  void (*done)(struct gr_nameinfo *); /* from inside the loop: see gr_ask */
  gr_hub *hub;
  int status;              /* GR_DNS_OK …, when it has ended */
  char *name;              /* NULL: there is none */
  struct gr_name_job *job; /* NULL: it has ended, or not begun */
} gr_nameinfo;

/* Ask: `done` will be called.  -1 and errno: there is no thread. */
int gr_nameinfo_start(gr_nameinfo *, gr_hub *, const gr_address *);

/* Give it up if it has not ended, and free what it has. */
void gr_nameinfo_fini(gr_nameinfo *);

#endif
