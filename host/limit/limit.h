/* Limits for scripts that one does not trust.
 *
 * Memory, per Lua state: an allocator around the state's own.  Beyond the limit
 * it refuses.  Lua then collects all garbage and asks again; if that did not
 * help, whoever asked gets the error "not enough memory".  The hub itself,
 * which has to tell of that, may have a little more.
 *
 * Time: an account has a slice, after which a greenlet gives way, and a budget
 * of CPU time in all, beyond which those that draw on it end.  What a greenlet
 * starts draws on its account, and may have one of its own below that.
 *
 * Lua is told by a hook.  A hook that is always there makes all instructions
 * slow, and none may be set from another thread.  So a watchdog sends the hub's
 * thread a signal when a slice is overrun; the handler sets the hook, as that
 * of lua(1) does, on the thread that runs.  Which one that is is known, since
 * coroutine.resume, wrap and close are replaced by ones that say so.
 */
#ifndef GR_LIMIT_H
#define GR_LIMIT_H

#include "state.h"
#include "watchdog.h"

typedef struct gr_memory {
  size_t used, peak, limit; /* limit: 0 if there is none */
  gr_state *S;              /* NULL before the hub is open */
  lua_Alloc alloc;          /* the state's own */
  void *ud;
} gr_memory;

/* Count all of `L`'s memory from now on; what it has is counted, too. */
void gr_memory_watch(gr_memory *, lua_State *L, size_t limit);

/* Its own allocator again. */
void gr_memory_leave(gr_memory *, lua_State *L);

typedef struct gr_account {
  struct gr_account *parent; /* charged, too; outlives this one.  Or NULL */
  int64_t slice;             /* ns; 0: the parent's */
  int64_t budget, used;      /* ns; budget 0: none of its own */
} gr_account;

typedef struct gr_limits {
  gr_watchdog dog;
  gr_account all;      /* of greenlets that have none of their own */
  gr_account *running; /* charged at the next switch, or NULL */
  int64_t since;       /* the thread's CPU time when that began */
  unsigned talk_run;   /* a run in which the hub itself takes long, */
  int64_t talk_since;  /* and the CPU time when that was seen */
  unsigned told_run;   /* and that has been told of */
  unsigned overrun;    /* the run that is to give way */
  unsigned spared;     /* times that a run was not stopped, and which one: */
  unsigned spared_run;
  bool several;         /* accounts: some greenlet has one of its own */
  int hook_flag;        /* see gr_hook_flag */
  unsigned exhausted;   /* the run in which the budget was found used up */
  uint64_t preemptions; /* so far */
} gr_limits;

/* The state's limits of time, made on first use.  0, or -1 and errno: the
 * watchdog's signal is somebody else's (EBUSY), or there is no memory.  Raises
 * for want of memory in Lua. */
int gr_limits_open(lua_State *L, gr_state *S, int signal);

/* Stop the watchdog: time is not limited any more. */
void gr_limits_close(gr_state *S);

/* What all greenlets share: ns, 0 for none. */
void gr_limits_set(gr_state *S, int64_t slice, int64_t budget);

/* Give the greenlet on top of L, which stays there and has not started, an
 * account of its own below that of the running one.  May raise for want of
 * memory.  The limits must be open. */
void gr_limit_greenlet(lua_State *L, gr_state *S, int64_t slice,
                       int64_t budget);

/* The greenlet on top of L is about to start: it draws on the account of the
 * one that runs.  As above. */
void gr_limit_inherit(lua_State *L, gr_state *S);

/* Push the account that the running greenlet draws on, if it is not that of
 * all.  And: the greenlet below it on L, which has not started, draws on the
 * account on top (popped).  May raise for want of memory. */
bool gr_limit_push_account(lua_State *L, gr_state *S);
void gr_limit_charge(lua_State *L, gr_state *S);

/* The account that a greenlet draws on; NULL: time is not limited. */
gr_account *gr_account_of(gr_state *S, const gr_greenlet *g);

/* It has a coroutine now. */
void gr_limit_begun(gr_state *S, gr_greenlet *g);

/* The budget of the running greenlet is used up. */
bool gr_limit_spent(gr_state *S);

/* Let `L` meet that at its next instruction. */
void gr_limit_stop(lua_State *L);

/* Is there something that it is still to meet? */
bool gr_limit_hooked(lua_State *L);

/* In a C function that takes long, now and then: give way if it is time, raise
 * if there is no more.  `L` runs. */
void gr_limit_check(lua_State *L, gr_state *S);

/* Push the words for it. */
void gr_limit_explain(gr_state *S, lua_State *co);

/* Where a thread says whether it calls hooks; -1: that was not found.  May
 * raise. */
int gr_hook_flag(lua_State *L);

/* It may have been left inside of a hook, and shall call some again. */
void gr_hook_again(const gr_state *S, lua_State *co);

/* What one waits for that gives way. */
extern const gr_wait gr_wait_slice;

/* Let `co` be known as what runs on this C stack; what was, before (NULL: the
 * greenlet's own). */
lua_State *gr_enter_coroutine(gr_state *S, lua_State *co);

/* Have coroutine.resume and others tell who runs.  May raise. */
void gr_track_coroutines(lua_State *L, gr_state *S);

#endif
