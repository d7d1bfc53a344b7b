/* greenlua in a program of yours: Lua scripts that block without blocking it.
 *
 *     #include <greenlua.h>
 *
 *     int main(void) {
 *       green_config c = green_defaults();
 *       green_hub *hub = green_open(&c, NULL);
 *       if (!hub) return 1;
 *       lua_State *L = green_lua(hub);
 *       if (luaL_loadfile(L, "script.lua") == LUA_OK)
 *         green_release(green_spawn(L, 0, NULL));   runs when the hub does
 *       green_run(hub);                             until all have ended
 *       green_free(hub);
 *     }
 *
 *     cc host.c $(pkg-config --cflags --libs greenlua)      Lua 5.4.4 or later
 *
 * Words.  A *greenlet* is a Lua coroutine that is scheduled; it *parks* where
 * it waits, until it is *woken*.  A *hub* schedules the greenlets of one Lua
 * state.  *Main* is your own C code, outside of all greenlets.
 *
 * When Lua runs.  Greenlets run inside green_run, green_step and, on a loop of
 * yours, inside ev_run; nowhere else.  green_spawn, green_kill, green_done and
 * all others only make ready: they may be called with your locks held.  Your
 * own lua_pcall on green_lua() runs what you call, there and then, and no
 * greenlet.  What it calls may spawn and wake, but wait only where the hub may
 * run by itself, on a loop and a clock of its own; elsewhere a wait in main is
 * refused with an error (spawn the function instead).
 *
 * Threads.  A hub and its Lua state belong to the thread that opened it.  Any
 * number of hubs may be in a process, also in a thread; they share nothing.
 * Others may call green_post, green_stop, green_done and green_free; a signal
 * handler nothing: have a thread sigwait, and call green_stop.
 *
 * Your functions.  What we call of yours (config.open, on_error, print, clock,
 * on_done, functions posted, those of green_each) may neither wait nor run or
 * close a hub from inside: GREEN_EBUSY.  They may spawn, wake and kill. `alloc`
 * and `drop` may call nothing here, and no Lua.
 *
 * C functions that greenlets call have 1 MiB of stack.  An error of Lua's is a
 * longjmp, which no destructor of C++ notices.
 *
 * What is yours stays yours.  Nothing is global, no signal is caught (but for
 * limits of time), nothing calls exit or writes to stderr but the default of
 * on_error.  On a loop of yours we start and stop watchers of our own, which do
 * not keep it going (but see GREEN_KEEP_LOOP).  A Lua state of yours is not
 * closed; if you close it first, the hub is closed with it.
 *
 * Functions return GREEN_OK (0), something greater, or one of the codes below;
 * green_strerror and green_message have words for them.
 */
#ifndef GREENLUA_H
#define GREENLUA_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef GREEN_API
#define GREEN_API extern __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#include <lua.h>

#define GREEN_VERSION "0.1.0"

typedef struct green_hub green_hub;
typedef struct green_greenlet green_greenlet;
typedef struct green_wait green_wait;
struct ev_loop;

enum {
  GREEN_OK = 0,
  GREEN_MORE = 1,       /* of green_step: somebody is ready still */
  GREEN_ETIMEDOUT = -1, /* the time is up */
  GREEN_ERAISED = -2,   /* a kill or a Timeout struck: see green_throw */
  GREEN_ECLOSED = -3,   /* the hub, the greenlet or the descriptor is closed */
  GREEN_ENOMEM = -4,    /* no memory, or no C stack is left */
  GREEN_EINVAL = -5,    /* an argument that makes no sense here */
  GREEN_ETHREAD = -6,   /* called in another thread than the hub's */
  GREEN_EBUSY = -7,  /* called from inside the hub: by a greenlet, a hook or a
                      * finalizer; or the Lua state has a hub */
  GREEN_EBLOCK = -8, /* nobody can wait here (in a finalizer or a hook of the
                      * hub; in main on a host's loop) */
  GREEN_ELUA = -9,   /* a Lua error */
  GREEN_EDEADLOCK = -10, /* greenlets wait, and nothing is left to wake them */
  GREEN_EKILLED = -11,   /* ended by a kill */
  GREEN_ESTOPPED = -12,  /* by green_stop, or your loop was broken */
  GREEN_ESYS = -13       /* a system call failed: errno */
};

