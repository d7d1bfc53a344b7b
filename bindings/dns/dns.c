/* greenlua.core.dns: lookups and queries, for which the greenlet parks.
 * lua/greenlua/dns.lua builds the public module on it.
 *
 * Argument 1 is a resolver, or nil: the system's. */
#include "dns.h"

#include <string.h>

#include "greenlualib.h"

static const gr_wait lookup_wait = {.name = "getaddrinfo"};
static const gr_wait query_wait = {.name = "resolve"};
static const gr_wait nameinfo_wait = {.name = "getnameinfo"};

static const char class_name[] = "greenlua.core.dns resolver";

enum { RESOLVER = 1, NAME, KIND, TIMEOUT, RESOLVING }; /* on the stack */

/* --- failing ------------------------------------------------------------ */

static int fail(lua_State *L, const char *message, int status) {
  lua_pushnil(L);
  lua_pushstring(L, message);
  lua_pushstring(L, gr_dns_code(status));
  return 3;
}

static int out_of_time(lua_State *L) {
  gr_timed_out(L, TIMEOUT);
  return fail(L, "timeout", GR_DNS_TIMEOUT);
}

/* --- resolvers ---------------------------------------------------------- */

static gr_resolver *check(lua_State *L, gr_state *S) {
  if (lua_isnoneornil(L, RESOLVER)) return gr_check_resolver(L, S);
  return *(gr_resolver **)luaL_checkudata(L, RESOLVER, class_name);
}

static int free_resolver(lua_State *L) {
  gr_resolver **at = luaL_checkudata(L, 1, class_name);
  if (!*at) return 0;
  gr_resolver_close(*at);
  gr_resolver_release(*at);
  *at = NULL;
  return 0;
}

/* close(resolver): what it is asked further on, it does not answer */
static int close_resolver(lua_State *L) {
  gr_resolver *r = *(gr_resolver **)luaL_checkudata(L, 1, class_name);
  gr_resolver_close(r);
  return 0;
}

/* A number of the options at index 1; the table's owner has checked it. */
static lua_Number number(lua_State *L, const char *field,
                         lua_Number otherwise) {
  lua_getfield(L, 1, field);
  lua_Number value = luaL_optnumber(L, -1, otherwise);
  lua_pop(L, 1);
  return value;
}

static bool flag(lua_State *L, const char *field) {
  lua_getfield(L, 1, field);
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

/* Call `add` for each of a list; the first status that is not 0. */
static int each(lua_State *L, const char *field, gr_resolvconf *c,
                int (*add)(gr_resolvconf *, const char *)) {
  int status = 0;
  if (lua_getfield(L, 1, field) == LUA_TTABLE) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; !status && i <= n; i++) {
      lua_rawgeti(L, -1, i);
      const char *text = lua_tostring(L, -1);
      status = text ? add(c, text) : -1;
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
  return status;
}

static int read_options(lua_State *L, gr_resolver_options *o) {
  gr_resolvconf *c = &o->conf;
  c->ndots = (int)number(L, "ndots", c->ndots);
  c->attempts = (int)number(L, "attempts", c->attempts);
  c->timeout = number(L, "timeout", c->timeout);
  c->rotate = flag(L, "rotate");
  c->tcp = flag(L, "tcp");
  o->parallel = (unsigned)number(L, "parallel", 0);
  o->threads = flag(L, "threads");
  int status = each(L, "servers", c, gr_resolvconf_add_server);
  return status ? status : each(L, "search", c, gr_resolvconf_add_search);
}

/* new(options) -> a resolver of one's own.  Strings are anchored by the
 * options. */
static int new_resolver(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_check_open(L, S);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_getfield(L, 1, "resolv_conf");
  lua_getfield(L, 1, "hosts");
  gr_resolver_options o = {.conf_path = lua_tostring(L, 2),
                           .hosts_path = lua_tostring(L, 3)};
  gr_resolver **at = lua_newuserdatauv(L, sizeof *at, 0);
  *at = NULL;
  luaL_setmetatable(L, class_name);
  gr_resolvconf_init(&o.conf);
  int status = read_options(L, &o);
  if (!status && !(*at = gr_resolver_new(&S->hub, &o))) status = -2;
  gr_resolvconf_fini(&o.conf);
  if (status) return luaL_error(L, "not enough memory");
  return 1;
}

/* use([resolver]): it is the system's from now on; nil: what that was */
static int use(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_check_open(L, S);
  gr_resolver *r = lua_isnoneornil(L, RESOLVER) ? NULL : check(L, S);
  luaL_argcheck(L, !r || r->hub, 1, "the resolver is closed");
  gr_resolver_use(&S->hub, r);
  return 0;
}

/* is_server(text) -> can it stand in a list of servers? */
static int is_server(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  gr_resolvconf c;
  gr_resolvconf_init(&c);
  int status = memchr(text, 0, len) ? -1 : gr_resolvconf_add_server(&c, text);
  gr_resolvconf_fini(&c);
  lua_pushboolean(L, status != -1);
  return 1;
}

/* clear(resolver): it forgets what it knows */
static int clear(lua_State *L) {
  gr_resolver_clear(check(L, gr_state_of(L)));
  return 0;
}

/* stats(resolver) -> questions sent, answers from the cache, answers kept,
 * queries out, queries in line */
static int stats(lua_State *L) {
  gr_resolver *r = check(L, gr_state_of(L));
  lua_Integer in_line = 0;
  for (gr_node *n = r->line.next; n != &r->line; n = n->next) in_line++;
  lua_pushinteger(L, (lua_Integer)r->asked);
  lua_pushinteger(L, (lua_Integer)r->hits);
  lua_pushinteger(L, r->ncached);
  lua_pushinteger(L, r->out);
  lua_pushinteger(L, in_line);
  return 5;
}

/* --- lookups ------------------------------------------------------------ */

static int push_addresses(lua_State *L, const gr_lookup *l) {
  char text[INET6_ADDRSTRLEN + 32];
  if (l->status) return fail(L, gr_lookup_message(l->status), l->status);
  lua_createtable(L, (int)l->found.count, 0);
  for (unsigned i = 0; i < l->found.count; i++) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, l->found.at[i].family == AF_INET ? "inet" : "inet6");
    lua_setfield(L, -2, "family");
    gr_address_text(&l->found.at[i], text);
    lua_pushstring(L, text);
    lua_setfield(L, -2, "addr");
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushstring(L, l->canonical);
  return 2;
}

