/* For the tests of the ring that knows no Lua: a check that NDEBUG leaves in,
 * and facts told by name. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(what)                                                            \
  do {                                                                         \
    if (!(what)) {                                                             \
      fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, \
              #what);                                                          \
      abort();                                                                 \
    }                                                                          \
  } while (0)

/* Random enough, and the same each time. */
static inline unsigned check_random(unsigned *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

#endif
