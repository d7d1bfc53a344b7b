/* The hub: who runs next, on which C stack, and when the loop is polled.
 *
 * A waiter is whatever the hub runs: a greenlet, and main (the C stack that
 * called into the hub first).  It waits for one thing at a time, so one timer
 * and one list node, inline, are all it needs: no wait allocates.
 *
 *   The one rule: gr_wake is the only way out of PARKED.  It unlinks the node,
 *   unsets the timer and appends the waiter to the ready queue.  So whoever
 *   wakes first wins, and nobody can wake a waiter for something it no longer
 *   waits for.
 *
 * Nothing is resumed from inside a loop callback or another waiter's call:
 * both only wake.  Waiters run in a pass, which the loop's prepare watcher
 * starts; it makes no difference who runs the loop.
 *
 * The thread's own stack (the driver) runs the loop and nothing else; waiters
 * run on stacks of the hub's.  A waiter blocks in one of two ways:
 *
 *   1. Its runner returns with the waiter parked (a Lua coroutine yielded).
 *   2. gr_hub_block: the C stack that it stands on is set aside whole, and
 *      the hub goes on on another one.
 *
 * This layer knows no Lua.  Unless said otherwise, functions are for the
 * hub's own thread.
 */
#ifndef GR_HUB_H
#define GR_HUB_H

#include <ev.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "list.h"
#include "stack.h"
#include "timer.h"

typedef struct gr_hub gr_hub;
typedef struct gr_waiter gr_waiter;

/* gr_waiter.state */
enum {
  GR_FRESH,   /* made; may be waiting for its delayed start */
  GR_READY,   /* in the ready queue */
  GR_RUNNING, /* now; only one is, and it is hub->current */
  GR_PARKED,  /* waits for somebody to wake it */
  GR_DEAD
};

/* gr_waiter.status: what ended the last wait */
enum {
  GR_WOKEN,    /* what was waited for has come */
  GR_TIMEDOUT, /* the deadline came first */
  GR_CLOSED,   /* what was waited on has gone */
  GR_RAISE,    /* something is to be raised (the layer above knows what) */
  GR_DEADLOCK  /* nothing is left that could ever end the wait (main only)
                */
};

/* A kind of wait: static, one for each blocking function. */
typedef struct gr_wait {
  const char *name; /* for people: "sleep", "join", "receive" … */
  bool calm;    /* it waits for all to end: not a deadlock if nothing is left */
  bool foreign; /* in C code that is not ours: what is raised in the waiter
                   stays pending until it is back in Lua (later.c) */
  /* What was handed to `w`, which is ready, goes to the next in line: `w` is
   * closed before it could run.  NULL: nothing is handed over.  `by`: who
   * closes it (for the layer above). */
  void (*give_back)(void *by, gr_waiter *w);
  bool in_place; /* foreign, and its frame must not be dropped: it is told, and
                    frees what it holds */
} gr_wait;

struct gr_waiter {
  gr_node node;        /* in the ready queue, or in one wait list */
  gr_timer timer;      /* ends the wait, or delays the start */
  gr_stack *stack;     /* way 2: the one set aside */
  const gr_wait *what; /* it waits for, or has waited for last */
  uint32_t turn; /* counts its waits: tells a late answer from a due one */
  uint8_t state, status;
  uint8_t values; /* that its waker left for it (the layer above knows where) */
  uint8_t flags;  /* GR_EXTERNAL, and those of the layer above */
};

/* gr_waiter.flags: this one is the hub's */
enum {
  GR_EXTERNAL = 0x01 /* the loop or another thread can end this wait */
};

/* gr_timer.kind */
enum {
  GR_TIMER_WAIT, /* the timer of a waiter */
  GR_TIMER_ALARM /* a gr_alarm */
};

/* A timer that calls: from inside the loop, so it may wake, and no more. */
typedef struct gr_alarm {
  gr_timer timer;
  void (*fire)(gr_hub *, struct gr_alarm *);
} gr_alarm;

/* Work for the hub's thread from another one. */
typedef struct gr_post {
  struct gr_post *next;
  void (*run)(gr_hub *, struct gr_post *); /* called from inside the loop */
} gr_post;

/* What belongs to a hub and is made on first use, by whoever needs it: it is
 * closed with the hub. */
typedef struct gr_part {
  gr_node node;
  void (*fini)(gr_hub *, struct gr_part *); /* frees it */
} gr_part;

