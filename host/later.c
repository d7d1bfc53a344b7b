/* What is raised as soon as a C function has returned.
 *
 * It is a hook that does it: the event of a return comes when the function is
 * done and all is in order again. */
#include "greenlet.h"

static void displace(struct gr_hooked *h, lua_State *co, lua_Hook hook,
                     int mask) {
  bool again = lua_gethook(co) == hook;
  if (h->L != co || !again) {
    h->L = co;
    h->hook = again ? NULL : lua_gethook(co); /* another has been in between */
    h->mask = again ? 0 : lua_gethookmask(co);
    h->count = again ? 0 : lua_gethookcount(co);
  }
  lua_sethook(co, hook, mask, 1);
}

static void restore(struct gr_hooked *h) {
  lua_sethook(h->L, h->hook, h->mask, h->count);
  h->L = NULL;
}

/* --- a message ---------------------------------------------------------- */

static void raise_message(lua_State *L, lua_Debug *ar) {
  gr_state *S = gr_state_open(L);
  (void)ar;
  if (S->later.L != L) { /* it has the hook of the one that made it */
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  restore(&S->later);
  luaL_error(L, "%s", S->later.message);
}

void gr_raise_later(gr_state *S, lua_State *co, const char *message) {
  S->later.message = message;
  displace(&S->later, co, raise_message, LUA_MASKRET | LUA_MASKCOUNT);
}

/* --- an interrupt ------------------------------------------------------- */

/* Calls have no other name than this field, which is not meant for us; we do
 * no more than compare it. */
static bool is_inside(lua_State *L, const struct CallInfo *call) {
  lua_Debug ar;
  for (int level = 0; lua_getstack(L, level, &ar); level++)
    if (ar.i_ci == call) return true;
  return false;
}

/* Calls of functions inside of it return, too.  And it may never do so, after
 * an error: then a function that closes a variable may run, which must not be
 * cut short anywhere. */
static void raise_interrupt(lua_State *L, lua_Debug *ar) {
  gr_state *S = gr_state_peek(L);
  struct gr_hooked *h = &S->failed;
  if (h->L != L) { /* another has failed since, or this one was made after */
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  if (ar->i_ci != h->inside && is_inside(L, h->inside)) return;
  gr_greenlet *g = h->target;
  bool returns = ar->i_ci == h->inside;
  restore(h);
  h->target = NULL;
  if (returns && &g->w == S->hub.current && gr_take_interrupt(L, S, g))
    gr_raise(L, S, g);
}

lua_State *gr_running_thread(gr_state *S) {
  lua_State *L = ((gr_greenlet *)(void *)S->hub.current)->L, *next;
  lua_Debug ar;
  while ((next = gr_resumee(L)) && lua_getstack(next, 0, &ar)) L = next;
  return L;
}

bool gr_interrupted(gr_state *S) {
  gr_greenlet *g = (gr_greenlet *)(void *)S->hub.current;
  lua_State *T = S->L;
  if (!(g->w.flags & GR_PENDING)) return false;
  if (g->doomed || (S->interrupted && g == S->main)) return true;
  for (gr_node *n = S->expired.next; n != &S->expired; n = n->next)
    if (gr_container(n, gr_timeout, node)->target == g) return true;
  lua_rawgeti(T, GR_T_LIVE, g->slot);
  bool found = lua_rawget(T, GR_T_PENDING) == LUA_TTABLE;
  lua_pop(T, 1);
  return found;
}

void gr_raise_after_call(gr_state *S) {
  lua_State *L = gr_running_thread(S);
  struct gr_hooked *h = &S->failed;
  lua_Debug ar = {.i_ci = NULL};
  if (!lua_getstack(L, 0, &ar)) return;
  displace(h, L, raise_interrupt, LUA_MASKRET);
  h->target = (gr_greenlet *)(void *)S->hub.current;
  h->inside = ar.i_ci;
  h->fails = false;
}

void gr_fail_call(gr_state *S) {
  gr_raise_after_call(S);
  S->failed.fails = true;
}

bool gr_call_failed(gr_state *S) {
  lua_Debug ar;
  if (!S->failed.fails || !S->failed.target ||
      &S->failed.target->w != S->hub.current)
    return false;
  lua_State *L = gr_running_thread(S);
  return L == S->failed.L && lua_getstack(L, 0, &ar) &&
         ar.i_ci == S->failed.inside && gr_interrupted(S);
}
