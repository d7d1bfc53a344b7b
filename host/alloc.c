#include "alloc.h"

#include <stdlib.h>
#include <string.h>

#ifdef GR_TESTING
static _Thread_local long countdown; /* 0: off; 1: the next one fails */

static int fails(void) {
  if (!countdown) return 0;
  if (countdown == 1) return 1;
  countdown--;
  return 0;
}

long gr_alloc_fail(long n) {
  long left = countdown ? countdown - 1 : 0;
  countdown = n;
  return left;
}
#else
#define fails() 0

long gr_alloc_fail(long n) {
  (void)n;
  return -1;
}
#endif

void *gr_realloc(void *p, size_t size) {
  return fails() ? NULL : realloc(p, size);
}

void *gr_calloc(size_t size) {
  return fails() ? NULL : calloc(1, size);
}

void gr_free(void *p) {
  free(p);
}

void *gr_zalloc(void *opaque, unsigned items, unsigned size) {
  (void)opaque;
  return gr_realloc(NULL, (size_t)items * size);
}

void gr_zfree(void *opaque, void *p) {
  (void)opaque;
  gr_free(p);
}

void *gr_lua_alloc(void *ud, void *p, size_t old, size_t size) {
  (void)ud;
  if (!size) {
    free(p);
    return NULL;
  }
  /* Lua counts on shrinking: that one never fails. */
  if ((!p || size > old) && fails()) return NULL;
  return realloc(p, size);
}
