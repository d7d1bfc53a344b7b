/* `greenlua --coop-libc`: C libraries that wait through the C library let other
 * greenlets run.
 *
 * A C module for Lua, or a library below it (libpq, say), that calls poll(2)
 * stops the whole thread: it knows of no hub.  But it finds poll by its name,
 * and the executable's own symbols come first.  So the command has functions
 * of these names (coop.def), and with the option they park the greenlet that
 * runs where the real ones would wait.  Its C stack is set aside meanwhile, so
 * that the library notices nothing.
 *
 * Without the option, and wherever else they do not park, they call the real
 * one.  Our own calls never come here: the linker is told so (--wrap, in
 * CMakeLists.txt), or every stream would pay for it.
 *
 * What parks:
 *
 *   - poll, select, epoll_wait and kin, with a timeout that is not 0.  With one
 *     of 0 they give way now and then, so that who asks in a loop for what
 *     another greenlet has to do will see it done.
 *   - nanosleep, usleep, sleep and clock_nanosleep; for no time at all they
 *     give way.
 *   - recv, send, connect, accept and kin on a blocking socket; SO_RCVTIMEO and
 *     SO_SNDTIMEO count.
 *   - read, readv, write and writev, the same on sockets and pipes; read and
 *     readv on terminals, eventfds and the like, too.
 *   - getaddrinfo, getnameinfo, gethostbyname and kin: the real one runs on
 *     another thread.
 *
 * What does not, and stops the thread as ever:
 *
 *   - calls from other threads, from the hub itself (a rawlink, the loop, what
 *     libev and c-ares do), from a finalizer, or in the child of a fork;
 *   - calls that do not go by these names: system calls made directly, those
 *     inside of the C library (stdio, for one), other functions that block
 *     (flock, waitpid, sigwait, sem_wait), and those of libraries that are
 *     linked statically with the C library or prelinked to it;
 *   - ppoll, pselect and epoll_pwait with a signal mask that differs from the
 *     thread's, and clock_nanosleep on a clock that does not just go on;
 *   - any of them when there is no C stack or memory left to park with.
 *
 * What differs from the real ones:
 *
 *   - A signal's handler runs, and the call goes on waiting, as if it had
 *     SA_RESTART; it does not fail with EINTR.
 *   - What another greenlet does meanwhile, it does on the same thread.  A
 *     library that holds a mutex while it waits, or shares what it works on
 *     between calls, was never made for that, as it was not for threads.  Give
 *     each greenlet a connection of its own, or a lock.
 *   - A finalizer may come in between: what one greenlet has dropped is
 *     collected while another waits.  If it talks to the server by the
 *     connection that this one waits on, it stops the thread, takes the answer
 *     that this one waits for, and leaves it waiting.  LuaSQL's does not;
 *     LuaDBI's statements do: close them before the connection goes on.
 *   - close(2) ends the waits for the descriptor, and poll then says POLLNVAL;
 *     the kernel's would wait on.
 *   - A greenlet that is ended by force in the midst of such a call (close, the
 *     end of the program) does not come back to it: what the library has
 *     allocated and not yet put anywhere is lost.  Kill it instead.
 *
 * Kill, Timeout, Ctrl-C.  Nothing can be raised through a library that is in
 * the midst of its work (state.h: C code that is not ours).  It is made to give
 * up: the wait that is struck ends, and until the C function that Lua has
 * called returns,
 *
 *   - poll and select say at once that all is ready, and poll adds POLLERR and
 *     POLLHUP.  A library then goes on to read or write, while many take an
 *     error of poll's for one to be tried again.
 *   - recv, send, connect and kin fail with ECONNABORTED, on sockets that do
 *     not block as well; so do read and write on sockets.  A peer that is gone
 *     is what every library is prepared for, and none goes on with a connection
 *     on which an answer is still to come: libpq marks it as bad.  The socket
 *     itself is as it was.
 *   - accept fails with ECANCELED, as who accepts goes on after ECONNABORTED;
 *     waits for pipes and the like do, too.
 *   - Sleeps end early, and as if they had not: many sleep on after EINTR.
 *   - getaddrinfo and kin answer EAI_FAIL or NO_RECOVERY.
 *   - epoll_wait waits on.  Loops on top of it take no error, and nothing in
 *     vain; so there the interrupt waits, too.
 *
 * As soon as it has returned the interrupt is raised in its place.  If it does
 * not return but raises an error of its own, that error is what is seen, and
 * the interrupt is raised at the greenlet's next park, as every pending one.
 *
 * The module greenlua.so of a stock lua5.4 lends nothing: there the executable
 * is not ours.
 */
#ifndef GR_COOP_H
#define GR_COOP_H

#include "state.h"

/* Lend from now on, for as long as the state's hub is open. */
void gr_coop_open(lua_State *L);

/* --- for the files of it ------------------------------------------------- */

#include <errno.h>
#include <poll.h>

/* The state whose greenlet makes the call: not NULL if it may park. */
extern _Thread_local gr_state *gr_coop_state;

static inline gr_state *gr_coop_here(void) {
  gr_state *S = gr_coop_state;
  return S && S->hub.current ? S : NULL;
}

/* How a wait has ended. */
typedef enum gr_coop_end {
  GR_COOP_LOOK,   /* look again: something has happened */
  GR_COOP_LATE,   /* the deadline has passed: look once more */
  GR_COOP_STRUCK, /* the C function is to fail */
  GR_COOP_CANNOT  /* the greenlet cannot park here: call the real one */
} gr_coop_end;

/* Park until something happens to one of the descriptors, or until `at`. */
gr_coop_end gr_coop_await(gr_state *S, const gr_wait *what,
                          const struct pollfd *fds, nfds_t n, double at);

/* The same until one can be read, whatever is to be raised meanwhile. */
gr_coop_end gr_coop_await_deaf(gr_state *S, const gr_wait *what, int fd,
                               double at);

/* The first for one descriptor, and for none. */
gr_coop_end gr_coop_await_fd(gr_state *S, const gr_wait *what, int fd,
                             short events, double at);
gr_coop_end gr_coop_nap(gr_state *S, const gr_wait *what, double at);

/* Can the greenlet park, until then?  Not inside a finalizer, where the
 * collector stands still. */
bool gr_coop_can_park(gr_state *S, double at);

/* Is the C function to fail?  Before anything is done for it. */
bool gr_coop_fails(gr_state *S);

static inline bool gr_coop_struck(gr_state *S) {
  return S->hub.current->flags & GR_PENDING && gr_coop_fails(S);
}

/* Let those run who are ready, if that is possible here. */
void gr_coop_give_way(gr_state *S);

/* Somebody asks in vain, and would not wait. */
void gr_coop_missed(gr_state *S);

/* -1, and errno. */
static inline int gr_coop_fail(int err) {
  errno = err;
  return -1;
}

#endif