struct gr_hub {
  gr_list ready;
  gr_waiter *current; /* NULL while the loop or the scheduler runs */
  gr_waiter *main;    /* made by the layer above; runs on the driver's stack */
  /* Run `w`, which is not on a stack of its own, until it parks or ends. */
  void (*resume)(gr_hub *, gr_waiter *w);
  void (*before_pass)(gr_hub *); /* for tests; NULL: nothing */
  /* `w` begins to run, or the pass ends (NULL).  NULL: nobody wants to know. */
  void (*switched)(gr_hub *, gr_waiter *w);
  struct gr_watchdog *dog; /* watchdog.c; NULL: runs may take long */
  unsigned runs; /* counts those by twos; odd while one goes on; atomic */

  /* the pass */
  gr_list polled;        /* made ready by the loop: runs before `ready` */
  unsigned due;          /* switches that this pass owes to those */
  unsigned budget;       /* switches left before the loop must be polled */
  unsigned look;         /* every how many of them to look at the clock */
  double until;          /* and the time when it must */
  double slice;          /* seconds of a pass */
  unsigned turns;        /* ev_iteration() when the pass began */
  gr_waiter *next;       /* chosen, to be run by the next stack */
  bool passing;          /* a pass is going on */
  bool driving;          /* main is parked, so that we run the loop */
  bool stepping;         /* gr_hub_step polls the loop: no pass comes of that */
  bool open;             /* from gr_hub_open to gr_hub_fini */
  bool at_exit, signals; /* see gr_hub_options */

  /* C stacks */
  gr_stack driver;
  gr_stack *stack; /* the running one */
  gr_list idle;    /* stacks that stand in the scheduler, last used first */
  unsigned nidle, nstacks, max_stacks;

  /* time; NULL: the monotonic clock */
  int64_t (*clock)(void *);
  void *clock_ud;
  gr_timers timers;

  /* the loop */
  struct ev_loop *loop; /* NULL: there is none, or the hub is closed */
  bool owns_loop;
  int loop_fd; /* its own loop's epoll descriptor, which none may wait for */
  bool keeps_loop, kept; /* a host's, as long as something is awaited */
  bool dirty;            /* a watcher has been started or stopped */
  unsigned watched;      /* active watchers of descriptors and signals */
  int poll_fd;           /* -1, or what gr_hub_fd has made */
  double armed;          /* what ev_timer below is set to */
  unsigned external;     /* waits that the loop or another thread can end */
  ev_prepare prepare;
  ev_check check; /* on a host's loop */
  ev_idle idler;  /* active while a poll must not wait */
  gr_list idlers; /* waiters for a turn with nothing to do */
  ev_timer timer;
  ev_async async;

  gr_list watches, fresh; /* of others' descriptors (watch.c) */

  /* streams (stream.c), from the first one on */
  struct gr_streams *streams;
  void (*flush)(gr_hub *); /* NULL, or due before the loop is polled */
  void (*fini_streams)(gr_hub *);

  gr_list parts;                /* closed with it, the last one first */
  struct gr_threadpool *pool;   /* threadpool.c; NULL: not needed so far */
  struct gr_resolver *resolver; /* resolver.c: the one of the system's names */

  /* posts */
  pthread_t thread; /* the hub's own */
  pid_t pid;        /* of the process whose they are */
  pthread_mutex_t lock;
  gr_post *posts, **last_post;
  int post_fd; /* -1, or readable while there are any */
};

typedef struct gr_hub_options {
  struct ev_loop *loop;     /* a host's; NULL: one of the hub's own */
  bool bare;                /* none at all: only gr_hub_step runs it */
  bool keeps_loop;          /* what is awaited keeps the host's loop going */
  bool signals;             /* scripts may catch some */
  unsigned max_stacks;      /* 0: the usual */
  bool at_exit;             /* exit(3) writes what its streams hold */
  double slice;             /* seconds of a pass; 0: the usual */
  int64_t (*clock)(void *); /* nanoseconds; NULL: the monotonic clock */
  void *clock_ud;
} gr_hub_options;

/* Start.  The caller then sets `resume` and `main`.  With a clock of the
 * host's only gr_hub_step may run the hub.  0, or -1 and errno. */
int gr_hub_open(gr_hub *, const gr_hub_options *);

/* The same on `loop`, or on one of its own if NULL. */
int gr_hub_init(gr_hub *, struct ev_loop *loop);

/* Stop all watchers and free all stacks but the running one. */
void gr_hub_fini(gr_hub *);

/* Have a part closed with the hub. */
void gr_hub_add_part(gr_hub *, gr_part *, void (*fini)(gr_hub *, gr_part *));

/* In a child after a fork, once: the loop gets a poll of its own, and posts of
 * threads that are not there any more are forgotten.  Nothing happens
 * elsewhere. */
void gr_hub_after_fork(gr_hub *);

