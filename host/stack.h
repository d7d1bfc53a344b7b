/* C stacks, and the switch between them.
 *
 * A gr_stack is a stack and, while it does not run, the place where it stopped.
 * It stops in exactly one place: in gr_stack_switch.  The stack of the thread
 * itself is one too, without memory of its own (gr_stack_adopt).
 *
 * A stack is mapped with a guard page below it and is touched as it is used.
 * The switch is Boost.Context's jump_fcontext, or ucontext where the build
 * says GR_CONTEXT_UCONTEXT.  AddressSanitizer, ThreadSanitizer and valgrind
 * are told of every stack and switch.
 */
#ifndef GR_STACK_H
#define GR_STACK_H

#include <stddef.h>

#include "list.h"

typedef struct gr_stack {
  void *place;         /* where it stopped */
  void (*run)(void *); /* what a new one runs; must not return */
  void *arg;
  gr_node node;           /* its user's */
  void *data;             /* its user's */
  void *inner;            /* its user's: the coroutine that runs on it */
  struct gr_guard *guard; /* its user's: see hub.h */
  char *base;             /* lowest usable byte; NULL: the thread's own */
  size_t size;            /* from base on, usable */
  void *fake;             /* AddressSanitizer's frames of it */
  void *fiber;            /* ThreadSanitizer's name for it */
  unsigned id;            /* valgrind's */
} gr_stack;

enum { GR_STACK_SIZE = 1 << 20 };

/* A stack of at least `size` bytes that will run `run(arg)` when first
 * switched to.  NULL: no memory, or no more mappings. */
gr_stack *gr_stack_open(size_t size, void (*run)(void *), void *arg);

/* Unmap one that is not running, whatever it was in the middle of. */
void gr_stack_close(gr_stack *);

/* Make `s` stand for the stack that the caller runs on. */
void gr_stack_adopt(gr_stack *s);

/* Stop here, on `from`, and go on where `to` stopped.  Returns when somebody
 * switches to `from`. */
void gr_stack_switch(gr_stack *from, gr_stack *to);

#endif
