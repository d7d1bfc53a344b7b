/* greenlua.h: C functions that block. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>

#include "alloc.h"
#include "green.h"
#include "threadpool.h"
#include "watch.h"

enum { MAX_SPARE = 64 };

/* Two sides hold a wait: the greenlet's, and that of who completes it.  While
 * the hub is open all of it but `post` is for the hub's thread; once it is
 * closed, the shell's lock guards it. */
struct green_wait {
  gr_list waiters; /* the greenlet, while it is parked on it */
  gr_wait what;
  green_hub *hub; /* counts it: hub->waits */
  int code;
  void *result;
  void (*drop)(void *);
  uint8_t sides;
  bool done;       /* code and result are there */
  bool given_up;   /* nobody will take them */
  bool by_fd;      /* the watch completes it */
  struct job *job; /* or a thread of the pool does */
  gr_post post;    /* from another thread */
  gr_watch watch;
  int fd, events;
  green_wait *next;
};

/* --- sides ---------------------------------------------------------------- */

/* While the hub is open. */
static inline void release_open(green_wait *w, green_hub *hub) {
  if (--w->sides) return;
  hub->waits--;
  if (hub->nspare < MAX_SPARE) {
    w->next = hub->spare;
    hub->spare = w;
    hub->nspare++;
  } else {
    gr_free(w);
  }
}

/* Once it is closed: the last one gives the shell back. */
static void release_closed(green_wait *w) {
  green_hub *hub = w->hub;
  pthread_mutex_lock(&hub->lock);
  bool gone = !--w->sides, last = gone && !--hub->waits;
  pthread_mutex_unlock(&hub->lock);
  if (gone) gr_free(w);
  if (last) gr_shell_release(hub);
}

/* In the hub's thread. */
static void release(green_wait *w) {
  if (w->hub->S)
    release_open(w, w->hub);
  else
    release_closed(w);
}

static green_wait *take_spare(green_hub *hub) {
  green_wait *w = hub->spare;
  if (!w) {
    w = gr_realloc(NULL, sizeof *w);
    if (w) gr_list_init(&w->waiters);
    return w;
  }
  hub->spare = w->next;
  hub->nspare--;
  return w;
}

static void drop_result(green_wait *w, void *result) {
  if (w->drop) w->drop(result);
}

/* In the hub's thread. */
static int complete(green_wait *w, gr_hub *hub) {
  bool late = w->given_up;
  if (late) {
    drop_result(w, w->result);
  } else {
    w->done = true;
    gr_wake_first(hub, &w->waiters, GR_WOKEN);
  }
  release(w);
  return late ? GREEN_ECLOSED : GREEN_OK;
}

static void complete_posted(gr_hub *hub, gr_post *p) {
  complete(gr_container(p, green_wait, post), hub);
}

int green_done(green_wait *w, int code, void *result) {
  if (!w) return GREEN_EINVAL;
  green_hub *hub = w->hub;
  w->code = code;
  w->result = result;
  if (gr_shell_here(hub) == GREEN_OK) return complete(w, &hub->S->hub);
  pthread_mutex_lock(&hub->lock);
  bool open = hub->S;
  if (open) {
    w->post.run = complete_posted;
    gr_hub_post(&hub->S->hub, &w->post);
  }
  pthread_mutex_unlock(&hub->lock);
  if (open) return GREEN_OK;
  drop_result(w, result);
  release_closed(w);
  return GREEN_ECLOSED;
}

/* --- threads of the pool -------------------------------------------------- */

typedef struct job {
  gr_work work;
  green_wait *wait;
  void (*run)(void *);
  void *arg;
} job;

static void run_job(gr_work *work) {
  job *j = gr_container(work, job, work);
  j->run(j->arg);
}

