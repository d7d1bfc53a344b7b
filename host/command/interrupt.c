/* Ctrl-C: the error "interrupted!", raised in main wherever it is.
 *
 * The handler may be anywhere in the middle of anything, so it does what lua's
 * does, and no more: it sets a hook on the Lua thread that runs, which is what
 * calls us back at a safe place.  There main gets its error; if it is a
 * greenlet that runs, that one gives way first.  If nobody runs, the loop is
 * woken and wakes main.
 *
 * The thread that runs may be one that the known one has resumed, any number
 * deep.  Who has not come to its hook for a while stands still in a C function
 * (or has lost its time in one); if that is coroutine.resume or a wrapped
 * coroutine, what it has resumed is there to be read, and gets the hook, too.
 * A timer comes back for that, with a signal of its own. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "command.h"

#define TIMER_SIGNAL (SIGRTMAX - 1) /* the last one is valgrind's */
enum { DISPLACED = 8 };
static const long PATIENCE = 20 * 1000 * 1000; /* nanoseconds */

/* Signals belong to the process, and so does this. */
static struct {
  lua_State *L;                  /* main's own thread */
  gr_state *volatile S;          /* NULL while the hub is not open */
  ev_async wake;                 /* of its loop */
  volatile sig_atomic_t pending; /* a signal that nobody has acted on */
  volatile sig_atomic_t late;    /* and it has waited for a while */
  pthread_t thread;
  timer_t timer;
  bool timed;
  struct hook { /* the program's own, where ours is */
    lua_State *L;
    lua_Hook call;
    int mask, count;
  } displaced[DISPLACED];
  volatile sig_atomic_t ndisplaced;
} keys;

static bool undelivered(void) {
  gr_state *S = keys.S;
  return keys.pending || (S && S->interrupted);
}

/* --- the hook ----------------------------------------------------------- */

static void on_event(lua_State *L, lua_Debug *ar);