/* What a code means; never NULL. */
GREEN_API const char *green_strerror(int code);

/* --- opening and closing ------------------------------------------------- */

/* green_config.flags */
enum {
  /* No event loop: timers, events and queues only; green_step runs it.  What
   * needs descriptors (greenlua.socket …) raises when it is required. */
  GREEN_NO_LOOP = 1,
  /* On a loop of yours: ev_run goes on while a greenlet waits for something
   * that can come. */
  GREEN_KEEP_LOOP = 2,
  /* Scripts may catch signals (greenlua.signal). */
  GREEN_SIGNALS = 4
};

typedef struct green_config {
  size_t size;    /* set by green_defaults; see below */
  unsigned flags; /* 0 */
  /* The Lua state, which stays yours; NULL: a new one, closed with the hub. */
  lua_State *L;
  /* Called in that state, protected, when the hub is there; NULL: nothing.
   * green_openlibs, green_preload or a function of yours. */
  lua_CFunction open;
  /* For a new state's memory; NULL: realloc(3). */
  lua_Alloc alloc;
  void *alloc_ud;
  /* The libev loop, which stays yours; NULL: one of the hub's own. */
  struct ev_loop *loop;
  /* Nanoseconds of a clock of yours, which must not go back: game time.  All
   * sleeps and timeouts are of it, and only green_step runs the hub, since
   * nobody else knows when it advances.  NULL: the monotonic clock. */
  int64_t (*clock)(void *ud);
  int64_t slice; /* ns of greenlets before a loop is polled again; 0: 1 ms */
  unsigned max_stacks; /* greenlets that wait under C functions; 0: 16000 */
  /* A greenlet has failed, and nobody asks for its outcome: `text` has the
   * error and the traceback.  NULL: it is written to stderr. */
  void (*on_error)(green_hub *hub, const char *text, void *ud);
  /* Where Lua's `print` writes; NULL: as it is. */
  void (*print)(green_hub *hub, const char *text, size_t length, void *ud);
  void *ud; /* for clock, on_error and print */
  /* Limits for scripts that you do not trust; 0: none.  See below. */
  size_t memory;      /* bytes of the Lua state */
  int64_t time_slice; /* ns that a greenlet runs before it gives way */
  int64_t cpu_budget; /* ns of CPU time that all greenlets have together */
  int time_signal;    /* for these two; 0: SIGRTMAX - 2 */
  unsigned grants;    /* GREEN_GRANT_…, for green_opensandbox */
} green_config;

/* Opens Lua's standard libraries and lets `require "greenlua"` work.  The
 * second does the latter only: for states that have their libraries. */
GREEN_API int green_openlibs(lua_State *L);
GREEN_API int green_preload(lua_State *L);

/* Instead of these, for scripts that you do not trust, in a state of theirs:
 * the globals are then Lua's and greenlua's functions that reach nothing
 * outside of the state, and what green_config.grants adds.  There is no way to
 * files, sockets, processes, signals, C modules and os.exit, none to bytecode,
 * to finalizers (which cannot be stopped) and into the debug library; `require`
 * knows modules of greenlua only.  Lua's C functions that could run for as long
 * as a script likes (patterns, string.rep; table.concat, insert, move, remove,
 * sort) are replaced by ones that do the same and can be stopped.  So together
 * with limits of memory and time (see below) a script can take no more than you
 * give it.  What you add to the globals is yours to judge.  Where sockets are
 * granted a script can put a finalizer of its own in the place of those that
 * HTTP's objects have.  Scripts in one such state share all globals and can
 * change them for each other: give each of them a state. */
GREEN_API int green_opensandbox(lua_State *L);

