/* Inside host/: what the files behind greenlua.h share.
 *
 * A shell is what the host holds of a hub.  It outlives the hub, as handles of
 * greenlets and waits do, which refer to it: so a call that comes too late
 * finds out.  Other threads reach the hub through it, under its lock. */
#ifndef GR_EMBED_GREEN_H
#define GR_EMBED_GREEN_H

#include "greenlet.h"
#include "greenlua.h"
#include "limit/limit.h"

struct green_hub {
  gr_state *S;          /* NULL once it is closed; changed under the lock */
  lua_State *L;         /* its main thread */
  bool owns_lua;        /* and the hub's own */
  bool open;            /* the host has it: not only a script's */
  unsigned refs;        /* atomic */
  pthread_t thread;     /* of the hub */
  pthread_mutex_t lock; /* for S, as other threads see it */
  green_config config;
  gr_list held;      /* handles */
  green_wait *spare; /* waits to be used again */
  green_wait *orphans;
  unsigned nspare;
  unsigned waits; /* that are somebody's */
  bool running;   /* green_run is */
  unsigned busy;  /* calls that must not be re-entered */
  int stop;       /* atomic: green_stop has been called */
  int stopping;   /* atomic: `stopper` is on its way */
  gr_post stopper;
  gr_memory memory; /* its allocator; unused if that is NULL */
  char message[400];
};

struct green_greenlet {
  gr_node node;    /* among the shell's */
  green_hub *hub;  /* a reference */
  gr_state *state; /* valid while g is not NULL */
  gr_greenlet *g;  /* kept by GR_T_HELD; NULL once the hub is closed */
  unsigned refs;   /* the host's, and one while on_done is to be called */
  bool ended;
  int status; /* once it has ended */
  void (*on_done)(green_greenlet *, lua_State *, int, int, void *);
  void *ud;
};

/* The shell of a state, made on first use; NULL: out of memory. */
green_hub *gr_shell_of(gr_state *S);

/* One reference more, which is returned; one less.  From any thread. */
green_hub *gr_shell_retain(green_hub *);
void gr_shell_release(green_hub *);

/* May main call in?  GREEN_OK, or why not. */
int gr_shell_check(const green_hub *);

/* Is this the hub's thread, and is it open?  GREEN_OK, or why not. */
int gr_shell_here(const green_hub *);

/* Keep what is on top of L (popped) as the message; returns `code`. */
int gr_shell_fail(green_hub *, lua_State *L, int code);

/* Structs that grow begin with their size, a size_t: that of the header which
 * the host was compiled with.  What it does not have is zero; what we do not
 * have must be, or it is refused: false. */
bool gr_take_struct(void *to, size_t size, const void *from);

/* Fill the host's, whose size stays; false: it has none. */
bool gr_give_struct(void *to, const void *from, size_t size);

/* The limits that the config asks for: of memory, when there is no hub yet; of
 * time, protected, when there is. */
void gr_shell_limit(green_hub *);
void gr_shell_limit_time(lua_State *L, green_hub *);

/* For the end of the hub: tell the handles, free the waits kept for reuse. */
void gr_held_close_all(green_hub *, lua_State *L);
void gr_waits_fini(green_hub *);

#endif
