/* The hosts file: names of which nobody else is asked.
 *
 * It is read when it is first needed, and again when it has changed, for which
 * it is looked at once a second at most.  A file that cannot be read is an
 * empty one.  Of any size: names are found by a hash. */
#ifndef GR_RESOLVER_HOSTS_H
#define GR_RESOLVER_HOSTS_H

#include <sys/stat.h>

#include "address.h"

/* Has a file changed since it was looked at last? */
typedef struct gr_seen {
  double at; /* when that was; 0: never */
  struct timespec changed;
  off_t size;
  ino_t inode;
} gr_seen;

typedef struct gr_hosts {
  const char *path; /* its owner's */
  gr_seen seen;
  struct gr_host *all; /* as they stand in the file */
  unsigned count, room;
  unsigned *buckets; /* of the hash: 1 + index of an entry, or 0 */
  unsigned nbuckets; /* a power of two */
  char *text;        /* of the file, in which the names are */
} gr_hosts;

/* True at the first look, and when the file is another one since; `now` in
 * seconds. */
bool gr_seen_change(gr_seen *, const char *path, double now);

/* `path` NULL: no file, nothing is in it. */
void gr_hosts_init(gr_hosts *, const char *path);
void gr_hosts_fini(gr_hosts *);

/* Add the addresses of a name of one family, or of both (AF_UNSPEC): 1; 0: the
 * name is not there (or not with that family: *known is set); -1: out of
 * memory.  *canonical: the first name in its line. */
int gr_hosts_find(gr_hosts *, const char *name, int family, double now,
                  gr_addresses *to, bool *known, const char **canonical);

/* The name of an address, or NULL. */
const char *gr_hosts_name(gr_hosts *, const gr_address *, double now);

#endif
