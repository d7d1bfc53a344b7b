/* What the files of greenlua.core.dns share. */
#ifndef GRB_DNS_H
#define GRB_DNS_H

#include "resolver/resolve.h"

/* Push a list of tables, one for each record of the asked type that an answer
 * has for the asked name or its alias. */
void grb_push_records(lua_State *L, const gr_query *q);

extern const luaL_Reg grb_dns_names[]; /* names.c: functions that ask nobody */

#endif
