#include "list.h"

#include "check.h"

typedef struct item {
  int before; /* so that the node is not at its start */
  gr_node node;
  int number;
} item;

static item items[10];

static void fill(gr_list *l, int from, int to) {
  gr_list_init(l);
  for (int i = from; i < to; i++) {
    items[i].number = i;
    gr_node_init(&items[i].node);
    gr_list_append(l, &items[i].node);
  }
}

static void holds(const gr_list *l, const char *digits) {
  const gr_node *n = l->next;
  for (; *digits; digits++, n = n->next) {
    CHECK(n != l);
    CHECK(n->next->prev == n && n->prev->next == n);
    CHECK(gr_container(n, item, node)->number == *digits - '0');
  }
  CHECK(n == l);
}

static void keeps_the_order_of_appending(void) {
  gr_list l;
  fill(&l, 0, 5);
  holds(&l, "01234");
  CHECK(!gr_list_empty(&l));
  CHECK(gr_list_first(&l) == &items[0].node);
}

static void removes_from_anywhere_and_twice(void) {
  gr_list l;
  fill(&l, 0, 5);
  gr_node_remove(&items[0].node);
  gr_node_remove(&items[2].node);
  gr_node_remove(&items[4].node);
  holds(&l, "13");
  CHECK(!gr_node_linked(&items[2].node) && gr_node_linked(&items[3].node));
  gr_node_remove(&items[2].node);
  holds(&l, "13");
  gr_list_append(&l, &items[2].node);
  holds(&l, "132");
  gr_node_remove(&items[1].node);
  gr_node_remove(&items[3].node);
  gr_node_remove(&items[2].node);
  CHECK(gr_list_empty(&l));
}

static void puts_one_list_before_another(void) {
  gr_list a, b, none;
  fill(&a, 0, 3);
  fill(&b, 3, 6);
  gr_list_init(&none);
  gr_list_prepend_all(&a, &b);
  holds(&a, "345012");
  CHECK(gr_list_empty(&b));
  gr_list_prepend_all(&a, &none);
  holds(&a, "345012");
  gr_list_prepend_all(&none, &a);
  holds(&none, "345012");
  CHECK(gr_list_empty(&a));
}

int main(void) {
  keeps_the_order_of_appending();
  removes_from_anywhere_and_twice();
  puts_one_list_before_another();
  return 0;
}
