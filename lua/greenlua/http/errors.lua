--- Errors that are answers: raised in a handler, sent as a response.
--
-- @module greenlua.http.errors

local core = require "greenlua.core.http"
local object = require "greenlua.object"

local M = {}

--- An error with a status: `Error(status [, message [, headers]])`. Raised in a handler
-- it becomes the response, and is not logged as a failure.
--
-- Fields: `status`, `message`, `headers`.
-- @type Error
local Error = object.class "http.Error"
M.Error = Error

function Error:_init(status, message, headers)
  if math.type(status) ~= "integer" or status < 400 or status > 599 then
    error(("bad argument #1 to 'http.Error' (a status from 400 to 599 expected, got %s)")
      :format(tostring(status)), 3)
  end
  self.status, self.message, self.headers = status, message or core.reason(status), headers
end

function Error:__tostring()
  return ("%d %s"):format(self.status, self.message)
end

--- Is it an Error, or one of a subclass?
-- @function Error.is
-- @param value
-- @treturn boolean

--- @section end

--- Raise an Error.
-- @usage local user = users[req.params.id] or http.abort(404, "no such user")
-- @tparam integer status 400 to 599
-- @tparam[opt] string message the body of the response
-- @tparam[opt] table headers
function M.abort(status, message, headers)
  error(Error(status, message, headers), 0)
end

return M