static int lookup_k(lua_State *L, int status, lua_KContext ctx) {
  gr_resolving *x = lua_touserdata(L, RESOLVING);
  (void)status;
  if (gr_woken(L, gr_state_of(L), ctx, lookup_k) == GR_TIMEDOUT)
    return out_of_time(L);
  return push_addresses(L, &x->lookup);
}

/* lookup(resolver, host, family, timeout) -> {{family =, addr =}, ...},
 * canonical name | nil, message, code */
static int lookup(lua_State *L) {
  static const char *const names[] = {"unspec", "inet", "inet6", NULL};
  static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
  gr_state *S = gr_state_of(L);
  gr_resolver *r = check(L, S);
  size_t len;
  const char *name = luaL_checklstring(L, NAME, &len);
  int family = families[luaL_checkoption(L, KIND, "unspec", names)];
  double at = gr_check_deadline(L, S, TIMEOUT);
  lua_settop(L, TIMEOUT);
  gr_resolving *x = gr_resolving_push(L, S, r);
  if (gr_lookup_start(&x->lookup, r, name, len, family))
    return push_addresses(L, &x->lookup);
  if (at == 0) return out_of_time(L);
  gr_can_block(L, S, at);
  gr_resolving_await(S, x);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &lookup_wait, true, 0, lookup_k);
}

/* --- queries ------------------------------------------------------------ */

static int push_answer(lua_State *L, const gr_query *q) {
  if (q->status) return fail(L, gr_dns_message(q->status), q->status);
  grb_push_records(L, q);
  if (!lua_rawlen(L, -1))
    return fail(L, gr_dns_message(GR_DNS_BADRESP), GR_DNS_BADRESP);
  return 1;
}

static int query_k(lua_State *L, int status, lua_KContext ctx) {
  gr_resolving *x = lua_touserdata(L, RESOLVING);
  (void)status;
  if (gr_woken(L, gr_state_of(L), ctx, query_k) == GR_TIMEDOUT)
    return out_of_time(L);
  return push_answer(L, x->ask.query);
}

/* query(resolver, name, type, timeout) -> list of records | nil, message, code
 */