/* green_config.grants.  Sockets include UNIX ones, and files: of keys and
 * certificates, and those that an HTTP server shows. */
enum {
  GREEN_GRANT_FILES = 1,
  GREEN_GRANT_SOCKETS = 2,
  GREEN_GRANT_PROCESSES = 4,
  GREEN_GRANT_SIGNALS = 8 /* with GREEN_SIGNALS */
};

/* What the hub of a state was opened with. */
GREEN_API unsigned green_grants(lua_State *L);

/* All fields zero but size and open, which is green_openlibs.
 *
 * Structs with a `size`, that of your header, may grow at their end: a newer
 * library takes what is not there for zero, an older one refuses (GREEN_EINVAL)
 * what it does not know unless it is zero; and fills what both know. */
static inline green_config green_defaults(void) {
  green_config c;
  memset(&c, 0, sizeof c);
  c.size = sizeof c;
  c.open = green_openlibs;
  return c;
}

/* A new hub; NULL and a code if that fails, with nothing left behind.  `code`
 * may be NULL.  GREEN_EBUSY: the state has one, or had one. */
GREEN_API green_hub *green_open(const green_config *c, int *code);

/* End every greenlet (their pending <close> variables run), free all that the
 * hub has, and close the Lua state if it is the hub's.  C functions that wait
 * in place get GREEN_ECLOSED before.  From main only; GREEN_ECLOSED if it is
 * closed already.  Every later call with the hub answers so.  It waits for
 * functions that run on threads of the pool (see green_work). */
GREEN_API int green_close(green_hub *hub);

/* Close, if it is not, and give the hub back: the last call with it.  In
 * another thread or from inside it does not close, but only gives back.  NULL
 * is allowed. */
GREEN_API void green_free(green_hub *hub);

/* The hub of a state, also of one that a script opened by require; NULL if it
 * has none.  Yours as long as the state is. */
GREEN_API green_hub *green_of(lua_State *L);

/* The state's main thread; NULL once the hub is closed. */
GREEN_API lua_State *green_lua(green_hub *hub);
GREEN_API void *green_userdata(const green_hub *hub); /* green_config.ud */

/* The words for the last failure in the hub that had some (a Lua error); valid
 * until the next one; never NULL. */
GREEN_API const char *green_message(const green_hub *hub);

/* --- driving: pick one --------------------------------------------------- */

/* 1. Let it run until every greenlet has ended.  GREEN_OK; GREEN_EDEADLOCK if
 * those that are left wait for each other; GREEN_ESTOPPED; GREEN_ELUA if an
 * error was raised in main (green.kill of it).  On a loop of yours it runs that
 * loop, and your watchers with it, so from outside of ev_run only.
 * GREEN_EINVAL where only green_step can be used. */
GREEN_API int green_run(green_hub *hub);

/* Let green_run return soon; greenlets stay as they are.  From any thread. */
GREEN_API int green_stop(green_hub *hub);

/* 2. Do what there is to do, for about `budget` nanoseconds: for a frame loop.
 * It never sleeps, and takes longer by one greenlet's slice at most; one at
 * least is run if any is ready.  GREEN_MORE if some still are.  With nothing to
 * do it makes no system call, or one if descriptors are watched.
 *
 * A greenlet that sleeps for any positive time on a clock of yours goes on in a
 * later step; after sleep(0), in this one if there is time. */
GREEN_API int green_step(green_hub *hub, int64_t budget);

/* 3. As 2, from another loop (epoll, libuv, an engine's): call green_step when
 * the descriptor is readable (it stays so until then) or the time is up; do not
 * read from it.  The descriptor is the hub's.  Or GREEN_ESYS. */
GREEN_API int green_fd(green_hub *hub);

/* Nanoseconds until green_step has something to do: 0 now, -1 when the
 * descriptor says so; any other code if that cannot be told. */
GREEN_API int64_t green_next(green_hub *hub);

/* 4. Give green_open a loop of yours, and run it. */

