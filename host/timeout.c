#include <math.h>

#include "state.h"

static const char *const class_name = "greenlua.Timeout";

gr_timeout *gr_to_timeout(lua_State *L, int arg) {
  return luaL_testudata(L, arg, class_name);
}

/* A started one must not be collected: the heap or S->expired points to it. */
static void anchor(lua_State *L, gr_state *S, gr_timeout *t, int arg) {
  gr_push_table(L, S, GR_T_ANCHOR);
  if (arg)
    lua_pushvalue(L, arg);
  else
    lua_pushnil(L);
  lua_rawsetp(L, -2, t);
  lua_pop(L, 1);
}

/* In a loop callback: records and wakes. */
static void fire(gr_hub *hub, gr_alarm *a) {
  gr_state *S = (gr_state *)(void *)hub;
  gr_timeout *t = gr_container(a, gr_timeout, alarm);
  gr_waiter *w = &t->target->w;
  t->fired = true;
  if (w->state == GR_DEAD) { /* too late: nobody is there for it */
    anchor(S->L, S, t, 0);
    return;
  }
  gr_list_append(&S->expired, &t->node);
  w->flags |= GR_PENDING; /* raised at its next park, if not cancelled */
  if (w->state == GR_PARKED) {
    t->due = true;
    gr_wake(hub, w, GR_RAISE);
  }
}

gr_timeout *gr_timeout_new(lua_State *L, gr_state *S, double seconds) {
  gr_timeout *t = lua_newuserdatauv(L, sizeof *t, 2);
  gr_alarm_init(&t->alarm, fire);
  gr_node_init(&t->node);
  t->target = (gr_greenlet *)(void *)S->hub.current;
  t->seconds = seconds;
  t->at = INFINITY;
  t->fired = t->due = t->daemon = false;
  if (t->target) {
    gr_push_greenlet(L, S, t->target);
    lua_setiuservalue(L, -2, 2);
  }
  luaL_setmetatable(L, class_name);
  return t;
}

/* Its target's wait has ended for it: so it is raised there, although somebody
 * else cancels it meanwhile. */
static void settle(lua_State *L, gr_state *S, gr_timeout *t) {
  t->due = false;
  if (&t->target->w == S->hub.current || !gr_node_linked(&t->node)) return;
  gr_push_greenlet(L, S, t->target);
  gr_push_table(L, S, GR_T_ANCHOR);
  lua_rawgetp(L, -1, t);
  lua_remove(L, -2);
  if (lua_getiuservalue(L, -1, 1) == LUA_TNIL)
    lua_pop(L, 1);
  else
    lua_remove(L, -2);
  gr_interrupt(L, S, lua_absindex(L, -2));
  lua_pop(L, 1);
}

void gr_timeout_start(lua_State *L, gr_state *S, int arg) {
  arg = lua_absindex(L, arg);
  gr_timeout *t = lua_touserdata(L, arg);
  gr_timeout_cancel(L, S, t);
  t->fired = false;
  gr_check_open(L, S);
  if (isnan(t->seconds)) return;
  anchor(L, S, t, arg);
  t->at = gr_hub_now(&S->hub) + t->seconds;
  if (gr_alarm_set(&S->hub, &t->alarm, t->at, t->daemon)) {
    anchor(L, S, t, 0);
    luaL_error(L, "not enough memory");
  }
}

void gr_timeout_cancel(lua_State *L, gr_state *S, gr_timeout *t) {
  if (!gr_timer_set(&t->alarm.timer) && !gr_node_linked(&t->node)) return;
  if (t->due) settle(L, S, t);
  gr_alarm_clear(&S->hub, &t->alarm);
  gr_node_remove(&t->node);
  anchor(L, S, t, 0);
}

void gr_timeout_forget(gr_state *S, gr_greenlet *g) {
  for (gr_node *n = S->expired.next, *next; n != &S->expired; n = next) {
    gr_timeout *t = gr_container(n, gr_timeout, node);
    next = n->next;
    if (t->target == g) gr_timeout_cancel(S->L, S, t);
  }
}

double gr_check_deadline(lua_State *L, gr_state *S, int arg) {
  double seconds;
  if (lua_isnoneornil(L, arg)) return INFINITY;
  if (lua_type(L, arg) == LUA_TNUMBER) {
    seconds = lua_tonumber(L, arg);
    luaL_argcheck(L, seconds >= 0, arg,
                  "a timeout is a number of seconds, not negative");
    return seconds > 0 ? gr_hub_now(&S->hub) + seconds : 0;
  }
  gr_timeout *t = gr_to_timeout(L, arg);
  if (!t) luaL_typeerror(L, arg, "number of seconds, nil or Timeout");
  if (t->fired) {
    gr_timeout_cancel(L, S, t);
    gr_timed_out(L, arg);
  }
  return gr_timer_set(&t->alarm.timer) ? t->at : INFINITY;
}

void gr_timed_out(lua_State *L, int arg) {
  if (!gr_to_timeout(L, arg)) return;
  lua_pushvalue(L, arg);
  if (lua_getiuservalue(L, -1, 1) == LUA_TNIL) lua_pop(L, 1);
  gr_state *S = gr_state_peek(L);
  gr_raise(L, S, (gr_greenlet *)(void *)S->hub.current);
}
