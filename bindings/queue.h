/* Inside the queue's binding: the queue, its items (queue_store.c), what comes
 * in and goes out (queue.c), and the choice among several (choice.c).
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

enum { /* user values of a queue */
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

static inline uint64_t grb_count(const grb_queue *q) {
  return (uint64_t)q->ring.n + q->spill.n;
}

/* --- items (queue_store.c): the queue is at absolute index `at` ---------- */

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

/* --- coming and going (queue.c) ------------------------------------------ */

/* Push the next item if there is one to be had without waiting. */
bool grb_queue_take(lua_State *L, gr_state *S, grb_queue *q, int at);

/* Pop an item if it can be put without waiting. */
bool grb_queue_give(lua_State *L, gr_state *S, grb_queue *q, int at);

/* The values on top of `from` have been handed to a getter that will not live
 * to take them: pass the item on. */
void grb_queue_give_back(lua_State *L, gr_state *S, grb_queue *q, int at,
                         lua_State *from, int values);

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

enum { GRB_EMPTY = 2, GRB_FULL, GRB_SHUTDOWN, GRB_TURN, GRB_UPVALUES = GRB_TURN };

#endif
