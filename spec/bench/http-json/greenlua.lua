local http = require "greenlua.http"

local list = {}
for i = 1, 56 do
  list[i] = {
    id = i, name = "Item number " .. i, price = i * 1.25, stock = i * 7 % 100, available = i % 2 == 0,
    tags = { "red", "green", "blue" },
    description = "A thing that one might want to have, if one had the room for it",
  }
end

assert(http.serve("127.0.0.1:" .. os.getenv "PORT", function(_, res) return res:json(list) end))
