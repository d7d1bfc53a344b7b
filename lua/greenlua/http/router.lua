--- A router: which handler for which method and path.
--
-- @usage
-- local router = http.router()
-- router:use(function(req, res, next)
--   req.user = sessions[req.cookies.session]
--   return next(req, res)
-- end)
-- router:get("/users/:id", function(req) return users[req.params.id] or http.abort(404) end)
-- router:post("/users", create_user)
-- router:get("/files/*path", http.static.handler "files")
-- http.serve(8080, router)
-- @module greenlua.http.router

local core = require "greenlua.core.http"
local object = require "greenlua.object"

--- A router; called with a request and a response it is a handler.
--
-- A pattern is a path. `:name` stands for one segment, and `*name`, at its end, for all that
-- follow; what they stand for is in `req.params`, decoded. A segment that is written
-- out is preferred to `:name`, and that to `*name`. `/a` and `/a/` are two paths.
--
-- HEAD is answered by the handler for GET, unless there is one; OPTIONS with what there
-- is. A path that exists, but not for the method, is a 405 with `Allow`.
-- @type Router
local Router = object.class "Router"

local METHODS = { "get", "head", "post", "put", "patch", "delete", "options" }

function Router:_init()
  self._tree = {}
  self._middleware = {}
  self._missing = function() return 404, "Not Found\n" end
end

local function check_functions(method, first, list)
  if #list == 0 then
    object.misuse("bad argument #%d to '%s' (a handler is missing)", first, method)
  end
  for i, f in ipairs(list) do object.check_callable(method, first + i - 1, f) end
end

-- Made once, so that a request makes no closure.
local function chain(list, last)
  local handler = last
  for i = #list, 1, -1 do
    local middleware, following = list[i], handler
    handler = function(req, res) return middleware(req, res, following) end
  end
  return handler
end