/* Seconds on the monotonic clock. */
double gr_now(void);

/* Seconds on the hub's clock, which its deadlines are of. */
double gr_hub_now(const gr_hub *);

void gr_waiter_init(gr_waiter *);

/* --- becoming ready ----------------------------------------------------- */

/* Let a fresh waiter run. */
void gr_start(gr_hub *, gr_waiter *);

/* Let a fresh waiter run at `at`; -1: out of memory. */
int gr_start_at(gr_hub *, gr_waiter *, double at);

/* End the wait of a parked waiter. */
void gr_wake(gr_hub *, gr_waiter *, int status);

/* Wake the first waiter of a list, or all in their order. */
void gr_wake_first(gr_hub *, gr_list *, int status);
void gr_wake_all(gr_hub *, gr_list *, int status);

/* --- parking ------------------------------------------------------------ */
/* In this order: see that the waiter can block (gr_hub_reserve for way 2,
 * gr_timers_reserve if there is a deadline), arm what shall wake it, park. */

/* Make sure that gr_hub_block will have a stack to go on on.  -1: there are
 * max_stacks of them, or there is no memory. */
int gr_hub_reserve(gr_hub *);

/* Arm the current waiter's deadline.  A place must have been reserved.
 * INFINITY arms nothing.  `daemon`: it alone need not keep the program. */
void gr_arm(gr_hub *, double at, bool daemon);

/* Let the current waiter be woken when the hub has nothing else to do. */
void gr_hub_await_idle(gr_hub *, gr_waiter *);

/* Mark the current waiter as parked.  `external`: the loop or another thread
 * can end the wait, by other means than its timer. */
void gr_park_waiter(gr_hub *, const gr_wait *, bool external);

/* Way 2: set the current, parked waiter's stack aside until it is woken. */
void gr_hub_block(gr_hub *);

/* What is armed for a wait and lies on the stack that is set aside: it has to
 * be undone if that stack is never come back to. */
typedef struct gr_guard {
  void (*undo)(struct gr_guard *);
} gr_guard;

/* The same; if the stack is abandoned meanwhile, `guard` is undone first. */
void gr_hub_block_guarded(gr_hub *, gr_guard *guard);

/* Drop a dead waiter's stack, whatever stands on it. */
void gr_hub_abandon(gr_hub *, gr_waiter *);

/* --- timers and threads ------------------------------------------------- */

void gr_alarm_init(gr_alarm *, void (*fire)(gr_hub *, gr_alarm *));
/* -1: out of memory. */
int gr_alarm_set(gr_hub *, gr_alarm *, double at, bool daemon);
void gr_alarm_clear(gr_hub *, gr_alarm *);

/* From any thread: run `p->run` in the hub's thread.  `p` is the caller's
 * until then.  It does not keep the program going: count it in
 * hub->external, on the hub's thread, for as long as it is awaited. */
void gr_hub_post(gr_hub *, gr_post *p);

/* Run a ready waiter, and nobody else, until it parks or ends.  Main runs. */
void gr_hub_run_one(gr_hub *, gr_waiter *);

/* `w` begins to run outside of a pass; NULL: it has done so. */
void gr_hub_begin_run(gr_hub *, gr_waiter *w);

/* Do now what has been posted; for whoever has just joined a thread. */
void gr_hub_run_posts(gr_hub *);

/* Is there anything that could still wake somebody? */
bool gr_hub_alive(const gr_hub *);

/* --- watchers of the loop ----------------------------------------------- */

/* One of a descriptor or a signal has been started, is about to be stopped.
 * None of ours keeps the loop going; and a hub without any need not poll. */
static inline void gr_hub_watch(gr_hub *hub) {
  ev_unref(hub->loop);
  hub->watched++;
  hub->dirty = true;
}

static inline void gr_hub_unwatch(gr_hub *hub) {
  ev_ref(hub->loop);
  hub->watched--;
  hub->dirty = true;
}

/* --- a hub that somebody else drives ------------------------------------- */

/* Run those who are ready, and who becomes ready meanwhile, for about so many
 * seconds: one greenlet at least.  Never waits; polls the loop once if a
 * descriptor is watched.  Main must be running.  Is anybody ready still? */
bool gr_hub_step(gr_hub *, double seconds);

/* In how many seconds there is something to do: 0 for at once, INFINITY for
 * when a descriptor or another thread says so. */
double gr_hub_next(const gr_hub *);

/* A descriptor that is readable when there is something to do before that.
 * From then on each step leaves the loop's descriptors as they shall be
 * watched.  -1 and errno: the loop's kind does not allow it. */
int gr_hub_fd(gr_hub *);

#endif
