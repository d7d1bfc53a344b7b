-- Code that goes through orders, wherever they come from, and knows nothing of the
-- web: it gets the lines of a request as they arrive, and what it makes of them is
-- sent as it is made. Neither is ever whole in memory, and who is too fast waits for
-- the other. Try it with
--
--     (echo 3 apples; sleep 1; echo 2 pears) | curl -N -T - http://127.0.0.1:8000/orders
--
-- usage: streaming_orders.lua [port]

local green = require "greenlua"
local http = require "greenlua.http"

-- The business: an iterator in, an iterator out.
local function process_orders(orders)
  return coroutine.wrap(function()
    local total = 0
    for order in orders do
      local count, what = order:match "^(%d+) (%a+)$"
      if count then
        green.sleep(0.001) -- the store takes its time
        total = total + count
        coroutine.yield(("%d %s are on their way\n"):format(count, what))
      else
        coroutine.yield(("what is '%s'?\n"):format(order))
      end
    end
    coroutine.yield(("%d in all\n"):format(total))
  end)
end

local router = http.router()
router:any("/orders", function(req) return process_orders(req:lines()) end)

local server <close> = http.Server({ "127.0.0.1", arg[1] or 8000 }, router)
assert(server:start())
print("listening on 127.0.0.1 port " .. server.port)
io.stdout:flush()
assert(server:serve_forever())
