/* A hub in a Lua state, and the greenlets that it runs.
 *
 * A greenlet is a full userdata that begins with a waiter; its coroutine is
 * its user value until it ends (S->warm is not yet), its outcome from then on.
 * The state keeps a greenlet alive from its start to its end (the table of the
 * living), and no longer.  Everything that few greenlets have (a name, links,
 * fields) is in a table of its own, made on first use (gr_push_extra).
 *
 * How a C function blocks, whether it stands in a greenlet, in a user's own
 * coroutine, under table.sort or in the main program:
 *
 *     static int nap_k(lua_State *L, int status, lua_KContext ctx) {
 *       gr_state *S = gr_state_of(L);
 *       int how = gr_woken(L, S, ctx, nap_k);
 *       ... results from `how`, GR_WOKEN or GR_TIMEDOUT ...
 *     }
 *     static int nap(lua_State *L) {
 *       gr_state *S = gr_state_of(L);
 *       double at = gr_check_deadline(L, 1);
 *       gr_can_block(L, S, at);                   raises if it cannot
 *       gr_arm(&S->hub, at, false);               or a list, or both
 *       return gr_park(L, S, &nap_wait, false, 0, nap_k);
 *     }
 *
 * Between gr_can_block and gr_park nothing may raise or run Lua.
 */
#ifndef GR_STATE_H
#define GR_STATE_H

#include <lauxlib.h>
#include <lua.h>
#include <signal.h>

#include "hub.h"

typedef struct gr_greenlet {
  gr_waiter w;         /* first: the hub's view of it */
  uint32_t ended;      /* the order of its end; before it starts: arguments */
  uint32_t slot : 30;  /* in the table of the living; a number to name it */
  uint32_t held : 1;   /* the host has a handle of it */
  uint32_t doomed : 1; /* to be closed as soon as C has let go */
  lua_State *L;        /* its coroutine, from its start to its end */
  gr_list joiners;     /* waiters for its end */
  struct gr_account *account; /* limit.h; kept by GR_T_ACCOUNT; or NULL */
} gr_greenlet;

/* gr_waiter.flags besides the hub's */
enum {
  GR_STARTED = 0x02, /* its coroutine runs, or has run */
  GR_PENDING = 0x04, /* an interrupt waits for its next park */
  GR_CLOSING = 0x08, /* its end has come; its <close> variables may still run */
  GR_LINKED = 0x10,  /* somebody's function wants to know of its end */
  GR_MANY = 0x20,    /* ended with several values, kept on its coroutine */
  GR_FAILED = 0x40,  /* ended with an error */
  GR_EXITED = 0x80   /* ended by a GreenletExit: no failure */
};

/* Tables of the state, at these indices of S->L. */
enum {
  GR_T_LIVE = 1, /* slot -> greenlet */
  GR_T_EXTRA,    /* greenlet -> its table (weak keys) */
  GR_T_PENDING,  /* greenlet -> list of interrupts to be raised in it */
  GR_T_RAISED,   /* greenlet -> the last interrupt raised in it (weak) */
  GR_T_ANCHOR,   /* address -> object that must outlive its references in C */
  GR_T_POLICY,   /* what the Lua side decides, by the numbers below */
  GR_T_SPARE,    /* array of coroutines for greenlets to come */
  GR_T_CONTEXT,  /* slot -> what its children start with */
  GR_T_LOCALS,   /* slot -> what is its alone */
  GR_T_HELD,     /* handle of the host -> greenlet, and its address -> handle */
  GR_T_ACCOUNT,  /* greenlet -> the account of time that it draws on (weak) */
  GR_T_END = GR_T_ACCOUNT,
  GR_T_WARM /* no table: S->warm */
};

/* Places in GR_T_POLICY. */
enum {
  GR_P_GREENLET = 1, /* metatable of plain greenlets */
  GR_P_EXIT,         /* the class GreenletExit */
  GR_P_ON_END,       /* function(greenlet, observed): links, reports */
  GR_P_LOOP_EXIT     /* function() -> a new LoopExit */
};

