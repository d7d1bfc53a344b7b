/* Inside the queue's binding: the queue, its items (store.c), what comes
 * in and goes out (line.c), and the choice among several (choice.c).
 *
 * A queue is a full userdata.  Its oldest items are in user values, which is
 * the fastest place that Lua has; what finds no room there is in a table.
 *
 * Getters and putters stand in two lists, in the order of their arrival.  A
 * putter's item stays on its own stack until somebody takes it, so that a
 * putter who leaves takes it along; an item for a getter is moved to the
 * getter's stack by whoever wakes it.  So an item is always in one place.
 *
 * In a list stands a greenlet's own waiter, which is parked, or a stand-in
 * for a greenlet that waits on several queues (choice.c), which never is. */
#ifndef GRB_QUEUE_H
#define GRB_QUEUE_H

#include "state.h"

enum { GRB_FIFO, GRB_LIFO, GRB_HEAP, GRB_CHANNEL }; /* grb_queue.kind */

enum {                /* user values of a queue */
       GRB_SPILL = 1, /* table: items that are not in the ring */
       GRB_BEFORE,    /* a heap's own comparator, or nil */
       GRB_RING       /* the first of the ring's */
};

typedef struct grb_part { /* a ring: of user values, or in the table */
  uint32_t head, n, room;
} grb_part;

typedef struct grb_queue {
  const char *mark; /* tells a queue from other userdata */
  gr_list getters, putters;
  gr_list joiners;
  grb_part ring, spill; /* the ring's items are older; a heap is all spill */
  uint64_t limit;       /* UINT64_MAX: none; 0: a channel */
  uint64_t unfinished;
  uint64_t seq; /* of the heap's last item */
  uint8_t kind;
  bool shut;
  bool comparing; /* the comparator is being called */
} grb_queue;

extern const char grb_queue_mark;

static inline grb_queue *grb_to_queue(lua_State *L, int arg) {
  grb_queue *q = lua_touserdata(L, arg);
  if (!q || lua_rawlen(L, arg) != sizeof *q || q->mark != &grb_queue_mark)
    return NULL;
  return q;
}

/* The first argument; raises if it is none. */
static inline grb_queue *grb_check_queue(lua_State *L) {
  grb_queue *q = grb_to_queue(L, 1);
  if (!q) luaL_typeerror(L, 1, "Queue");
  return q;
}

static inline uint64_t grb_count(const grb_queue *q) {
  return (uint64_t)q->ring.n + q->spill.n;
}

/* --- the ring, here for speed --------------------------------------------- */

static inline uint32_t grb_wrap(const grb_part *p, uint32_t i) {
  return i < p->room ? i : i - p->room;
}

static inline int grb_ring_slot(const grb_queue *q, uint32_t i) {
  return (int)(GRB_RING + grb_wrap(&q->ring, q->ring.head + i));
}

/* Does a place that held such a value keep nothing alive? */
static inline bool grb_harmless(int type) {
  return type == LUA_TNUMBER || type == LUA_TBOOLEAN;
}

static inline void grb_take_from_ring(lua_State *L, grb_queue *q, int at,
                                      uint32_t i) {
  int slot = grb_ring_slot(q, i);
  if (grb_harmless(lua_getiuservalue(L, at, slot))) return;
  lua_pushnil(L);
  lua_setiuservalue(L, at, slot);
}

static inline void grb_step(grb_part *p) {
  p->head = grb_wrap(p, p->head + 1);
  p->n--;
}

/* --- items (store.c): the queue is at absolute index `at` ---------------- */

/* Pop a value and keep it as the last item.  A heap compares, which may raise:
 * then nothing has changed. */
void grb_store_put(lua_State *L, grb_queue *q, int at);

/* Pop a value that has been taken and keep it as the next item. */
void grb_store_return(lua_State *L, grb_queue *q, int at);

/* Push the next item, and take it out.  Raises as grb_store_put. */
void grb_store_take(lua_State *L, grb_queue *q, int at);

/* Push the next item. */
void grb_store_peek(lua_State *L, grb_queue *q, int at);

/* Drop all items. */
void grb_store_clear(lua_State *L, grb_queue *q, int at);

/* Push a list of all items in the order in which they were put. */
void grb_store_list(lua_State *L, grb_queue *q, int at);

/* --- coming and going (line.c) -------------------------------------------- */

/* Push the next item if there is one to be had without waiting. */
bool grb_queue_take(lua_State *L, gr_state *S, grb_queue *q, int at);

/* Pop an item if it can be put without waiting. */
bool grb_queue_give(lua_State *L, gr_state *S, grb_queue *q, int at);

/* There is room again: let putters in. */
void grb_queue_admit(lua_State *L, gr_state *S, grb_queue *q, int at);

/* Wake all in a list of a queue that has been shut down. */
void grb_queue_turn_away(gr_state *S, gr_list *list);

/* The values on top of `from` have been handed to a getter that will not live
 * to take them: pass the item on. */
void grb_queue_give_back(lua_State *L, gr_state *S, grb_queue *q, int at,
                         lua_State *from, int values);

/* The methods. */
int grb_get(lua_State *L);
int grb_get_nowait(lua_State *L);
int grb_peek(lua_State *L);
int grb_peek_nowait(lua_State *L);
int grb_put(lua_State *L);
int grb_put_nowait(lua_State *L);

/* --- choices (choice.c) --------------------------------------------------- */

/* Is this one in a list a stand-in whose greenlet still waits? */
bool grb_case_open(const gr_waiter *stand_in);

/* The greenlet for which it stands: its choice falls on it. */
gr_greenlet *grb_case_take(gr_waiter *stand_in, bool shut);

/* Push the item that it would put. */
void grb_case_item(lua_State *L, gr_state *S, gr_waiter *stand_in);

/* choose(cases [, timeout]), with the objects of queue.c as upvalues */
int grb_choose(lua_State *L);
void grb_choice_open(lua_State *L);

enum {
  GRB_EMPTY = 2,
  GRB_FULL,
  GRB_SHUTDOWN,
  GRB_TURN,
  GRB_UPVALUES = GRB_TURN
};

#endif