/* From any thread: have `f(L, hub, arg)` called in the hub's thread, by
 * whatever drives the hub, protected.  `L` is a Lua thread with a free stack.
 * It may not block.  GREEN_ECLOSED: it will not be called. */
GREEN_API int green_post(green_hub *hub,
                         void (*f)(lua_State *L, green_hub *hub, void *arg),
                         void *arg);

/* --- greenlets ----------------------------------------------------------- */

typedef struct green_options {
  size_t size;
  const char *name; /* for people; copied */
  double delay;     /* seconds before it starts */
  /* Its end, once, called in the hub: `status` is GREEN_OK with `n` results on
   * the stack of L (one, nil, if there are none), GREEN_ELUA or GREEN_EKILLED
   * with the error, or GREEN_ECLOSED with nothing when the hub is closed.  It
   * may not block.  With it the host is there for an error: on_error is not
   * called. */
  void (*on_done)(green_greenlet *g, lua_State *L, int n, int status, void *ud);
  void *ud;
  int64_t time_slice; /* as green_limit_time; 0: as whoever starts it */
  int64_t cpu_budget; /* of its own, and of what it starts; 0: none */
} green_options;

/* Pops a function and `nargs` arguments from L (any thread of the Lua state),
 * like lua_call, and lets a greenlet run it soon.  `o` may be NULL.  A new
 * reference to it, or NULL: no function, no memory, options that make no sense,
 * the wrong thread (green_message). */
GREEN_API green_greenlet *green_spawn(lua_State *L, int nargs,
                                      const green_options *o);

/* The running greenlet, or NULL in main: a new reference. */
GREEN_API green_greenlet *green_self(lua_State *L);

/* A reference more, one less.  One that has ended, or whose hub is closed, can
 * still be asked.  In the hub's thread; NULL is allowed. */
GREEN_API green_greenlet *green_retain(green_greenlet *g);
GREEN_API void green_release(green_greenlet *g);

/* Raise an error where it is parked, or at its next park: the string `why`, or
 * NULL for a GreenletExit.  It may catch it. */
GREEN_API int green_kill(green_greenlet *g, const char *why);

/* End it for good when its turn comes, whatever it catches; its pending <close>
 * variables run.  GREEN_EBUSY for the running one. */
GREEN_API int green_end(green_greenlet *g);

typedef enum green_state {
  GREEN_FRESH, /* waits for its delayed start */
  GREEN_READY,
  GREEN_RUNNING,
  GREEN_PARKED,
  GREEN_DEAD
} green_state;

typedef struct green_info {
  size_t size;
  green_state state;
  int status;        /* once it is dead: as of on_done */
  unsigned id;       /* a small number, unique among the living */
  char name[64];     /* cut where it is longer */
  const char *waits; /* parked: for what, "sleep", "receive" …; else NULL */
  int64_t cpu_used;  /* ns, of its budget, or of the one that it draws on */
} green_info;

/* Fill *info, whose size you have set.  Of a dead one the name is empty. */
GREEN_API int green_inspect(green_greenlet *g, green_info *info);

/* Push its traceback, a string: where it is parked, or where it failed. */
GREEN_API int green_traceback(lua_State *L, green_greenlet *g);

/* Push it as an object of Lua (nil if its hub is closed): for g:get() … */
GREEN_API int green_push(lua_State *L, green_greenlet *g);

/* Call `f` for each that lives, until one call returns other than 0: that, or
 * 0, is returned.  `g` is yours to retain. */
GREEN_API int green_each(green_hub *hub, int (*f)(green_greenlet *g, void *ud),
                         void *ud);

typedef struct green_stats {
  size_t size;
  size_t living;      /* greenlets */
  uint64_t ended;     /* so far */
  size_t timers;      /* that are set */
  size_t descriptors; /* watched */
  size_t stacks;      /* C stacks, idle ones included */
  size_t lua_bytes;   /* in use by the state */
  size_t lua_peak;    /* at most so far; 0: memory has never been limited */
  uint64_t preempted; /* times that a greenlet was made to give way */
} green_stats;