typedef struct gr_state {
  gr_hub hub;         /* first */
  lua_State *L;       /* a thread for the tables above; runs no Lua code */
  lua_State *talk;    /* a thread for what the Lua side decides */
  lua_State *host;    /* the main thread */
  lua_State *resumed; /* whose continuation the hub is about to call */
  gr_greenlet *main;
  uint32_t *slots; /* free ones */
  uint32_t nfree, nslots, room;
  uint32_t nspare;      /* coroutines in GR_T_SPARE */
  lua_State *warm;      /* one more, or NULL: see greenlet.h */
  gr_greenlet *warm_of; /* who stands on it, or NULL */
  uint32_t living;      /* greenlets, main not counted */
  uint32_t ended;
  bool releasing;           /* C that waits in place is told of the end */
  bool no_finalizers;       /* classes of scripts may not have any */
  bool closing;             /* nobody may wait any more */
  bool scoped;              /* GR_T_CONTEXT or GR_T_LOCALS has been used */
  gr_list expired;          /* timeouts that are still to be raised */
  struct green_hub *shell;  /* what the host knows of it, or NULL */
  struct gr_limits *limits; /* of time; NULL: there are none */
  volatile sig_atomic_t interrupted; /* main is to raise "interrupted!" */
  struct gr_hooked {                 /* a hook displaced by one of later.c */
    lua_State *L;
    lua_Hook hook;
    int mask, count;
    const char *message;     /* what to raise, or: */
    gr_greenlet *target;     /* whose interrupt, */
    struct CallInfo *inside; /* and after which call; */
    bool fails;              /* that one is to fail */
  } later, failed;
} gr_state;

/* The state's hub, opened on first use.  Raises if that fails. */
gr_state *gr_state_open(lua_State *L);

/* The same, of a state that has none, as told by the options. */
gr_state *gr_state_new(lua_State *L, const gr_hub_options *o);

/* Raises unless the hub has a loop: `module` cannot do without. */
void gr_need_loop(lua_State *L, const gr_state *S, const char *module);

/* The state's hub; NULL if nobody has opened it. */
gr_state *gr_state_peek(lua_State *L);

/* Have `f(S)` called, with the state as a light userdata, when it is opened,
 * and `f()` before it is closed. */
void gr_state_watch(lua_State *L, lua_CFunction f);

/* Close every greenlet and the hub, as closing the Lua state would. */
void gr_state_close(lua_State *L, gr_state *S);

/* Raises if that has happened: finalizers may still call us. */
void gr_check_open(lua_State *L, const gr_state *S);

/* In a C function whose first upvalue is the state (gr_setfuncs). */
static inline gr_state *gr_state_of(lua_State *L) {
  return (gr_state *)lua_touserdata(L, lua_upvalueindex(1));
}

/* Have `close` called with the userdata on top of the stack when the variable
 * that holds it goes out of scope (lua_toclose).  The metatable for that is
 * kept in the registry at `key`. */
void gr_set_closer(lua_State *L, const void *key, lua_CFunction close);

/* luaL_setfuncs with the state as the only upvalue. */
void gr_setfuncs(lua_State *L, gr_state *S, const luaL_Reg *funcs);

/* --- blocking ----------------------------------------------------------- */

/* The absolute deadline that argument `arg` means: nil: INFINITY; a number of
 * seconds from now, not negative; a Timeout object: its own (raised at once
 * if it has expired).  Raises on anything else. */
double gr_check_deadline(lua_State *L, gr_state *S, int arg);

/* The deadline has passed: raise argument `arg` if it is a Timeout object. */
void gr_timed_out(lua_State *L, int arg);

/* See that the running greenlet can block here until `at`, and raise what is
 * pending for it.  Raises if not. */
gr_greenlet *gr_can_block(lua_State *L, gr_state *S, double at);

/* Can main wait, by running the loop?  Not on a host's loop or clock. */
static inline bool gr_main_may_park(const gr_state *S) {
  return S->hub.owns_loop && !S->hub.clock;
}

