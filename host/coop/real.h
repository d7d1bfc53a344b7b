/* The functions of the C library that coop*.c stands in for (coop.def).
 *
 * GR_REAL(poll)(…) is the real poll: the next one after the executable's, which
 * is a sanitizer's where there is one, as it would be without us.  Safe at any
 * time, before main and, after it has begun, in a signal handler. */
#ifndef GR_COOP_REAL_H
#define GR_COOP_REAL_H

#undef _FORTIFY_SOURCE /* its inline functions have the same names */

#include <netdb.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* What calls become with _FORTIFY_SOURCE: the header has them only then. */
#define LENT(result, name, parameters, arguments) result name parameters;
#include "coop.def"
#undef LENT

struct gr_real {
#define LENT(result, name, parameters, arguments) result(*name##_) parameters;
#include "coop.def"
#undef LENT
  int found;
};

extern struct gr_real gr_real;

/* Find them. */
void gr_real_find(void);

#define GR_REAL(name)                                                          \
  (*((gr_real.found ? (void)0 : gr_real_find()), gr_real.name##_))

/* For everyone to see, as nothing else in the executable is. */
#define GR_EXPORT __attribute__((visibility("default")))

#endif
