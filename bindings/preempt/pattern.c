/* Lua's patterns (§6.4.1 of its manual). */
#include <ctype.h>
#include <string.h>

#include "preempt.h"

enum { MAX_DEPTH = 200 };

static inline int byte(const char *s) {
  return (unsigned char)*s;
}

/* --- single characters ---------------------------------------------------- */

static bool in_class(int c, int class) {
  bool is;
  switch (tolower(class)) {
  case 'a':
    is = isalpha(c);
    break;
  case 'c':
    is = iscntrl(c);
    break;
  case 'd':
    is = isdigit(c);
    break;
  case 'g':
    is = isgraph(c);
    break;
  case 'l':
    is = islower(c);
    break;
  case 'p':
    is = ispunct(c);
    break;
  case 's':
    is = isspace(c);
    break;
  case 'u':
    is = isupper(c);
    break;
  case 'w':
    is = isalnum(c);
    break;
  case 'x':
    is = isxdigit(c);
    break;
  default:
    return class == c;
  }
  return islower(class) ? is : !is;
}

/* The set from `p`, a '[', to `last`, its ']'. */
static bool in_set(int c, const char *p, const char *last) {
  bool wanted = p[1] != '^';
  for (p += wanted ? 1 : 2; p < last; p++) {
    if (*p == '%') {
      if (in_class(c, byte(++p))) return wanted;
    } else if (p[1] == '-' && p + 2 < last) {
      if (byte(p) <= c && c <= byte(p + 2)) return wanted;
      p += 2;
    } else if (byte(p) == c) {
      return wanted;
    }
  }
  return !wanted;
}

/* Behind the last character of the item that begins at `p`. */
static const char *item_end(grb_pattern *m, const char *p) {
  lua_State *L = m->work.L;
  if (*p == '%') {
    if (p + 1 == m->last) luaL_error(L, "malformed pattern (ends with '%%')");
    return p + 2;
  }
  if (*p != '[') return p + 1;
  p += p[1] == '^' ? 2 : 1;
  for (bool first = true; first || *p != ']'; first = false) {
    if (p >= m->last) luaL_error(L, "malformed pattern (missing ']')");
    p += *p == '%' && p + 1 < m->last ? 2 : 1;
  }
  return p + 1;
}

/* Does the item from `p` to `e` match the character at `s`? */
static bool is_item(const grb_pattern *m, const char *s, const char *p,
                    const char *e) {
  if (s >= m->end) return false;
  switch (*p) {
  case '.':
    return true;
  case '%':
    return in_class(byte(s), byte(p + 1));
  case '[':
    return in_set(byte(s), p, e - 1);
  default:
    return *p == *s;
  }
}

/* --- what is matched, and then all that follows --------------------------- */

static const char *longest(grb_pattern *m, const char *s, const char *p,
                           const char *e) {
  ptrdiff_t n = 0;
  for (; is_item(m, s + n, p, e); n++) grb_spend(&m->work, 1);
  for (; n >= 0; n--) {
    const char *end = grb_match(m, s + n, e + 1);
    if (end) return end;
  }
  return NULL;
}

static const char *shortest(grb_pattern *m, const char *s, const char *p,
                            const char *e) {
  for (;; s++) {
    const char *end = grb_match(m, s, e + 1);
    if (end || !is_item(m, s, p, e)) return end;
  }
}

static const char *open_capture(grb_pattern *m, const char *s, const char *p) {
  bool position = p[1] == ')';
  if (m->level == GRB_CAPTURES) luaL_error(m->work.L, "too many captures");
  m->capture[m->level].at = s;
  m->capture[m->level].length = position ? GRB_POSITION : GRB_OPEN;
  m->level++;
  const char *end = grb_match(m, s, p + (position ? 2 : 1));
  if (!end) m->level--;
  return end;
}

static const char *close_capture(grb_pattern *m, const char *s, const char *p) {
  int i = m->level - 1;
  while (i >= 0 && m->capture[i].length != GRB_OPEN) i--;
  if (i < 0) luaL_error(m->work.L, "invalid pattern capture");
  m->capture[i].length = s - m->capture[i].at;
  const char *end = grb_match(m, s, p + 1);
  if (!end) m->capture[i].length = GRB_OPEN;
  return end;
}

/* --- items of more than a character: their end, or NULL ------------------- */