/* Park the running greenlet, then call `k`.  `external`: see gr_park_waiter.
 * Call as `return gr_park(...)`. */
int gr_park(lua_State *L, gr_state *S, const gr_wait *what, bool external,
            lua_KContext ctx, lua_KFunction k);

/* The first call in a continuation: how the wait ended.  Raises interrupts.
 * What the waker left (w.values) lies on top of the stack. */
int gr_woken(lua_State *L, gr_state *S, lua_KContext ctx, lua_KFunction k);

/* As gr_park, but for one turn only: let those run who are ready. */
int gr_give_way(lua_State *L, gr_state *S, lua_KContext ctx, lua_KFunction k);

/* The same from inside a hook, or a C function without a continuation; way 2,
 * so gr_hub_reserve first.  `what` may be NULL. */
void gr_yield_in_place(lua_State *L, gr_state *S, const gr_wait *what);

/* lua_pcall, as if the hub itself called: so that nothing in it can wait. */
int gr_call_as_hub(lua_State *L, gr_state *S, int nargs, int nresults);

/* --- greenlets ---------------------------------------------------------- */

/* Pops a function and its `nargs` arguments, pushes a greenlet that will run
 * it (with the metatable of plain ones).  Raises for want of memory, or if
 * there are more than 249 arguments. */
gr_greenlet *gr_greenlet_new(lua_State *L, gr_state *S, int nargs);

/* Let it run, now or at a time; it is on top of the stack.  May raise for
 * want of memory. */
void gr_greenlet_start(lua_State *L, gr_state *S, gr_greenlet *g);
void gr_greenlet_start_at(lua_State *L, gr_state *S, gr_greenlet *g, double at);

/* Argument `arg` as a greenlet; raises if it is none.  The second returns
 * NULL instead. */
gr_greenlet *gr_check_greenlet(lua_State *L, int arg);
gr_greenlet *gr_to_greenlet(lua_State *L, int arg);

/* lua_setmetatable with a table that a script may have written to: raises where
 * it must not have a finalizer (which nothing can stop) and has. */
void gr_set_class(lua_State *L, const gr_state *S, int object);

/* Make the table on top of the stack a metatable of greenlets. */
void gr_mark_class(lua_State *L);

/* Push a living greenlet. */
void gr_push_greenlet(lua_State *L, gr_state *S, gr_greenlet *g);

/* Push the table of what few have; nil if there is none and not `make`. */
void gr_push_extra(lua_State *L, gr_state *S, int greenlet, bool make);

/* Raise the value on top of the stack (popped) in greenlet at index `arg`:
 * where it is parked, or at its next park.  A fresh one ends without having
 * run. */
void gr_interrupt(lua_State *L, gr_state *S, int arg);

/* Raise "interrupted!" in main: where it is parked, or at its next park.  Calls
 * no Lua, so a loop callback may. */
void gr_interrupt_main(gr_state *S);

/* Raise the value on top of the stack as an interrupt of `g`, which runs (NULL:
 * nobody does, and it is an error like others). */
int gr_raise(lua_State *L, gr_state *S, gr_greenlet *g);

/* End greenlet `arg` for good when its turn comes, whatever stands in the
 * way: its pending <close> variables run, and the value on top of the stack
 * (popped) is its outcome.  Neither for main nor for the running one. */
void gr_greenlet_close(lua_State *L, gr_state *S, int arg);

/* The kind of wait that is there for an error (see Greenlet:get). */
extern const gr_wait gr_wait_get;

/* Let the running greenlet (there is one) have the value on top of the
 * stack (popped) in table `t`: GR_T_CONTEXT, which those that it starts from
 * now on inherit, or GR_T_LOCALS.  Both are forgotten at its end. */
void gr_set_scoped(lua_State *L, gr_state *S, int t);

/* Push what it has there, or nil. */
void gr_push_scoped(lua_State *L, gr_state *S, int t);

/* Take an interrupt back, the value on top of the stack (popped), that waits
 * for the next park of the greenlet `arg`; false if there is none such. */
bool gr_take_back(lua_State *L, gr_state *S, int arg);