static void set_hook(lua_State *L) {
  lua_Hook before = lua_gethook(L);
  if (before == on_event) return;
  if (before && keys.ndisplaced < DISPLACED)
    keys.displaced[keys.ndisplaced++] =
        (struct hook){L, before, lua_gethookmask(L), lua_gethookcount(L)};
  lua_sethook(L, on_event,
              LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static void unset_hook(lua_State *L) {
  struct hook h = {NULL};
  for (int i = keys.ndisplaced - 1; i >= 0; i--) {
    if (keys.displaced[i].L != L) continue;
    h = keys.displaced[i];
    keys.displaced[i] = keys.displaced[--keys.ndisplaced];
  }
  lua_sethook(L, h.call, h.mask, h.count);
}

static void raise_here(lua_State *L, gr_state *S, gr_greenlet *g) {
  luaL_where(L, 1);
  lua_pushliteral(L, "interrupted!");
  lua_concat(L, 2);
  if (g) gr_raise(L, S, g);
  lua_error(L);
}

/* Main does not run. */
static void tell_main(gr_state *S) {
  keys.pending = false;
  gr_interrupt_main(S);
  if (S->main->w.state == GR_READY) set_hook(gr_blocked_thread(S, S->main));
}

static bool at_prompt(const gr_state *S) {
  const gr_waiter *main = &S->main->w;
  return main->state == GR_PARKED && main->what == &gr_prompt_wait;
}

/* `L` is not main's. */
static void make_way(lua_State *L, gr_state *S) {
  gr_greenlet *g = (gr_greenlet *)(void *)S->hub.current;
  if (g && at_prompt(S)) raise_here(L, S, g);
  tell_main(S);
  /* Who cannot give way gets the error, too. */
  if (!g || gr_hub_reserve(&S->hub)) raise_here(L, S, g);
  gr_yield_in_place(L, S, NULL);
}

static void on_event(lua_State *L, lua_Debug *ar) {
  gr_state *S = keys.S;
  bool due = undelivered();
  (void)ar;
  keys.pending = false; /* first: no timer shall meddle with the hooks now */
  unset_hook(L);
  if (!due) return; /* it came to this late */
  if (!S) raise_here(L, NULL, NULL);
  if (S->hub.current != &S->main->w) {
    make_way(L, S);
  } else {
    S->interrupted = false;
    raise_here(L, S, S->main);
  }
}

/* --- the signal --------------------------------------------------------- */

/* The thread that runs, or has resumed the one that does. */
static lua_State *running(void) {
  gr_state *S = keys.S;
  if (!S) return keys.L;
  if (!S->hub.current) return S->talk;
  return ((gr_greenlet *)(void *)S->hub.current)->L;
}

/* What `L`, which stands still, has resumed.  Reads only: a signal handler has
 * no place on the stack. */
static lua_State *resumed_by(lua_State *L) {
  lua_Debug ar;
  if (!lua_getstack(L, 0, &ar) || !lua_getinfo(L, "S", &ar) || *ar.what != 'C')
    return NULL;
  lua_State *co = lua_tothread(L, lua_upvalueindex(1)); /* coroutine.wrap */
  if (!co) co = lua_tothread(L, 1);                     /* .resume */
  return co && co != L && lua_status(co) == LUA_OK ? co : NULL;
}

/* Who has had the hook for this long without an event stands still. */
static void look_deeper(void) {
  lua_State *co = running();
  if (!co || lua_gc(co, LUA_GCCOUNT) < 0) return; /* a finalizer: no hooks */
  while (co && lua_gethook(co) == on_event) co = resumed_by(co);
  if (co) set_hook(co);
}

static void come_back(void) {
  struct itimerspec when = {.it_value.tv_nsec = PATIENCE};
  if (!keys.timed || timer_settime(keys.timer, 0, &when, NULL))
    keys.late = true; /* a forked child has no timer */
}

/* Other threads have no business here. */
static bool pass_on(int sig) {
  if (pthread_equal(pthread_self(), keys.thread)) return false;
  pthread_kill(keys.thread, sig);
  return true;
}

static void on_timer(int sig) {
  int err = errno;
  if (!pass_on(sig) && undelivered()) {
    keys.late = true;
    look_deeper();
    come_back();
  }
  errno = err;
}

static void on_signal(int sig) {
  int err = errno;
  if (pass_on(sig)) {
    /* nothing is left to do */
  } else if (undelivered()) {
    if (!keys.late) return; /* the same one again, from the process group */
    signal(sig, SIG_DFL);
    raise(sig); /* as soon as we have returned */
  } else {
    gr_state *S = keys.S;
    lua_State *L = running();
    keys.pending = true;
    keys.late = false;
    if (L) set_hook(L);
    if (S) ev_async_send(S->hub.loop, &keys.wake);
    come_back();
  }
  errno = err;
}

/* In the loop: nobody runs, or nobody has come to a hook. */
static void on_wake(struct ev_loop *loop, ev_async *w, int events) {
  (void)loop, (void)w, (void)events;
  if (keys.pending) tell_main(keys.S);
}

/* --- life --------------------------------------------------------------- */

/* (state): the hub is open; (): it is about to be closed. */
static int watch_state(lua_State *L) {
  gr_state *S = lua_touserdata(L, 1), *before = keys.S;
  if (S) {
    ev_async_init(&keys.wake, on_wake);
    ev_async_start(S->hub.loop, &keys.wake);
    ev_unref(S->hub.loop);
    keys.S = S;
  } else if (before) {
    keys.S = NULL;
    ev_ref(before->hub.loop);
    ev_async_stop(before->hub.loop, &keys.wake);
  }
  return 0;
}

/* NULL: the default.  Neither handler may come in the middle of the other. */
static void install(int sig, void (*handler)(int), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGINT);
  sigaddset(&action.sa_mask, TIMER_SIGNAL);
  action.sa_handler = handler ? handler : SIG_DFL;
  action.sa_flags = flags;
  sigaction(sig, &action, NULL);
}

void gr_interrupt_open(lua_State *L) {
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL,
                           .sigev_signo = TIMER_SIGNAL};
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  keys.L = lua_tothread(L, -1);
  lua_pop(L, 1);
  keys.thread = pthread_self();
  keys.timed = timer_create(CLOCK_MONOTONIC, &event, &keys.timer) == 0;
  if (keys.timed) install(TIMER_SIGNAL, on_timer, SA_RESTART);
  gr_state_watch(L, watch_state);
  install(SIGINT, on_signal, 0); /* a system call that waits ends, too */
}

void gr_interrupt_close(void) {
  install(SIGINT, NULL, 0);
  if (keys.timed) timer_delete(keys.timer);
  keys.timed = false;
}
