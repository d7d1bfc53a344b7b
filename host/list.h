/* Intrusive circular lists.
 *
 * A node that is in no list points to itself, so that removing it is always
 * allowed and "is it linked?" needs no flag.  Whoever embeds a node owns its
 * memory and takes it out of its list before that memory goes.
 */
#ifndef GR_LIST_H
#define GR_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct gr_node {
  struct gr_node *next, *prev;
} gr_node;

typedef gr_node gr_list; /* the head: a node that belongs to no element */

#define gr_container(ptr, type, member)                                        \
  ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void gr_node_init(gr_node *n) {
  n->next = n->prev = n;
}

static inline void gr_list_init(gr_list *l) {
  gr_node_init(l);
}

static inline bool gr_node_linked(const gr_node *n) {
  return n->next != n;
}

static inline bool gr_list_empty(const gr_list *l) {
  return l->next == l;
}

/* The first node; the list must not be empty. */
static inline gr_node *gr_list_first(const gr_list *l) {
  return l->next;
}

static inline void gr_node_remove(gr_node *n) {
  n->prev->next = n->next;
  n->next->prev = n->prev;
  gr_node_init(n);
}

static inline void gr_list_append(gr_list *l, gr_node *n) {
  n->next = l;
  n->prev = l->prev;
  l->prev->next = n;
  l->prev = n;
}

/* Move all of `from` before the first of `to`, in their order. */
static inline void gr_list_prepend_all(gr_list *to, gr_list *from) {
  if (gr_list_empty(from)) return;
  from->next->prev = to;
  from->prev->next = to->next;
  to->next->prev = from->prev;
  to->next = from->next;
  gr_list_init(from);
}

#endif
