--- What a handler returned, sent; what it raised, told.
--
-- @module greenlua.http.respond

local core = require "greenlua.core.http"
local errors = require "greenlua.http.errors"
local greenlet = require "greenlua.greenlet"

local M = {}

local function callable(value)
  local mt = type(value) ~= "function" and getmetatable(value)
  return type(value) == "function" or (type(mt) == "table" and mt.__call)
end

local function stream(res, ...)
  res:_gather()
  for piece in ... do
    if not res:write(piece) then return end -- the client has gone
  end
end

local function set_headers(res, headers)
  if type(headers) ~= "table" then
    error(("bad headers of a response (table expected, got %s)"):format(type(headers)), 0)
  end
  for name, value in pairs(headers) do res:set_header(name, value) end
end

local function send(res, body, ...)
  if body == nil or body == res then
    if ... ~= nil then error(..., 0) end -- nil, message
  elseif type(body) == "string" or (type(body) == "table" and not callable(body)) then
    res:send(body)
  elseif callable(body) then
    stream(res, body, ...)
  else
    error(("a handler returned a %s (a string, a list of strings, an iterator or a status " ..
      "expected)"):format(type(body)), 0)
  end
end

-- (status, body), (status, headers), (status, headers, body)
local function send_status(res, status, second, ...)
  res.status = status
  if type(second) == "table" and not callable(second) and (... ~= nil or second[1] == nil) then
    set_headers(res, second)
    return send(res, ...)
  elseif second == nil then
    return send(res, ...)
  end
  return send(res, second, ...)
end

--- Send what a handler returned.
-- @tparam Request _
-- @tparam Response res
-- @param first
-- @param ... the rest
function M.respond(_, res, first, ...)
  if math.type(first) == "integer" then return send_status(res, first, ...) end
  send(res, first, ...)
end

-- What was raised, as status, text and headers; nil: it is a failure.
local function answer_of(req, err)
  if errors.Error.is(err) then return err.status, err.message .. "\n", err.headers end
  local refusal, status = req._refusal, req._body_status
  if refusal and type(err) == "string" and err:sub(-#refusal[1]) == refusal[1] then
    return refusal[2], refusal[1] .. "\n"
  end
  if status == 499 then return 400, "" end -- nobody will read it
  if status then return status, core.reason(status) .. "\n" end
end

local function answer(res, status, text, headers)
  if res.over or res.finished then return end
  if res.head_sent then return res:abort() end
  res:clear_headers()
  res.status = status
  for name, value in pairs(headers or {}) do res:set_header(name, value) end
  res:set_header("Content-Type", "text/plain; charset=utf-8")
  res:send(text)
end

--- Tell of what a handler raised, and answer as far as that can be done.
-- @tparam ?Request req nil: it was refused, and the log failed
-- @tparam ?Response res
-- @param err
-- @tparam string trace
-- @tparam ?Server server if there is no request
function M.fail(req, res, err, trace, server)
  if greenlet.GreenletExit.is(err) then error(err, 0) end -- the connection was killed
  if not req then return server:report(err, trace) end
  local status, text, headers = answer_of(req, err)
  local told, why = true, nil
  if not status then
    status, text = 500, core.reason(500) .. "\n"
    told, why = pcall(req.server.report, req.server, err, trace, req)
  end
  -- That it could not be told of is no reason to leave the client without an answer.
  if told or not greenlet.GreenletExit.is(why) then answer(res, status, text, headers) end
  if not told then error(why, 0) end
end

return M