/* %1: what the capture has. */
static const char *again(grb_pattern *m, const char *s, int digit) {
  int i = digit - '1';
  if (i < 0 || i >= m->level || m->capture[i].length == GRB_OPEN)
    luaL_error(m->work.L, "invalid capture index %%%d", i + 1);
  size_t length = (size_t)m->capture[i].length;
  if ((size_t)(m->end - s) < length) return NULL;
  grb_spend(&m->work, 1 + length / 16);
  return memcmp(m->capture[i].at, s, length) ? NULL : s + length;
}

/* %bxy */
static const char *balanced(grb_pattern *m, const char *s, const char *p) {
  if (p + 1 >= m->last)
    luaL_error(m->work.L, "malformed pattern (missing arguments to '%%b')");
  if (s >= m->end || *s != *p) return NULL;
  for (int deep = 1; ++s < m->end;) {
    grb_spend(&m->work, 1);
    if (*s == p[1]) {
      if (!--deep) return s + 1;
    } else if (*s == *p) {
      deep++;
    }
  }
  return NULL;
}

/* %f[set]; *p then points behind it. */
static bool frontier(grb_pattern *m, const char *s, const char **p) {
  const char *set = *p + 2;
  if (*set != '[') luaL_error(m->work.L, "missing '[' after '%%f' in pattern");
  *p = item_end(m, set);
  int before = s == m->start ? '\0' : byte(s - 1);
  return !in_set(before, set, *p - 1) && in_set(byte(s), set, *p - 1);
}

/* --- one item after the other --------------------------------------------- */

/* A step: true if it goes on at *s and *p, false if *s is the outcome. */
static bool step_single(grb_pattern *m, const char **s, const char **p) {
  const char *e = item_end(m, *p);
  bool is = is_item(m, *s, *p, e), none = *e == '*' || *e == '-';
  if (*e == '?' && is) {
    const char *end = grb_match(m, *s + 1, e + 1);
    if (end) return *s = end, false;
  }
  if (*e == '?' || (none && !is)) return *p = e + 1, true;
  if (none || (*e == '+' && is)) {
    *s = *e == '-' ? shortest(m, *s, *p, e)
                   : longest(m, *s + (*e == '+'), *p, e);
    return false;
  }
  *s = is ? *s + 1 : NULL;
  *p = e;
  return is;
}

static bool step_escaped(grb_pattern *m, const char **s, const char **p) {
  char c = (*p)[1];
  if (c == 'b') {
    *s = balanced(m, *s, *p + 2);
    *p += 4;
  } else if (c == 'f') {
    if (!frontier(m, *s, p)) *s = NULL;
  } else if (isdigit(byte(&c))) {
    *s = again(m, *s, c);
    *p += 2;
  } else {
    return step_single(m, s, p);
  }
  return *s;
}

static bool step(grb_pattern *m, const char **s, const char **p) {
  grb_spend(&m->work, 1);
  switch (**p) {
  case '(':
    return *s = open_capture(m, *s, *p), false;
  case ')':
    return *s = close_capture(m, *s, *p), false;
  case '%':
    return step_escaped(m, s, p);
  case '$':
    if (*p + 1 != m->last) return step_single(m, s, p);
    if (*s != m->end) *s = NULL;
    return false;
  default:
    return step_single(m, s, p);
  }
}

const char *grb_match(grb_pattern *m, const char *s, const char *p) {
  if (!m->depth--) luaL_error(m->work.L, "pattern too complex");
  while (p != m->last && step(m, &s, &p)) continue;
  m->depth++;
  return s;
}

/* --- captures ------------------------------------------------------------- */

void grb_push_capture(grb_pattern *m, int i, const char *s, const char *e) {
  lua_State *L = m->work.L;
  if (i >= m->level) {
    if (i) luaL_error(L, "invalid capture index %%%d", i + 1);
    lua_pushlstring(L, s, (size_t)(e - s));
    return;
  }
  ptrdiff_t length = m->capture[i].length;
  if (length == GRB_OPEN) luaL_error(L, "unfinished capture");
  if (length == GRB_POSITION)
    lua_pushinteger(L, m->capture[i].at - m->start + 1);
  else
    lua_pushlstring(L, m->capture[i].at, (size_t)length);
}

int grb_push_captures(grb_pattern *m, const char *s, const char *e) {
  int n = m->level || !s ? m->level : 1;
  luaL_checkstack(m->work.L, n, "too many captures");
  for (int i = 0; i < n; i++) grb_push_capture(m, i, s, e);
  return n;
}
