#include "limit.h"

enum { FOR_THE_HUB = 64 * 1024 };

static bool allowed(const gr_memory *m, size_t more) {
  size_t limit = m->limit;
  if (!limit) return true;
  if (m->S && !m->S->hub.current) limit += FOR_THE_HUB;
  return m->used <= limit && more <= limit - m->used;
}

/* Lua counts on shrinking: that one never fails. */
static void *count(void *ud, void *p, size_t old, size_t size) {
  gr_memory *m = ud;
  size_t was = p ? old : 0; /* else it is the kind of the object */
  if (size > was && !allowed(m, size - was)) return NULL;
  void *q = m->alloc(m->ud, p, old, size);
  if (!q && size) return NULL;
  m->used = m->used - was + size;
  if (m->used > m->peak) m->peak = m->used;
  return q;
}

void gr_memory_watch(gr_memory *m, lua_State *L, size_t limit) {
  m->alloc = lua_getallocf(L, &m->ud);
  m->used =
      (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
  m->peak = m->used;
  m->limit = limit;
  lua_setallocf(L, count, m);
}

void gr_memory_leave(gr_memory *m, lua_State *L) {
  void *ud;
  if (lua_getallocf(L, &ud) == count && ud == m)
    lua_setallocf(L, m->alloc, m->ud);
}
