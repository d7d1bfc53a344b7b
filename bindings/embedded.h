/* The Lua half of greenlua, carried inside the binary.
 *
 * tools/embed.lua makes one row of each file under lua/ when greenlua is
 * built. Sources, not bytecode: an error shows its file and line. Whoever loads
 * a row gives it the chunk name "@" path. */
#ifndef GR_EMBEDDED_H
#define GR_EMBEDDED_H

#include <stddef.h>

struct gr_embedded {
  const char *name;   /* of the module: "greenlua.event" */
  const char *path;   /* below lua/: "greenlua/event.lua" */
  const char *source; /* ends in a NUL that size does not count */
  size_t size;
};

extern const struct gr_embedded gr_embedded[]; /* ends with a NULL name */

#endif