local function segments(path)
  local list = {}
  for segment in path:gmatch "/([^/]*)" do list[#list + 1] = segment end
  return list
end

local function child(node, segment, pattern)
  local kind, name = segment:match "^([:*])(.*)$"
  if not kind then
    node.plain = node.plain or {}
    node.plain[segment] = node.plain[segment] or {}
    return node.plain[segment]
  end
  if name == "" then object.misuse("a name is missing in the pattern %q", pattern) end
  local key = kind == ":" and "one" or "all"
  node[key] = node[key] or { name = name }
  if node[key].name ~= name then
    object.misuse("the pattern %q calls %q what another one calls %q", pattern, name,
      node[key].name)
  end
  return node[key]
end

local function insert(self, method, pattern, handler)
  if type(pattern) ~= "string" or pattern:sub(1, 1) ~= "/" then
    object.misuse("bad argument #1 to '%s' (a path expected, got %s)", method:lower(),
      tostring(pattern))
  end
  local node, list = self._tree, segments(pattern)
  for i, segment in ipairs(list) do
    if segment:find "^%*" and i < #list then
      object.misuse("'*' is not at the end of the pattern %q", pattern)
    end
    node = child(node, segment, pattern)
  end
  node.methods = node.methods or {}
  if node.methods[method] then
    object.misuse("there is a handler for %s %s", method, pattern)
  end
  node.methods[method] = handler
  node.pattern = pattern
end

--- Is it a router?
-- @function Router.is
-- @param value
-- @treturn boolean

--- Have requests of a method and a path handled.
-- @tparam string method `"GET"` …; `"*"` is any
-- @tparam string pattern
-- @tparam function ... middleware, and the handler
-- @treturn Router itself
function Router:route(method, pattern, ...)
  local list = { ... }
  method = object.check_string("route", 1, method)
  check_functions("route", 3, list)
  local last = table.remove(list)
  insert(self, method:upper(), pattern, chain(list, last))
  return self
end

--- The same for one method; so are `head`, `post`, `put`, `patch`, `delete`, `options`
-- and `any`.
-- @usage router:get("/", function() return "hello" end)
-- @function Router:get
-- @tparam string pattern
-- @tparam function ... middleware, and the handler
-- @treturn Router itself
for _, name in ipairs(METHODS) do
  Router[name] = function(self, pattern, ...) return self:route(name, pattern, ...) end
end

--- See `get`.
-- @function Router:head

--- See `get`.
-- @function Router:post

--- See `get`.
-- @function Router:put

--- See `get`.
-- @function Router:patch

--- See `get`.
-- @function Router:delete

--- See `get`.
-- @function Router:options

--- See `get`.
function Router:any(pattern, ...)
  return self:route("*", pattern, ...)
end

--- Have every request go through a function first, those that no route is found for
-- included: `function(req, res, next)`, which returns `next(req, res)` to go on.
-- @usage router:use(function(req, res, next)
--   if not allowed(req) then return 403, "no\n" end
--   return next(req, res)
-- end)
-- @tparam function ... middleware
-- @treturn Router itself
function Router:use(...)
  local list = { ... }
  check_functions("use", 1, list)
  for _, f in ipairs(list) do self._middleware[#self._middleware + 1] = f end
  self._entry = nil
  return self
end

--- Have all below a path handled by another router, or handler. It sees the rest of
-- the path as `req.params.path`; a router goes by that.
-- @tparam string prefix
-- @tparam Router|function handler
-- @treturn Router itself
function Router:mount(prefix, handler)
  check_functions("mount", 2, { handler })
  prefix = object.check_string("mount", 1, prefix):gsub("/$", "")
  insert(self, "*", prefix .. "/*path", function(req, res)
    local before = req._mounted
    req._mounted = (before or "") .. req._matched
    local result = table.pack(handler(req, res))
    req._mounted = before
    return table.unpack(result, 1, result.n)
  end)
  return self
end

--- What answers a request that there is no route for, instead of a 404.
-- @tparam function handler
-- @treturn Router itself
function Router:missing(handler)
  check_functions("missing", 1, { handler })
  self._missing = handler
  self._entry = nil
  return self
end

-- Matching -----------------------------------------------------------------------

-- The node for the segments from `i` on; what variables stand for goes into `params`.
local function find(node, list, i, params)
  local segment = list[i]
  if not segment then return node.methods and node end
  local next_node = node.plain and node.plain[segment]
  local found = next_node and find(next_node, list, i + 1, params)
  if found then return found end
  if node.one and segment ~= "" then
    found = find(node.one, list, i + 1, params)
    if found then
      params[node.one.name] = core.unescape(segment)
      return found
    end
  end
  if node.all then
    params[node.all.name] = core.unescape(table.concat(list, "/", i))
    params._from = i
    return node.all
  end
end

local function allowed(node)
  local list = {}
  for method in pairs(node.methods) do list[#list + 1] = method end
  if node.methods.GET and not node.methods.HEAD then list[#list + 1] = "HEAD" end
  if not node.methods.OPTIONS then list[#list + 1] = "OPTIONS" end
  table.sort(list)
  return table.concat(list, ", ")
end

local function refuse_method(node, method)
  if method == "OPTIONS" then return 204, { Allow = allowed(node) }, "" end
  return 405, { Allow = allowed(node) }, "Method Not Allowed\n"
end

local function path_of(req)
  local path, mounted = req.raw_path, req._mounted
  if path == "" then path = "/" end
  return mounted and path:sub(#mounted + 1) or path
end

-- The part of the path that stands before what `*` took.
local function matched(list, from)
  return from > 1 and "/" .. table.concat(list, "/", 1, from - 1) or ""
end

function Router:_dispatch(req, res)
  local path, method = path_of(req), req.method
  local root = self._tree.plain
  local node = root and root[path:sub(2)] -- one segment, and no variable
  if not (node and node.methods) then
    local params, list = {}, segments(path)
    node = find(self._tree, list, 1, params)
    if not node then return self._missing(req, res) end
    if params._from then
      req._matched = matched(list, params._from)
      params._from = nil
    end
    req.params = params
  else
    req.params = {}
  end
  local methods = node.methods
  local handler = methods[method] or (method == "HEAD" and methods.GET) or methods["*"]
  if not handler then return refuse_method(node, method) end
  return handler(req, res)
end

function Router:__call(req, res)
  local entry = self._entry
  if not entry then
    entry = chain(self._middleware, function(rq, rs) return self:_dispatch(rq, rs) end)
    self._entry = entry
  end
  return entry(req, res)
end

return Router
