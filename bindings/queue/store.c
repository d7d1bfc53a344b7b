/* Where a queue keeps its items. */
#include <stdlib.h>

#include "queue.h"

enum { FIRST_SPILL = 16 };

/* --- slots ---------------------------------------------------------------- */
/* A part's i-th place; the table of the spill is at index `t`. */

static inline lua_Integer spill_slot(const grb_queue *q, uint32_t i) {
  return 1 + (lua_Integer)grb_wrap(&q->spill, q->spill.head + i);
}

static void take_from_spill(lua_State *L, grb_queue *q, int at, uint32_t i) {
  lua_getiuservalue(L, at, GRB_SPILL);
  lua_rawgeti(L, -1, spill_slot(q, i));
  lua_pushnil(L);
  lua_rawseti(L, -3, spill_slot(q, i));
  lua_remove(L, -2);
}

static void step_back(grb_part *p) {
  p->head = p->head ? p->head - 1 : p->room - 1;
  p->n++;
}

/* See that one more finds room in the table. */
static void reserve(lua_State *L, grb_queue *q, int at) {
  grb_part *p = &q->spill;
  if (p->n < p->room) return;
  uint32_t room = p->room ? p->room * 2 : FIRST_SPILL;
  if (room > INT32_MAX / 4) luaL_error(L, "too many items in a queue");
  lua_getiuservalue(L, at, GRB_SPILL);
  lua_createtable(L, (int)room, 0);
  for (uint32_t i = 0; i < p->n; i++) {
    lua_rawgeti(L, -2, spill_slot(q, i));
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setiuservalue(L, at, GRB_SPILL);
  lua_pop(L, 1);
  p->head = 0;
  p->room = room;
}

static void put_in_spill(lua_State *L, grb_queue *q, int at, uint32_t i) {
  lua_getiuservalue(L, at, GRB_SPILL);
  lua_insert(L, -2);
  lua_rawseti(L, -2, spill_slot(q, i));
  lua_pop(L, 1);
}

/* --- both ends ------------------------------------------------------------ */

static inline void put_last(lua_State *L, grb_queue *q, int at) {
  if (q->ring.n < q->ring.room && !q->spill.n) {
    lua_setiuservalue(L, at, grb_ring_slot(q, q->ring.n));
    q->ring.n++;
    return;
  }
  reserve(L, q, at);
  put_in_spill(L, q, at, q->spill.n);
  q->spill.n++;
}

static void put_first(lua_State *L, grb_queue *q, int at) {
  if (q->ring.n < q->ring.room) {
    step_back(&q->ring);
    lua_setiuservalue(L, at, grb_ring_slot(q, 0));
    return;
  }
  reserve(L, q, at);
  if (q->ring.room) { /* its last makes room */
    grb_take_from_ring(L, q, at, q->ring.n - 1);
    lua_insert(L, -2);
    q->ring.n--;
    step_back(&q->ring);
    lua_setiuservalue(L, at, grb_ring_slot(q, 0));
  }
  step_back(&q->spill);
  put_in_spill(L, q, at, 0);
}

static inline void take_first(lua_State *L, grb_queue *q, int at) {
  if (q->ring.n) {
    grb_take_from_ring(L, q, at, 0);
    grb_step(&q->ring);
  } else {
    take_from_spill(L, q, at, 0);
    grb_step(&q->spill);
  }
}

static void take_last(lua_State *L, grb_queue *q, int at) {
  if (q->spill.n)
    take_from_spill(L, q, at, --q->spill.n);
  else
    grb_take_from_ring(L, q, at, --q->ring.n);
}

/* Push item number i. */
static void push_item(lua_State *L, grb_queue *q, int at, uint32_t i) {
  if (i < q->ring.n) {
    lua_getiuservalue(L, at, grb_ring_slot(q, i));
  } else {
    lua_getiuservalue(L, at, GRB_SPILL);
    lua_rawgeti(L, -1, spill_slot(q, i - q->ring.n));
    lua_remove(L, -2);
  }
}

/* --- a heap --------------------------------------------------------------- */
/* Node i is the item at 2i - 1 of the table, and at 2i its number: equals come
 * out in the order of their numbers.  All comparisons come before the first
 * change, so one that raises does no harm.  The comparator is called as by the
 * hub, so it cannot block, and finds the queue as it left it. */

static int less(lua_State *L) {
  lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
  return 1;
}

/* Call the function and its two arguments on top of L. */
static bool ask(lua_State *L, grb_queue *q) {
  q->comparing = true;
  int status = gr_call_as_hub(L, gr_state_peek(L), 2, 1);
  q->comparing = false;
  if (status != LUA_OK) lua_error(L);
  bool yes = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return yes;
}

/* Does the value at index a come before the one at b? */
static bool before(lua_State *L, grb_queue *q, int at, int a, int b) {
  a = lua_absindex(L, a);
  b = lua_absindex(L, b);
  if (lua_getiuservalue(L, at, GRB_BEFORE) == LUA_TNIL) {
    int type = lua_type(L, a);
    lua_pop(L, 1);
    if (type == lua_type(L, b) && (type == LUA_TNUMBER || type == LUA_TSTRING))
      return lua_compare(L, a, b, LUA_OPLT);
    lua_pushcfunction(L, less);
  }
  lua_pushvalue(L, a);
  lua_pushvalue(L, b);
  return ask(L, q);
}

/* Does node a of the table on top of L come before node b? */
static bool node_before(lua_State *L, grb_queue *q, int at, uint32_t a,
                        uint32_t b) {
  int top = lua_gettop(L);
  lua_rawgeti(L, top, 2 * (lua_Integer)a - 1);
  lua_rawgeti(L, top, 2 * (lua_Integer)b - 1);
  lua_rawgeti(L, top, 2 * (lua_Integer)a);
  lua_rawgeti(L, top, 2 * (lua_Integer)b);
  bool older = lua_tointeger(L, -2) < lua_tointeger(L, -1);
  lua_pop(L, 2);
  bool is = older ? !before(L, q, at, -1, -2) : before(L, q, at, -2, -1);
  lua_settop(L, top);
  return is;
}

static void copy_node(lua_State *L, uint32_t from, uint32_t to) {
  for (lua_Integer i = 0; i < 2; i++) {
    lua_rawgeti(L, -1, 2 * (lua_Integer)from - i);
    lua_rawseti(L, -2, 2 * (lua_Integer)to - i);
  }
}

static void check_heap(lua_State *L, const grb_queue *q) {
  if (q->comparing)
    luaL_error(L, "a PriorityQueue's comparator must leave the queue alone");
}

/* Pop an item and insert it with a number. */
static void insert(lua_State *L, grb_queue *q, int at, uint64_t number) {
  check_heap(L, q);
  int item = lua_gettop(L);
  uint32_t last = q->spill.n + 1, i = last;
  if (last > INT32_MAX / 4) luaL_error(L, "too many items in a queue");
  lua_getiuservalue(L, at, GRB_SPILL);
  for (; i > 1; i /= 2) {
    lua_rawgeti(L, -1, 2 * (lua_Integer)(i / 2) - 1);
    bool rises = number ? before(L, q, at, item, -1)
                        : !before(L, q, at, -1, item); /* before its equals */
    lua_pop(L, 1);
    if (!rises) break;
  }
  for (uint32_t j = last; j > i; j /= 2) copy_node(L, j / 2, j);
  lua_pushvalue(L, item);
  lua_rawseti(L, -2, 2 * (lua_Integer)i - 1);
  lua_pushinteger(L, (lua_Integer)number);
  lua_rawseti(L, -2, 2 * (lua_Integer)i);
  q->spill.n = last;
  lua_settop(L, item - 1);
}

/* Push the first item and let the last take its place. */
static void extract(lua_State *L, grb_queue *q, int at) {
  uint32_t path[32], steps = 0, last = q->spill.n;
  check_heap(L, q);
  lua_getiuservalue(L, at, GRB_SPILL);
  for (uint32_t i = 1, child; (child = 2 * i) < last; i = child) {
    if (child + 1 < last && node_before(L, q, at, child + 1, child)) child++;
    if (!node_before(L, q, at, child, last)) break;
    path[steps++] = child;
  }
  lua_rawgeti(L, -1, 1);
  lua_insert(L, -2);
  uint32_t hole = 1;
  for (uint32_t s = 0; s < steps; hole = path[s++]) copy_node(L, path[s], hole);
  copy_node(L, last, hole);
  for (lua_Integer i = 2 * (lua_Integer)last; i > 2 * (lua_Integer)last - 2;
       i--) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  q->spill.n = last - 1;
  lua_pop(L, 1);
}

/* --- what a queue does with them ------------------------------------------ */

void grb_store_put(lua_State *L, grb_queue *q, int at) {
  if (q->kind == GRB_HEAP)
    insert(L, q, at, ++q->seq);
  else
    put_last(L, q, at);
}

void grb_store_return(lua_State *L, grb_queue *q, int at) {
  if (q->kind == GRB_HEAP)
    insert(L, q, at, 0);
  else if (q->kind == GRB_LIFO)
    put_last(L, q, at);
  else
    put_first(L, q, at);
}

void grb_store_take(lua_State *L, grb_queue *q, int at) {
  if (q->kind == GRB_HEAP)
    extract(L, q, at);
  else if (q->kind == GRB_LIFO)
    take_last(L, q, at);
  else
    take_first(L, q, at);
}

void grb_store_peek(lua_State *L, grb_queue *q, int at) {
  if (q->kind == GRB_HEAP) {
    lua_getiuservalue(L, at, GRB_SPILL);
    lua_rawgeti(L, -1, 1);
    lua_remove(L, -2);
  } else {
    uint32_t last = q->ring.n + q->spill.n - 1;
    push_item(L, q, at, q->kind == GRB_LIFO ? last : 0);
  }
}

void grb_store_clear(lua_State *L, grb_queue *q, int at) {
  check_heap(L, q);
  while (q->ring.n) {
    grb_take_from_ring(L, q, at, --q->ring.n);
    lua_pop(L, 1);
  }
  lua_newtable(L);
  lua_setiuservalue(L, at, GRB_SPILL);
  q->spill = (grb_part){0};
}

/* The numbers of a heap's nodes are the order of their coming. */
static int by_number(const void *a, const void *b) {
  const lua_Integer *x = a, *y = b;
  return *x < *y ? -1 : *x > *y;
}

static void list_heap(lua_State *L, grb_queue *q, int at) {
  uint32_t n = q->spill.n;
  lua_Integer(*order)[2] = lua_newuserdatauv(L, n * sizeof *order + 1, 0);
  lua_getiuservalue(L, at, GRB_SPILL);
  for (uint32_t i = 0; i < n; i++) {
    lua_rawgeti(L, -1, 2 * (lua_Integer)i + 2);
    order[i][0] = lua_tointeger(L, -1);
    order[i][1] = 2 * (lua_Integer)i + 1;
    lua_pop(L, 1);
  }
  qsort(order, n, sizeof *order, by_number);
  lua_createtable(L, (int)n, 0);
  for (uint32_t i = 0; i < n; i++) {
    lua_rawgeti(L, -2, order[i][1]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
}

void grb_store_list(lua_State *L, grb_queue *q, int at) {
  if (q->kind == GRB_HEAP) {
    list_heap(L, q, at);
    return;
  }
  uint32_t n = q->ring.n + q->spill.n;
  lua_createtable(L, (int)n, 0);
  for (uint32_t i = 0; i < n; i++) {
    push_item(L, q, at, i);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}
