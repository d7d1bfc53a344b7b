/* For tests in C: a hub in which main is all there is. */
#ifndef MAIN_HUB_H
#define MAIN_HUB_H

#include "check.h"
#include "hub.h"

static gr_hub hub;
static gr_waiter me; /* main */
static const gr_wait some_wait = {.name = "some"};

static void resume(gr_hub *h, gr_waiter *w) {
  (void)h, (void)w;
  CHECK(!"nobody is to be resumed");
}

static void open_hub(void) {
  CHECK(!gr_hub_init(&hub, NULL));
  gr_waiter_init(&me);
  me.state = GR_RUNNING;
  hub.main = hub.current = &me;
  hub.resume = resume;
}

#endif