/* Fill *stats, whose size you have set. */
GREEN_API int green_count(green_hub *hub, green_stats *stats);

/* --- limits -------------------------------------------------------------- */
/* Memory.  Who asks for more than the state may have, after all garbage has
 * been collected, gets the error "not enough memory": a greenlet ends with it,
 * what it held becomes garbage, and the others go on.  Only Lua's memory is
 * counted: C stacks are limited by max_stacks (each takes from 8 KB to 1 MiB),
 * what C libraries take by them.
 *
 * Time slice.  A greenlet that runs for longer gives way, wherever it stands in
 * Lua code, and goes on when its turn comes: a `while true do end` holds the
 * others up for at most two slices.  So others run where a script does not
 * wait; what relied on that not happening needs a lock.  It keeps its C stack
 * meanwhile.  Not interrupted are: a C function (a pattern that backtracks; see
 * green_opensandbox), finalizers, main, a coroutine that C code has resumed by
 * itself, and one with a debug hook.  A function of a script's that the hub
 * itself calls (Greenlet:rawlink, __tostring of an error in a report) cannot
 * give way: it is ended after 16 slices.
 *
 * CPU budget.  Beyond it each instruction of the greenlet raises an error, in
 * the handlers of errors, too, until it has ended.  Its `<close>` variables are
 * closed wherever it stood: locks, sockets and what C functions close are given
 * back; a __close of its own, in Lua, ends at its first instruction.
 *
 * With limits of time the hub has a thread, which sends the hub's own thread
 * the signal `time_signal` when a slice is overrun (never while nothing is).
 * The hub installs a handler for it, and takes it back; GREEN_EBUSY if the
 * program has one.  The first hub's choice of a signal is that of all others in
 * the process.  coroutine.resume, wrap and close are replaced by functions that
 * do the same and can be preempted.  A child after fork() has no such limits.
 *
 * A hub of its own, with its own Lua state, holds a script best: those in one
 * state share its memory, and whatever objects they can reach. */

/* Set or change what green_config says of the state's memory. */
GREEN_API int green_limit_memory(green_hub *hub, size_t bytes);

/* And of time, for all greenlets without limits of their own; 0, 0: none any
 * more.  GREEN_EBUSY, GREEN_ENOMEM, GREEN_ESYS. */
GREEN_API int green_limit_time(green_hub *hub, int64_t time_slice,
                               int64_t cpu_budget);

/* --- C functions that block ---------------------------------------------- */
/* A lua_CFunction of yours waits like any other Lua function: in a greenlet, in
 * a coroutine of the script's own, under table.sort, under your own lua_call.
 *
 * In place, as ordinary C:
 *
 *     static int nap(lua_State *L) {
 *       void *held = malloc(100);
 *       int code = green_sleep(L, 0.5);
 *       free(held);                        whatever has happened
 *       return code < 0 ? green_throw(L, code) : 0;
 *     }
 *
 * A kill, a Timeout and the end of the hub are answered as a code, so that C
 * can free what it holds; green_throw then raises the very object.  A greenlet
 * that waits in place keeps its C stack (a page or two) meanwhile. */

/* May the running function wait here?  GREEN_OK, or why not. */
GREEN_API int green_can_block(lua_State *L);

/* GREEN_OK after `seconds`; zero or less: after one turn of who is ready. */
GREEN_API int green_sleep(lua_State *L, double seconds);

enum { GREEN_READ = 1, GREEN_WRITE = 2 };

/* Wait until a descriptor can be read or written.  `timeout` in seconds here
 * and below; negative: no limit.  GREEN_OK, GREEN_ETIMEDOUT, GREEN_ECLOSED … */
GREEN_API int green_poll(lua_State *L, int fd, int events, double timeout);

/* Call before you close a descriptor that a greenlet may wait for: that one
 * gets GREEN_ECLOSED. */