static void job_done(gr_hub *hub, gr_work *work) {
  job *j = gr_container(work, job, work);
  green_wait *w = j->wait;
  w->job = NULL;
  w->code = work->dropped ? GREEN_ECLOSED : GREEN_OK;
  w->result = j->arg;
  gr_free(j);
  complete(w, hub);
}

int green_done_by_work(green_wait *w, void (*work)(void *), void *arg) {
  int code = w ? gr_shell_here(w->hub) : GREEN_EINVAL;
  if (code) return code;
  if (!work || w->job || w->by_fd) return GREEN_EINVAL;
  job *j = gr_calloc(sizeof *j);
  if (!j) return GREEN_ENOMEM;
  j->work.run = run_job;
  j->work.done = job_done;
  j->wait = w;
  j->run = work;
  j->arg = arg;
  gr_node_init(&j->work.node);
  if (gr_work_submit(&w->hub->S->hub, &j->work)) {
    int err = errno;
    gr_free(j);
    errno = err;
    return err == ENOMEM ? GREEN_ENOMEM : GREEN_ESYS;
  }
  w->job = j;
  return GREEN_OK;
}

/* The greenlet gives up: if it has not begun, it never will. */
static void call_off(green_wait *w, gr_hub *hub) {
  if (!gr_work_cancel(hub, &w->job->work)) return;
  drop_result(w, w->job->arg);
  gr_free(w->job);
  w->job = NULL;
  release(w);
}

/* The greenlet's side ends: with what has come, or with `code`. */
static int settle(green_wait *w, int code, void **result) {
  if (w->by_fd) {
    gr_watch_stop(&w->watch);
    release(w);
  }
  if (w->job) call_off(w, w->job->work.hub);
  if (w->done) {
    code = w->code;
    if (result)
      *result = w->result;
    else
      drop_result(w, w->result);
  }
  w->given_up = true;
  release(w);
  return code;
}

/* The greenlets' sides of waits that were lost for want of memory. */
static void settle_orphans(green_hub *hub) {
  for (green_wait *w; (w = hub->orphans);) {
    hub->orphans = w->next;
    settle(w, GREEN_OK, NULL);
  }
}

void gr_waits_fini(green_hub *hub) {
  settle_orphans(hub);
  for (green_wait *w = hub->spare, *next; w; w = next) {
    next = w->next;
    gr_free(w);
  }
  hub->spare = NULL;
  hub->nspare = 0;
}

/* --- making --------------------------------------------------------------- */

static int outcome(int how) {
  switch (how) {
  case GR_WOKEN:
    return GREEN_OK;
  case GR_TIMEDOUT:
    return GREEN_ETIMEDOUT;
  case GR_CLOSED:
    return GREEN_ECLOSED;
  case GR_DEADLOCK:
    return GREEN_EDEADLOCK;
  default:
    return GREEN_ERAISED;
  }
}

/* What gr_can_block raises, as a code; and `place`: way 2 it will be. */
static int can_block(lua_State *L, gr_state *S, double at, bool place) {
  if (!S || !S->hub.open) return GREEN_EBLOCK;
  gr_hub *hub = &S->hub;
  gr_greenlet *g = (gr_greenlet *)(void *)hub->current;
  if (!g) return GREEN_EBLOCK;
  if (g->w.flags & GR_PENDING && gr_interrupted(S))
    return g->doomed ? GREEN_ECLOSED : GREEN_ERAISED;
  if (at < INFINITY && gr_timers_reserve(&hub->timers)) return GREEN_ENOMEM;
  bool easy = L == g->L && lua_isyieldable(L); /* so it is no finalizer */
  if (easy && !place) return GREEN_OK;
  if (S->closing || (!easy && lua_gc(L, LUA_GCCOUNT) < 0)) return GREEN_EBLOCK;
  if (g == S->main && !gr_main_may_park(S)) return GREEN_EBLOCK;
  return gr_hub_reserve(hub) ? GREEN_ENOMEM : GREEN_OK;
}

