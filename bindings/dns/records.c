/* The records of an answer as tables. */
#include <string.h>

#include "dns.h"

typedef struct reader {
  lua_State *L;
  const gr_message *m;
  size_t at, end; /* of the data */
  bool bad;       /* it has run over the end */
} reader;

/* --- fields ------------------------------------------------------------- */

/* Each sets a field of the table on top of the stack. */

static void set_number(reader *r, const char *field, size_t size) {
  lua_Integer value = 0;
  if (r->bad || r->at + size > r->end) {
    r->bad = true;
    return;
  }
  for (; size; size--) value = value << 8 | r->m->data[r->at++];
  lua_pushinteger(r->L, value);
  lua_setfield(r->L, -2, field);
}

static void set_name(reader *r, const char *field) {
  char text[GR_NAME_TEXT];
  size_t next = r->bad ? 0 : gr_message_name(r->m, r->at, text);
  if (!next || next > r->end) {
    r->bad = true;
    return;
  }
  r->at = next;
  lua_pushstring(r->L, text);
  lua_setfield(r->L, -2, field);
}

static void set_bytes(reader *r, const char *field, size_t size) {
  if (r->bad || size > r->end - r->at) {
    r->bad = true;
    return;
  }
  lua_pushlstring(r->L, (const char *)r->m->data + r->at, size);
  r->at += size;
  lua_setfield(r->L, -2, field);
}

/* A byte says how long it is. */
static void set_string(reader *r, const char *field) {
  size_t size = r->bad || r->at >= r->end ? 0 : r->m->data[r->at];
  if (r->at >= r->end) r->bad = true;
  if (!r->bad) r->at++;
  set_bytes(r, field, size);
}

static void set_rest(reader *r, const char *field) {
  set_bytes(r, field, r->bad ? 0 : r->end - r->at);
}

/* --- records ------------------------------------------------------------ */

static void read_address(reader *r, int family) {
  char text[INET6_ADDRSTRLEN + 32];
  gr_address a = {.family = family};
  if (r->end - r->at != gr_address_len(&a)) {
    r->bad = true;
    return;
  }
  memcpy(a.bytes, r->m->data + r->at, gr_address_len(&a));
  gr_address_text(&a, text);
  lua_pushstring(r->L, text);
  lua_setfield(r->L, -2, "addr");
}

static void read_soa(reader *r) {
  static const char *const fields[] = {"serial", "refresh", "retry", "expire",
                                       "minimum"};
  set_name(r, "mname");
  set_name(r, "rname");
  for (int i = 0; i < 5; i++) set_number(r, fields[i], 4);
}

/* Its strings, and all of them in one. */
static void read_text(reader *r) {
  lua_State *L = r->L;
  luaL_Buffer all;
  luaL_buffinit(L, &all);
  while (r->at < r->end && !r->bad) {
    size_t size = r->m->data[r->at++];
    r->bad = size > r->end - r->at;
    if (r->bad) break;
    const char *s = (const char *)r->m->data + r->at;
    r->at += size;
    luaL_addlstring(&all, s, size);
  }
  luaL_pushresult(&all);
  lua_setfield(L, -2, "text");
}

static void read_strings(reader *r) {
  lua_State *L = r->L;
  size_t at = r->at;
  lua_newtable(L);
  for (lua_Integer i = 1; at < r->end; i++) {
    size_t size = r->m->data[at];
    if (size > r->end - at - 1) break; /* read_text has seen it */
    lua_pushlstring(L, (const char *)r->m->data + at + 1, size);
    lua_rawseti(L, -2, i);
    at += 1 + size;
  }
  lua_setfield(L, -2, "strings");
}

static void read_naptr(reader *r) {
  set_number(r, "order", 2);
  set_number(r, "preference", 2);
  set_string(r, "flags");
  set_string(r, "service");
  set_string(r, "regexp");
  set_name(r, "replacement");
}

static void read_data(reader *r, unsigned type) {
  switch (type) {
  case GR_DNS_A:
    read_address(r, AF_INET);
    break;
  case GR_DNS_AAAA:
    read_address(r, AF_INET6);
    break;
  case GR_DNS_NS:
  case GR_DNS_CNAME:
  case GR_DNS_PTR:
    set_name(r, "target");
    break;
  case GR_DNS_SOA:
    read_soa(r);
    break;
  case GR_DNS_MX:
    set_number(r, "preference", 2);
    set_name(r, "exchange");
    break;
  case GR_DNS_TXT:
    read_strings(r);
    read_text(r);
    break;
  case GR_DNS_SRV:
    set_number(r, "priority", 2);
    set_number(r, "weight", 2);
    set_number(r, "port", 2);
    set_name(r, "target");
    break;
  case GR_DNS_NAPTR:
    read_naptr(r);
    break;
  case GR_DNS_URI:
    set_number(r, "priority", 2);
    set_number(r, "weight", 2);
    set_rest(r, "target");
    break;
  case GR_DNS_CAA:
    set_number(r, "flags", 1);
    set_string(r, "tag");
    set_rest(r, "value");
    break;
  default:
    set_rest(r, "data");
  }
}

/* Push the table of a record; false: it is malformed, and nothing is pushed. */
static bool push_record(lua_State *L, const gr_message *m, const gr_record *of,
                        const char *owner, lua_Integer ttl) {
  reader r = {.L = L, .m = m, .at = of->data, .end = of->data + of->len};
  lua_createtable(L, 0, 5);
  lua_pushstring(L, owner);
  lua_setfield(L, -2, "name");
  lua_pushinteger(L, of->type);
  lua_setfield(L, -2, "type");
  lua_pushinteger(L, ttl);
  lua_setfield(L, -2, "ttl");
  read_data(&r, of->type);
  if (r.bad) lua_pop(L, 1);
  return !r.bad;
}

void grb_push_records(lua_State *L, const gr_query *q) {
  char target[GR_NAME_TEXT], owner[GR_NAME_TEXT];
  gr_message m;
  gr_record r;
  lua_Integer n = 0, age = (lua_Integer)(gr_now() - q->asked);
  lua_newtable(L);
  if (!gr_message_target(q->answer, q->len, target)) return;
  gr_message_read(&m, q->answer, q->len);
  while (gr_message_next(&m, &r) > 0 && r.section == GR_ANSWER) {
    if (q->type != GR_DNS_ANY && r.type != q->type) continue;
    if (!gr_message_name(&m, r.name, owner) || !gr_same_name(owner, target))
      continue;
    lua_Integer ttl = (lua_Integer)r.ttl - age;
    if (push_record(L, &m, &r, owner, ttl > 0 ? ttl : 0))
      lua_rawseti(L, -2, ++n);
  }
}
