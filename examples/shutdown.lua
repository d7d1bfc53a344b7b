-- A program that ends cleanly: SIGQUIT (Ctrl-\ on the keyboard) closes every
-- greenlet, so that what they hold in `<close>` variables is given back.

local green = require "greenlua"

local function give_back() io.stderr:write "given back\n" end

local function run_forever()
  local _ <close> = setmetatable({}, { __close = give_back })
  while true do green.sleep(1000) end
end

green.signal("SIGQUIT", green.shutdown)
green.spawn(run_forever):join()
