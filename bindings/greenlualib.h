/* The Lua modules in C, and the Lua sources that are linked in.
 *
 * A binding is a thin skin over host/ and over one C library; it knows no
 * other binding.  Each module is `greenlua.core` or a field of it, private to
 * the Lua modules in lua/, which say what the public ones promise. */
#ifndef GREENLUALIB_H
#define GREENLUALIB_H

#include <lauxlib.h>
#include <lua.h>

#define GR_MODULE __attribute__((visibility("default")))

/* For `require "greenlua"` in a stock host: greenlua.so. */
GR_MODULE int luaopen_greenlua(lua_State *L);

/* Let `require` find every module of ours without a file. */
void greenlua_preload(lua_State *L);

int luaopen_greenlua_core(lua_State *L);
int luaopen_greenlua_core_dns(lua_State *L);
int luaopen_greenlua_core_http(lua_State *L);
int luaopen_greenlua_core_json(lua_State *L);
int luaopen_greenlua_core_luaio(lua_State *L);
int luaopen_greenlua_core_preempt(lua_State *L);
int luaopen_greenlua_core_queue(lua_State *L);
int luaopen_greenlua_core_scope(lua_State *L);
int luaopen_greenlua_core_select(lua_State *L);
int luaopen_greenlua_core_server(lua_State *L);
int luaopen_greenlua_core_signal(lua_State *L);
int luaopen_greenlua_core_socket(lua_State *L);
int luaopen_greenlua_core_ssl(lua_State *L);
int luaopen_greenlua_core_timeout(lua_State *L);
int luaopen_greenlua_core_wait(lua_State *L);
int luaopen_greenlua_core_waitlist(lua_State *L);
int luaopen_greenlua_core_websocket(lua_State *L);

#endif
