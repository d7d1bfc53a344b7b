/* The allocator of everything that is not Lua's.
 *
 * A testing build can make the n-th allocation from now fail, Lua's own
 * included (gr_lua_alloc), so that a spec can fail each of them in turn. */
#ifndef GR_ALLOC_H
#define GR_ALLOC_H

#include <stddef.h>

void *gr_realloc(void *p, size_t size); /* NULL: out of memory */
void *gr_calloc(size_t size);           /* zeroed */
void gr_free(void *p);

/* The same for zlib: its alloc_func and free_func. */
void *gr_zalloc(void *opaque, unsigned items, unsigned size);
void gr_zfree(void *opaque, void *p);

/* A lua_Alloc over realloc(3). */
void *gr_lua_alloc(void *ud, void *p, size_t old, size_t size);

/* Let the n-th allocation from now fail, and all until gr_alloc_fail(0).
 * Returns how many more would have been needed for the failure to come.  Does
 * nothing (and returns -1) outside a testing build. */
long gr_alloc_fail(long n);

#endif