int green_can_block(lua_State *L) {
  return can_block(L, gr_state_peek(L), INFINITY, true);
}

green_wait *green_wait_new(lua_State *L, const char *what,
                           void (*drop)(void *)) {
  gr_state *S = gr_state_peek(L);
  if (!S || !S->hub.open || !S->hub.current) return NULL;
  green_hub *hub = gr_shell_of(S);
  if (gr_shell_here(hub)) return NULL;
  green_wait *w = take_spare(hub);
  if (!w) return NULL;
  hub->waits++;
  w->what = (gr_wait){
      .name = what ? what : "C function", .foreign = true, .in_place = true};
  w->hub = hub;
  w->sides = 2;
  w->drop = drop;
  w->done = w->given_up = w->by_fd = false;
  w->job = NULL;
  return w;
}

void green_wait_free(green_wait *w) {
  if (!w) return;
  if (!w->by_fd && !w->job) release(w);
  settle(w, GREEN_OK, NULL);
}

int green_done_by_fd(green_wait *w, int fd, int events) {
  int code = w ? gr_shell_here(w->hub) : GREEN_EINVAL;
  if (code) return code;
  gr_hub *hub = &w->hub->S->hub;
  if (!hub->loop || w->by_fd || w->job || !events ||
      events & ~(GREEN_READ | GREEN_WRITE))
    return GREEN_EINVAL;
  if (fd < 0 || fcntl(fd, F_GETFD) < 0) return GREEN_EINVAL;
  gr_watch_init(&w->watch);
  w->by_fd = true;
  w->fd = fd;
  w->events = (events & GREEN_READ ? EV_READ : 0) |
              (events & GREEN_WRITE ? EV_WRITE : 0);
  return GREEN_OK;
}

/* --- in place ------------------------------------------------------------- */

static double deadline(gr_state *S, double timeout) {
  return timeout >= 0 && S ? gr_hub_now(&S->hub) + timeout : INFINITY;
}

static int park_in_place(lua_State *L, gr_state *S, const gr_wait *what,
                         bool external, double at) {
  gr_hub *hub = &S->hub;
  gr_waiter *w = hub->current;
  gr_arm(hub, at, false);
  w->values = 0;
  gr_park_waiter(hub, what, external);
  hub->stack->data = L;
  gr_hub_block(hub);
  S->resumed = NULL; /* whose it was has parked since, perhaps */
  w->what = NULL;
  return outcome(w->status);
}

/* The waiter enters the list of who is woken. */
static void join(green_wait *w, gr_hub *hub) {
  if (w->by_fd) gr_watch_start(&w->watch, hub, w->fd, w->events, &w->waiters);
  gr_list_append(&w->waiters, &hub->current->node);
}

int green_park(lua_State *L, green_wait *w, double timeout, void **result) {
  if (!w) return GREEN_EINVAL;
  if (w->done) return settle(w, GREEN_OK, result);
  gr_state *S = w->hub->S;
  double at = deadline(S, timeout);
  int code = can_block(L, S, at, true);
  if (code == GREEN_OK) {
    join(w, &S->hub);
    code = park_in_place(L, S, &w->what, true, at);
  }
  return settle(w, code, result);
}

static const gr_wait sleep_wait = {
    .name = "sleep", .foreign = true, .in_place = true};

int green_sleep(lua_State *L, double seconds) {
  gr_state *S = gr_state_peek(L);
  double at = seconds > 0 ? deadline(S, seconds) : INFINITY;
  int code = can_block(L, S, at, true);
  if (code) return code;
  if (!(seconds > 0)) {
    gr_yield_in_place(L, S, NULL);
    return GREEN_OK;
  }
  code = park_in_place(L, S, &sleep_wait, false, at);
  return code == GREEN_ETIMEDOUT ? GREEN_OK : code;
}