static int query(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_resolver *r = check(L, S);
  size_t len;
  const char *name = luaL_checklstring(L, NAME, &len);
  lua_Integer type = luaL_checkinteger(L, KIND);
  double at = gr_check_deadline(L, S, TIMEOUT);
  lua_settop(L, TIMEOUT);
  if (!gr_dns_valid(name, len))
    return fail(L, gr_dns_message(GR_DNS_BADNAME), GR_DNS_BADNAME);
  gr_resolving *x = gr_resolving_push(L, S, r);
  int how = gr_resolver_ask(r, &x->ask, name, (unsigned)type);
  if (how < 0) return fail(L, gr_dns_message(GR_DNS_NOMEM), GR_DNS_NOMEM);
  if (how) return push_answer(L, x->ask.query);
  if (at == 0) return out_of_time(L);
  gr_can_block(L, S, at);
  gr_resolving_await(S, x);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &query_wait, true, 0, query_k);
}

/* --- names of addresses ------------------------------------------------- */

static int nameinfo_k(lua_State *L, int status, lua_KContext ctx) {
  gr_resolving *x = lua_touserdata(L, RESOLVING);
  (void)status;
  if (gr_woken(L, gr_state_of(L), ctx, nameinfo_k) == GR_TIMEDOUT)
    return out_of_time(L);
  if (x->nameinfo.status)
    return fail(L, gr_dns_message(x->nameinfo.status), x->nameinfo.status);
  lua_pushstring(L, x->nameinfo.name);
  return 1;
}

/* nameinfo(resolver, number, nil, timeout) -> its name, by the C library | nil,
 * message, code */
static int nameinfo(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_resolver *r = check(L, S);
  gr_address a;
  luaL_argcheck(L, gr_address_parse(&a, luaL_checkstring(L, NAME)), NAME,
                "a numeric address expected");
  double at = gr_check_deadline(L, S, TIMEOUT);
  lua_settop(L, TIMEOUT);
  gr_resolving *x = gr_resolving_push(L, S, r);
  if (!r->hub)
    return fail(L, gr_dns_message(GR_DNS_CANCELLED), GR_DNS_CANCELLED);
  if (at == 0) return out_of_time(L);
  gr_can_block(L, S, at);
  if (gr_nameinfo_start(&x->nameinfo, &S->hub, &a))
    return fail(L, gr_dns_message(GR_DNS_NOMEM), GR_DNS_NOMEM);
  gr_resolving_await(S, x);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &nameinfo_wait, true, 0, nameinfo_k);
}

/* has_threads(resolver) -> is the C library asked? */
static int has_threads(lua_State *L) {
  lua_pushboolean(L, check(L, gr_state_of(L))->threads);
  return 1;
}

/* search(resolver, name) -> the names that it may mean, in the order in which
 * they are asked for */
static int search(lua_State *L) {
  gr_resolver *r = check(L, gr_state_of(L));
  char name[GR_NAME_TEXT];
  const char *text = luaL_checkstring(L, NAME);
  lua_Integer n = 0;
  gr_resolver_refresh(r);
  lua_newtable(L);
  for (int i = 0, how; (how = gr_search_name(r, text, i, name)) >= 0; i++) {
    if (!how) continue;
    lua_pushstring(L, name);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/* hosts_name(resolver, number) -> its name in the hosts file | nothing */
static int hosts_name(lua_State *L) {
  gr_resolver *r = check(L, gr_state_of(L));
  gr_address a;
  if (!gr_address_parse(&a, luaL_checkstring(L, NAME))) return 0;
  const char *name = gr_hosts_name(&r->hosts, &a, gr_now());
  if (!name) return 0;
  lua_pushstring(L, name);
  return 1;
}

/* --- the module --------------------------------------------------------- */

int luaopen_greenlua_core_dns(lua_State *L) {
  static const luaL_Reg meta[] = {{"__gc", free_resolver}, {NULL, NULL}};
  static const luaL_Reg funcs[] = {{"new", new_resolver},
                                   {"close", close_resolver},
                                   {"clear", clear},
                                   {"stats", stats},
                                   {"use", use},
                                   {"is_server", is_server},
                                   {"lookup", lookup},
                                   {"query", query},
                                   {"nameinfo", nameinfo},
                                   {"has_threads", has_threads},
                                   {"search", search},
                                   {"hosts_name", hosts_name},
                                   {NULL, NULL}};
  gr_state *S = gr_state_open(L);
  gr_need_loop(L, S, "greenlua.dns");
  luaL_newmetatable(L, class_name);
  luaL_setfuncs(L, meta, 0);
  lua_pop(L, 1);
  luaL_newlibtable(L, funcs);
  gr_setfuncs(L, S, funcs);
  gr_setfuncs(L, S, grb_dns_names);
  return 1;
}