/* The Lua thread on which a parked greenlet's blocking call stands: its own,
 * or a coroutine that it runs. */
lua_State *gr_blocked_thread(gr_state *S, gr_greenlet *g);

/* The coroutine that `L` has resumed and waits for; NULL if there is none. */
lua_State *gr_resumee(lua_State *L);

/* Push it, which is then no longer to be raised; there is one. */
void gr_push_interrupt(lua_State *L, gr_state *S, gr_greenlet *g);

/* Raise it, in the running one; returns if there is none. */
void gr_raise_pending(lua_State *L, gr_state *S, gr_greenlet *g);

/* Raise `message` (static) in `co` as soon as the C function that it is in
 * returns. */
void gr_raise_later(gr_state *S, lua_State *co, const char *message);

/* --- C code that is not ours --------------------------------------------- */
/* It waits in the midst of something, so nothing can be raised through it.
 * A wait of such code is marked as `foreign`; an interrupt ends it, but stays
 * pending.  Then the wait fails, and all others of the same C function, so
 * that it comes to its end; as soon as it has returned the interrupt is raised
 * (gr_fail_call).  If it does not return but raise an error, that one comes
 * first, and the interrupt at the greenlet's next park. */

/* The thread in which the running greenlet (there is one) is: its own, or a
 * coroutine that it runs. */
lua_State *gr_running_thread(gr_state *S);

/* Is something to be raised in the running greenlet? */
bool gr_interrupted(gr_state *S);

/* Raise it as soon as the C function that the greenlet is in has returned. */
void gr_raise_after_call(gr_state *S);

/* The same, and that function fails on its account. */
void gr_fail_call(gr_state *S);

/* Does it?  Then no wait of it may begin. */
bool gr_call_failed(gr_state *S);

/* Park the running greenlet and set its stack aside; gr_hub_reserve first.
 * How the wait ended, GR_RAISE for one; nothing is raised. */
int gr_block_in_place(gr_state *S, const gr_wait *what, bool external,
                      gr_guard *guard);

/* Push what greenlet `arg` has returned, all of it; how many values.  It has
 * ended, and without an error. */
int gr_push_values(lua_State *L, int arg);

/* Tell of a failure that nobody asks for: to the host, or on stderr.  false:
 * the host takes no reports, and nothing has been done. */
bool gr_report_to_host(gr_state *S, const char *text);

/* The program has come to its end: tell the host, which owns the process.
 * false: there is none, and it is ours to end. */
bool gr_stop_host(gr_state *S);

/* Push the name of greenlet `arg`: what the program calls it, or its class and
 * its number. */
void gr_push_name(lua_State *L, gr_state *S, int arg);

/* --- where things are kept ----------------------------------------------- */

/* Push the state's table `t` on L. */
void gr_push_table(lua_State *L, gr_state *S, int t);

/* Push the state's policy `p`; nil if the Lua side has not set it. */
void gr_push_policy(lua_State *L, gr_state *S, int p);

/* --- Timeout ------------------------------------------------------------ */

typedef struct gr_timeout {
  gr_alarm alarm;
  gr_node node;        /* in S->expired, until raised or cancelled */
  gr_greenlet *target; /* anchored by the user value 2 */
  double seconds;      /* NaN: none */
  double at;           /* its deadline, once started */
  bool fired;          /* it has expired since its last start */
  bool due;            /* and has ended its target's wait */
  bool daemon;         /* it alone need not keep the program */
} gr_timeout;

/* Push a new Timeout for the running greenlet: user value 1 is its error (nil
 * for itself).  NaN seconds never fire. */
gr_timeout *gr_timeout_new(lua_State *L, gr_state *S, double seconds);
void gr_timeout_start(lua_State *L, gr_state *S, int arg);
void gr_timeout_cancel(lua_State *L, gr_state *S, gr_timeout *t);
void gr_timeout_forget(gr_state *S, gr_greenlet *g); /* its expired ones */
gr_timeout *gr_to_timeout(lua_State *L, int arg);

#endif