GREEN_API int green_closing(green_hub *hub, int fd);

/* Raise what `code` stands for: for GREEN_ERAISED the object that struck.  Call
 * as `return green_throw(L, code)`. */
GREEN_API int green_throw(lua_State *L, int code);

/* Anything that calls back.  A wait has two sides: the greenlet that parks on
 * it and whoever completes it, once, with green_done.
 *
 *     static void on_reply(void *ud, struct reply *r) {
 *       green_done(ud, GREEN_OK, r);
 *     }
 *     static int ask(lua_State *L) {
 *       struct reply *r;
 *       green_wait *w = green_wait_new(L, "ask", free_reply);
 *       if (!w) return green_throw(L, green_can_block(L));
 *       if (!start(on_reply, w)) return green_wait_free(w), fail(L);
 *       int code = green_park(L, w, 5.0, (void **)&r);
 *       if (code < 0) return green_throw(L, code);
 *       ... push what is in r, free it ...
 *     }
 *
 * A greenlet that gives up (the time is up, it is killed) leaves the wait
 * alone: the result that comes later goes to `drop`. */

/* For the running greenlet; `what` says what it waits for (static).  `drop` may
 * be NULL.  NULL: it cannot block here, or there is no memory. */
GREEN_API green_wait *green_wait_new(lua_State *L, const char *what,
                                     void (*drop)(void *result));

/* Nothing has been started: forget it. */
GREEN_API void green_wait_free(green_wait *w);

/* Wait in place.  What green_done was given (a code, and *result), or
 * GREEN_ETIMEDOUT, GREEN_ERAISED, GREEN_ECLOSED, GREEN_ENOMEM.  The greenlet's
 * side of `w` is used up. */
GREEN_API int green_park(lua_State *L, green_wait *w, double timeout,
                         void **result);

/* Complete it: from any thread, once; `w` is used up.  `code`: GREEN_OK, or
 * anything of yours.  GREEN_ECLOSED if it is known that nobody waits any more:
 * `result` has gone to `drop`, in this thread.  (From another thread that comes
 * to light later, and `drop` is called in the hub's.) */
GREEN_API int green_done(green_wait *w, int code, void *result);

/* Let a descriptor, which must stay open, complete it; or a function that runs
 * on a thread of a pool: `arg` is then the result.  GREEN_OK, or a code: then
 * nothing has been started. */
GREEN_API int green_done_by_fd(green_wait *w, int fd, int events);
GREEN_API int green_done_by_work(green_wait *w, void (*work)(void *arg),
                                 void *arg);

/* Run a function that blocks the thread on a thread of a pool.  `arg` holds
 * what it needs and what it finds, and no Lua: GREEN_OK, and `arg` is yours
 * again; any other code, and it goes to `drop`, once nobody uses it (a function
 * that has begun is not interrupted). */
GREEN_API int green_work(lua_State *L, void (*work)(void *arg), void *arg,
                         double timeout, void (*drop)(void *arg));

/* With a continuation, as lua_callk: the greenlet keeps no C stack, if it
 * stands where a coroutine can yield.
 *
 *     static int ask_k(lua_State *L, int status, lua_KContext ctx) {
 *       struct reply *r;
 *       int code = green_woken(L, ctx, ask_k, (void **)&r);
 *       if (code < 0) return green_throw(L, code);
 *       ...
 *     }
 *     ...
 *     return green_parkk(L, w, 5.0, ctx, ask_k);
 *
 * A greenlet that is ended meanwhile never comes to its continuation: what you
 * hold must be in userdata with __gc or __close.  Below the continuation the
 * stack is as it was. */
GREEN_API int green_parkk(lua_State *L, green_wait *w, double timeout,
                          lua_KContext ctx, lua_KFunction k);

/* The first call in the continuation: as green_park. */
GREEN_API int green_woken(lua_State *L, lua_KContext ctx, lua_KFunction k,
                          void **result);

#ifdef __cplusplus
}
#endif
#endif
