-- busted's plain output, and one line an event in the file $GREENLUA_RESULTS:
-- what tools/test counts, and what it names when a run never came to its end.

local base = require "busted.outputHandlers.plainTerminal"

return function(options)
  local busted = require "busted"
  local handler = base(options)
  local path = os.getenv "GREENLUA_RESULTS"
  if not path then return handler end

  -- Opened for each line: nothing stays in a buffer when the process dies, and
  -- no descriptor stays open.
  local function note(...)
    local file <close> = assert(io.open(path, "a"))
    file:write(table.concat({ ... }, " "):gsub("\n", " "), "\n")
    return nil, true
  end

  local words = { success = "ok", pending = "pending" }
  busted.subscribe({ "test", "start" }, function(element)
    return note("start", handler.getFullName(element))
  end)
  busted.subscribe({ "test", "end" }, function(element, _, status)
    return note(words[status] or "failed", handler.getFullName(element))
  end)

  -- Why a test failed, and what fails outside a test: a file that doesn't load,
  -- a before_each.
  local function failure(element, _, message)
    if element.descriptor == "it" then
      return note("why", handler.getFullName(element) .. ":", tostring(message))
    end
    return note("failed", tostring(element.descriptor), tostring(element.name) .. ":",
      tostring(message))
  end
  busted.subscribe({ "error" }, failure)
  busted.subscribe({ "failure" }, failure)
  busted.subscribe({ "suite", "end" }, function() return note "end" end)
  return handler
end
