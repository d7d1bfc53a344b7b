/* The queries of a resolver: those that are under way, and those whose answers
 * are kept; for resolver.c. */
#ifndef GR_RESOLVER_QUERY_H
#define GR_RESOLVER_QUERY_H

#include "resolver.h"

enum {
  GR_CACHE_ENTRIES = 20000,
  GR_CACHE_BYTES = 4 << 20,
  GR_CACHE_POSITIVE = 86400, /* seconds at most, whatever the TTL is */
  GR_CACHE_NEGATIVE = 10800  /* RFC 2308 §5 */
};

/* The query for a name and type that is under way or has an answer that is
 * still good; NULL: there is none. */
gr_query *gr_query_find(gr_resolver *, const char *name, unsigned type);

/* A new one, in the table; nobody refers to it.  NULL: out of memory. */
gr_query *gr_query_new(gr_resolver *, const char *name, unsigned type);

/* Take it out of the table: nobody finds it any more. */
void gr_query_unlist(gr_query *);

/* Let go of it; the last one frees it. */
void gr_query_release(gr_query *);

/* It has ended: keep it for as long as its answer says, or unlist it. */
void gr_query_keep(gr_query *);

/* Forget all that is kept. */
void gr_query_forget(gr_resolver *);

#endif
