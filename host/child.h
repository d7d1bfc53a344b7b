/* Child processes whose end the loop tells.
 *
 * A child is watched through a descriptor of its own (pidfd_open(2)), so nobody
 * takes SIGCHLD and nobody reaps what others have started.  Its owner may let
 * go of it while it runs: it is reaped when it ends, and leaves no zombie.
 *
 * Where the kernel has no such descriptors, a timer looks now and then.
 */
#ifndef GR_CHILD_H
#define GR_CHILD_H

#include <sys/types.h>

#include "hub.h"

typedef struct gr_child {
  gr_node node;    /* among all of its hub */
  gr_list waiters; /* for its end; all are woken */
  gr_hub *hub;
  ev_io watcher;
  gr_alarm alarm; /* in its place */
  pid_t pid;
  int status; /* as of waitpid(2), once it has ended */
  int error;  /* or why that is not known; 0 */
  bool ended, owned;
} gr_child;

/* Run `command` by the shell.  `fd` becomes its descriptor `as`; -1: it has all
 * of ours that pass on.  NULL and errno: it could not be started. */
gr_child *gr_child_spawn(gr_hub *, gr_list *all, const char *command, int fd,
                         int as);

/* Has it ended? */
bool gr_child_look(gr_child *);

/* Wait for its end, and let the thread wait with us. */
void gr_child_join(gr_child *);

/* Its owner forgets it. */
void gr_child_release(gr_child *);

/* The hub is about to be closed: forget all; init has the rest. */
void gr_child_forget(gr_list *all);

#endif