int green_poll(lua_State *L, int fd, int events, double timeout) {
  green_wait *w = green_wait_new(L, "descriptor", NULL);
  if (!w) {
    int code = green_can_block(L);
    return code ? code : GREEN_ENOMEM;
  }
  int code = green_done_by_fd(w, fd, events);
  if (code) return green_wait_free(w), code;
  return green_park(L, w, timeout, NULL);
}

int green_work(lua_State *L, void (*work)(void *), void *arg, double timeout,
               void (*drop)(void *)) {
  void *result;
  int code = green_can_block(L);
  green_wait *w = code ? NULL : green_wait_new(L, "thread", drop);
  if (w) code = green_done_by_work(w, work, arg);
  if (w && code == GREEN_OK) return green_park(L, w, timeout, &result);
  green_wait_free(w);
  if (drop) drop(arg);
  return code ? code : GREEN_ENOMEM;
}

int green_closing(green_hub *hub, int fd) {
  int code = gr_shell_here(hub);
  if (code == GREEN_OK) gr_watch_closing(&hub->S->hub, fd);
  return code;
}

int green_throw(lua_State *L, int code) {
  gr_state *S = gr_state_peek(L);
  gr_greenlet *g = S ? (gr_greenlet *)(void *)S->hub.current : NULL;
  if (g && (code == GREEN_ERAISED || g->doomed)) gr_raise_pending(L, S, g);
  return luaL_error(L, "%s", green_strerror(code));
}

/* --- with a continuation -------------------------------------------------- */

/* The greenlet's side, in the hands of its Lua stack: however that is left. */
typedef struct guard {
  green_wait *w;
  int code;    /* of one that did not park */
  bool parked; /* it has */
} guard;

static const char guard_key;

static int close_guard(lua_State *L) {
  guard *of = lua_touserdata(L, 1);
  green_wait *w = of->w;
  of->w = NULL;
  if (w) settle(w, GREEN_OK, NULL);
  return 0;
}

static void no_orphan(green_wait *w) {
  green_wait **link = &w->hub->orphans;
  while (*link != w) link = &(*link)->next;
  *link = w->next;
}

/* Push it.  Where that raises, for want of memory, the wait is an orphan, which
 * the next one to come here settles; but not a finalizer, which may run in the
 * midst of this. */
static guard *push_guard(lua_State *L, green_wait *w) {
  green_hub *hub = w->hub;
  if (hub->orphans && lua_gc(L, LUA_GCCOUNT) >= 0) settle_orphans(hub);
  w->next = hub->orphans;
  hub->orphans = w;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  guard *of = lua_newuserdatauv(L, sizeof *of, 0);
  *of = (guard){.w = NULL};
  gr_set_closer(L, &guard_key, close_guard);
  lua_toclose(L, -1);
  of->w = w;
  no_orphan(w);
  return of;
}

int green_parkk(lua_State *L, green_wait *w, double timeout, lua_KContext ctx,
                lua_KFunction k) {
  if (!w) return green_throw(L, GREEN_EINVAL);
  gr_state *S = gr_state_peek(L);
  guard *of = push_guard(L, w);
  double at = deadline(S, timeout);
  of->code = w->done ? GREEN_OK : can_block(L, S, at, false);
  if (w->done || of->code) return k(L, LUA_YIELD, ctx);
  of->parked = true;
  w->what.in_place = false; /* its frame may be dropped */
  join(w, &S->hub);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &w->what, true, ctx, k);
}

int green_woken(lua_State *L, lua_KContext ctx, lua_KFunction k,
                void **result) {
  gr_state *S = gr_state_peek(L);
  guard *of = lua_touserdata(L, -1);
  int code = of->code;
  if (of->parked) code = outcome(gr_woken(L, S, ctx, k));
  green_wait *w = of->w;
  of->w = NULL;
  S->hub.current->what = NULL;
  code = settle(w, code, result);
  lua_closeslot(L, -1);
  lua_pop(L, 1);
  return code;
}
